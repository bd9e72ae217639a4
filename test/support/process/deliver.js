'use strict';

/*
 * A small application for tests, run in a folder in which the package is installed:
 *
 *   node deliver.js URL [CA_FILE]
 *
 * One decision, one flush; prints the report as JSON.
 */

const { createDispatcher, info } = require('optimizely-amplitude');
const { withFlush } = require('optimizely-amplitude/lambda');

const [serverUrl, caFile] = process.argv.slice(2);
const dispatcher = createDispatcher({
  apiKey: 'test-key',
  serverUrl,
  caFile,
  requestTimeoutMillis: 30_000,
});

const handler = withFlush(async () => {
  dispatcher.onDecision({
    type: 'flag',
    userId: 'user_1',
    attributes: {},
    decisionInfo: {
      flagKey: 'checkout_flow',
      variationKey: 'one_page',
      ruleKey: 'checkout_ab',
      enabled: true,
    },
  });
}, dispatcher);

handler({}, { getRemainingTimeInMillis: () => 60_000 })
  .then(() => import('optimizely-amplitude'))
  .then((esm) => {
    const { delivered, pending } = dispatcher.stats().decisions;
    console.log(
      JSON.stringify({
        delivered,
        pending,
        addon: info().addon,
        sameInEsm: esm.createDispatcher === createDispatcher,
      }),
    );
  });
