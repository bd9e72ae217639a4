'use strict';

/** The same handler with the usual pasted listener on Amplitude's own SDK, which also delivers before it returns. */

const { Identify, flush, identify, init, track } = require('@amplitude/analytics-node');
const { setImmediate: nextTurn } = require('node:timers/promises');
const { optimizely } = require('../examples/optimizely.js');

const started = init(process.env.AMPLITUDE_API_KEY, {
  serverUrl: process.env.AMPLITUDE_SERVER_URL,
}).promise;

let undelivered = 0;

async function deliver({ promise }) {
  undelivered++;
  const { code, message } = await promise;
  if (code !== 200) {
    throw new Error(message);
  }
  undelivered--;
}

optimizely.notificationCenter.addNotificationListener(
  'DECISION',
  ({ type, userId, decisionInfo }) => {
    if (type !== 'flag') {
      return;
    }
    const { flagKey, variationKey, ruleKey, enabled } = decisionInfo;
    const user = { user_id: userId };
    deliver(
      identify(new Identify().set(`[Optimizely] ${flagKey}`, enabled ? variationKey : 'off'), user),
    );
    deliver(
      track(
        'Experiment Viewed',
        { flag_key: flagKey, variation_key: variationKey, rule_key: ruleKey, enabled },
        user,
      ),
    );
  },
);

exports.handler = async ({ pathParameters, queryStringParameters }) => {
  await optimizely.onReady();
  await started; // earlier events would be lost
  const user = optimizely.createUserContext(pathParameters.userId, queryStringParameters);
  const { variationKey } = user.decide('checkout_flow');
  while (undelivered > 0) {
    await flush().promise; // does not wait for events that are not in its queue yet
    await nextTurn();
  }
  return { variation: variationKey };
};
