'use strict';

/**
 * What is measured. connect(name, options) resolves to { onDecision, flush, close }; flush() resolves when
 * everything is delivered. Each loads only what it needs.
 */

const { quietLogger } = require('../support/dispatcher/loggers.js');

const NAMES = {
  none: 'an empty listener',
  ours: 'optimizely-amplitude',
  wasm: 'optimizely-amplitude, WebAssembly',
  plain: 'plain JavaScript',
  amplitude: 'pasted listener, analytics-node',
};

const API_KEY = 'benchmark';
const LONG_MILLIS = 600_000;

function connectNone() {
  return {
    onDecision: () => {},
    flush: async () => {},
    close: async () => {},
  };
}

function connectOurs({
  serverUrl,
  gzip,
  dedupe,
  enriched,
  logger = quietLogger,
  from = '../..',
  ...more
}) {
  const { createDispatcher } = require(from);
  const dispatcher = createDispatcher({
    apiKey: API_KEY,
    serverUrl,
    compression: gzip,
    dedupe,
    flushTimeoutMillis: LONG_MILLIS,
    maxQueueBytes: 2 ** 31,
    logger,
    eventProperties: enriched ? () => ({ plan: 'premium', country: 'US' }) : undefined,
    ...more,
  });
  return {
    onDecision: dispatcher.onDecision,
    flush: async () => {
      const { pending, dropped } = await dispatcher.flush();
      if (pending + dropped > 0) {
        throw new Error(
          `${pending} decisions are pending, ${dropped} dropped: ${dispatcher.stats().lastError?.message}`,
        );
      }
    },
    close: () => dispatcher.close(),
    dispatcher,
  };
}

function connectPlain({ serverUrl, gzip }) {
  const { PlainDispatcher } = require('./plain.js');
  const dispatcher = new PlainDispatcher({ apiKey: API_KEY, serverUrl, compression: gzip });
  return {
    onDecision: dispatcher.onDecision,
    flush: () => dispatcher.flush(),
    close: () => dispatcher.close(),
  };
}

/** The listener that is usually pasted, with an awaited flush. It has neither gzip nor de-duplication. */
async function connectAmplitude({ serverUrl, enriched }) {
  const { createInstance, Identify, Types } = require('@amplitude/analytics-node');
  const amplitude = createInstance();
  await amplitude.init(API_KEY, { serverUrl, logLevel: Types.LogLevel.None }).promise;
  let made = 0;
  let settled = 0;
  const count = ({ code }) => {
    if (code !== 200) {
      throw new Error(`analytics-node lost an event: ${code}`);
    }
    settled++;
  };
  /** Its own flush() does not wait for events that it has not queued yet. */
  const flush = async () => {
    while (settled < made) {
      await amplitude.flush().promise;
      await new Promise(setImmediate);
    }
  };
  return {
    flush,
    close: flush,
    onDecision({ userId, decisionInfo: { flagKey, variationKey, ruleKey, enabled } }) {
      const user = { user_id: userId };
      const more = enriched ? { plan: 'premium', country: 'US' } : undefined;
      const identify = new Identify().set(
        `[Optimizely] ${flagKey}`,
        enabled ? variationKey : 'off',
      );
      const properties = {
        flag_key: flagKey,
        variation_key: variationKey,
        rule_key: ruleKey,
        enabled,
        ...more,
      };
      made += 2;
      amplitude.identify(identify, user).promise.then(count);
      amplitude.track('Experiment Viewed', properties, user).promise.then(count);
    },
  };
}

const CONNECT = {
  none: connectNone,
  ours: connectOurs,
  wasm: (options) => connectOurs({ ...options, engine: 'wasm' }),
  plain: connectPlain,
  amplitude: connectAmplitude,
};

const connect = async (name, options) => CONNECT[name](options);

module.exports = { NAMES, connect };
