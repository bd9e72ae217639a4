'use strict';

/** The handler of test/examples/lambda.js without a listener: the cost of a cold start without delivery. */

const { optimizely } = require('../examples/optimizely.js');

exports.handler = async ({ pathParameters, queryStringParameters }) => {
  await optimizely.onReady();
  const user = optimizely.createUserContext(pathParameters.userId, queryStringParameters);
  const { variationKey } = user.decide('checkout_flow');
  return { variation: variationKey };
};
