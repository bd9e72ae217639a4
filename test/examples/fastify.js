'use strict';

/** Fastify. GET /checkout/user_9?country=US&plan=premium */

const fastify = require('fastify')();
const { closeOnSignal, createDispatcher } = require('optimizely-amplitude');
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

fastify.addHook('onReady', () => ready);

fastify.get('/checkout/:userId', (request) => {
  const user = optimizely.createUserContext(request.params.userId, request.query);
  const { variationKey } = user.decide('checkout_flow');
  return { variation: variationKey };
});

fastify.listen({ port: process.env.PORT ?? 3000, host: '0.0.0.0' }).then(console.log);

// On SIGTERM and SIGINT: requests in flight are answered, what they decide is delivered, and the process ends.
closeOnSignal(dispatcher, { before: () => fastify.close() });
