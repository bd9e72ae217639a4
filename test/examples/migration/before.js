'use strict';

/** Before: the listener that is pasted into many services, on Amplitude's own SDK. */

const { Identify, flush, identify, init, track } = require('@amplitude/analytics-node');
const http = require('node:http');
const { optimizely } = require('../optimizely.js');

init(process.env.AMPLITUDE_API_KEY, { serverUrl: process.env.AMPLITUDE_SERVER_URL });

optimizely.notificationCenter.addNotificationListener(
  'DECISION',
  ({ type, userId, decisionInfo }) => {
    if (type !== 'flag') {
      return;
    }
    const { flagKey, variationKey, ruleKey, enabled } = decisionInfo;
    const user = { user_id: userId };
    identify(new Identify().set(`[Optimizely] ${flagKey}`, enabled ? variationKey : 'off'), user);
    track(
      'Experiment Viewed',
      { flag_key: flagKey, variation_key: variationKey, rule_key: ruleKey, enabled },
      user,
    );
  },
);

const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const user = optimizely.createUserContext(pathname.slice(1), Object.fromEntries(searchParams));
  response.end(user.decide('checkout_flow').variationKey);
});
optimizely.onReady().then(() => {
  server.listen(process.env.PORT ?? 3000, () =>
    console.log(`http://localhost:${server.address().port}`),
  );
});

process.once('SIGTERM', async () => {
  await flush().promise;
  process.exit();
});
