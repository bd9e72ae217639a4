'use strict';

/** AWS Lambda behind API Gateway. GET /checkout/{userId}?country=US&plan=premium */

const { createDispatcher } = require('optimizely-amplitude');
const { withFlush } = require('optimizely-amplitude/lambda');
const optimizely = require('./optimizely.js');

const dispatcher = createDispatcher({
  apiKey: process.env.AMPLITUDE_API_KEY,
  serverUrl: process.env.AMPLITUDE_SERVER_URL, // only to try it locally; Amplitude is the default
});
dispatcher.attach(optimizely);

// The process is frozen when the handler has returned, so the decisions are delivered before.
exports.handler = withFlush(async ({ pathParameters, queryStringParameters }) => {
  await optimizely.onReady();
  const user = optimizely.createUserContext(pathParameters.userId, queryStringParameters);
  const { variationKey } = user.decide('checkout_flow');
  return { variation: variationKey };
}, dispatcher);
