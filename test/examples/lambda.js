'use strict';

/** AWS Lambda behind API Gateway. GET /checkout/{userId}?country=US&plan=premium */

const { createDispatcher } = require('optimizely-amplitude');
const { withFlush } = require('optimizely-amplitude/lambda');
const { optimizely } = require('./optimizely.js');

const dispatcher = createDispatcher({
  apiKey: process.env.AMPLITUDE_API_KEY,
  serverUrl: process.env.AMPLITUDE_SERVER_URL, // only to try it locally; Amplitude is the default
});
dispatcher.attach(optimizely);

/** Resolves when there is a datafile, and without one after 3 s: every flag is off then, and the service is up. */
const ready = optimizely
  .onReady({ timeout: 3000 })
  .catch(({ message }) => console.warn(`Optimizely: ${message}`));

// The process is frozen when the handler has returned, so the decisions are delivered before.
exports.handler = withFlush(async ({ pathParameters, queryStringParameters }) => {
  await ready;
  const user = optimizely.createUserContext(pathParameters.userId, queryStringParameters);
  const { variationKey } = user.decide('checkout_flow');
  return {
    statusCode: 200,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ variation: variationKey }),
  };
}, dispatcher);
