'use strict';

/** Express. GET /checkout/user_9?country=US&plan=premium */

const express = require('express');
const { createDispatcher } = require('optimizely-amplitude');
const { optimizely, ready } = require('./optimizely.js');

const dispatcher = createDispatcher({
  apiKey: process.env.AMPLITUDE_API_KEY,
  serverUrl: process.env.AMPLITUDE_SERVER_URL, // only to try it locally; Amplitude is the default
});
dispatcher.attach(optimizely);

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

process.once('SIGTERM', async () => {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeIdleConnections(); // Node 18 leaves them open
  setTimeout(() => server.closeAllConnections(), 5000).unref(); // and others that say nothing, whoever keeps them
  await dispatcher.flush(); // what waits, at once
  await closed;
  await dispatcher.close(); // and what the last requests decided
  process.exit();
});
