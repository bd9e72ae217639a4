'use strict';

/** Fastify. GET /checkout/user_9?country=US&plan=premium */

const fastify = require('fastify')({ forceCloseConnections: true }); // on close, whoever still holds one open
const { createDispatcher } = require('optimizely-amplitude');
const { optimizely, ready } = require('./optimizely.js');

const dispatcher = createDispatcher({
  apiKey: process.env.AMPLITUDE_API_KEY,
  serverUrl: process.env.AMPLITUDE_SERVER_URL, // only to try it locally; Amplitude is the default
});
dispatcher.attach(optimizely);

fastify.addHook('onReady', () => ready);
fastify.addHook('preClose', async () => {
  await dispatcher.flush(); // what waits, at once
});
fastify.addHook('onClose', () => dispatcher.close()); // and what the last requests decided

fastify.get('/checkout/:userId', (request) => {
  const user = optimizely.createUserContext(request.params.userId, request.query);
  const { variationKey } = user.decide('checkout_flow');
  return { variation: variationKey };
});

fastify.listen({ port: process.env.PORT ?? 3000, host: '0.0.0.0' }).then(console.log);

process.once('SIGTERM', async () => {
  await fastify.close();
  process.exit();
});
