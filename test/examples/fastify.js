'use strict';

/** Fastify. GET /checkout/user_9?country=US&plan=premium */

const fastify = require('fastify')();
const { createDispatcher } = require('optimizely-amplitude');
const optimizely = require('./optimizely.js');

const dispatcher = createDispatcher({
  apiKey: process.env.AMPLITUDE_API_KEY,
  serverUrl: process.env.AMPLITUDE_SERVER_URL, // only to try it locally; Amplitude is the default
});
dispatcher.attach(optimizely);

fastify.addHook('onReady', () => optimizely.onReady());
fastify.addHook('onClose', () => dispatcher.close()); // comes when all requests are answered

fastify.get('/checkout/:userId', (request) => {
  const user = optimizely.createUserContext(request.params.userId, request.query);
  const { variationKey } = user.decide('checkout_flow');
  return { variation: variationKey };
});

fastify.listen({ port: process.env.PORT ?? 3000 }).then(console.log);

process.once('SIGTERM', async () => {
  await fastify.close();
  process.exit();
});
