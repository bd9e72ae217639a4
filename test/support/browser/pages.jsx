/**
 * The page of test/e2e/browser.test.js: the real SDKs, with the listener that is usually pasted or with this package's,
 * as the query says. What tests call is in `window.page`.
 */

import * as sdk from '@amplitude/analytics-browser';
import { createInstance, createStaticProjectConfigManager } from '@optimizely/optimizely-sdk';
import {
  OptimizelyProvider,
  createInstance as createReactInstance,
  useDecision,
} from '@optimizely/react-sdk';
import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { attachAmplitude, getDeviceId } from 'optimizely-amplitude/browser';
import datafile from '../../examples/datafile.json';

const params = new URLSearchParams(location.search);
const ATTRIBUTES = { country: 'US', plan: 'premium' };
const DECISION = {
  plain: 'DECISION',
  react: 'DECISION:type, userId, attributes, decisionInfo',
};

/** Amplitude's SDK, with a list of what it was given to send. */
const results = [];
const watched =
  (send) =>
  (...args) => {
    const result = send(...args);
    results.push(result.promise);
    return result;
  };
const amplitude = { ...sdk, track: watched(sdk.track), identify: watched(sdk.identify) };

/** The guide's listener. */
function attachPasted(optimizely, kind) {
  optimizely.notificationCenter.addNotificationListener(
    DECISION[kind],
    ({ type, userId, decisionInfo }) => {
      if (type !== 'flag') {
        return;
      }
      const { flagKey, variationKey, ruleKey, enabled } = decisionInfo;
      const identify = new sdk.Identify();
      identify.set(`[Optimizely] ${flagKey}`, enabled ? variationKey : 'off');
      amplitude.identify(identify, { user_id: userId });
      amplitude.track(
        'Experiment Viewed',
        { flag_key: flagKey, variation_key: variationKey, rule_key: ruleKey, enabled },
        { user_id: userId },
      );
    },
  );
}

function init() {
  return sdk.init('browser-test-key', params.get('user') ?? undefined, {
    serverUrl: params.get('serverUrl'),
    autocapture: false,
    remoteConfig: { fetchRemoteConfig: false },
    flushIntervalMillis: Number(params.get('interval') ?? 50),
  }).promise;
}

const text = JSON.stringify(datafile);
const kind = params.has('react') ? 'react' : 'plain';
const optimizely =
  kind === 'react'
    ? createReactInstance({ datafile: text })
    : createInstance({
        projectConfigManager: createStaticProjectConfigManager({ datafile: text }),
      });

if (params.get('listener') === 'pasted') {
  attachPasted(optimizely, kind);
} else {
  attachAmplitude(optimizely, amplitude);
}
if (!params.has('later')) {
  init();
}

function decide(userId = 'user_9', attributes = ATTRIBUTES, flag = 'checkout_flow') {
  return optimizely.createUserContext(userId, attributes).decide(flag);
}

function Hook() {
  useDecision('checkout_flow');
  return null;
}

/** Decides in each of its 60 renders. */
function Renders() {
  const [count, setCount] = useState(1);
  decide();
  if (count < 60) {
    setTimeout(() => setCount(count + 1));
  }
  return <p id="count">{count}</p>;
}

function render(element) {
  createRoot(document.querySelector('#root')).render(element);
}

const actions = {
  decide: () => decide(),
  decideAll: () => optimizely.createUserContext('user_0', ATTRIBUTES).decideAll(),
  hook: () =>
    render(
      <StrictMode>
        <OptimizelyProvider optimizely={optimizely} user={{ id: 'user_9', attributes: ATTRIBUTES }}>
          <Hook />
        </OptimizelyProvider>
      </StrictMode>,
    ),
  renders: () => render(<Renders />),
};
actions[params.get('do')]?.();

window.page = {
  amplitude,
  decide,
  getDeviceId: () => getDeviceId(amplitude),
  init,
  results,
  /** Resolves when Amplitude's SDK is initialised, and everything that it was given to send is answered. */
  settled: async () => {
    await getDeviceId(amplitude);
    await new Promise((resolve) => setTimeout(resolve));
    while (results.length > 0) {
      await Promise.all(results.splice(0));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  },
};
