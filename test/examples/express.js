'use strict';

/** Express. GET /checkout/user_9?country=US&plan=premium */

const express = require('express');
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

const app = express();

app.get('/checkout/:userId', async (request, response) => {
  await ready;
  const user = optimizely.createUserContext(request.params.userId, request.query);
  const { variationKey } = user.decide('checkout_flow');
  response.json({ variation: variationKey });
});

const server = app.listen(process.env.PORT ?? 3000, (error) => {
  if (error) {
    throw error;
  }
  console.log(`http://localhost:${server.address().port}`);
});

// On SIGTERM and SIGINT: requests in flight are answered, what they decide is delivered, and the process ends.
closeOnSignal(dispatcher, { before: () => server.close() });
