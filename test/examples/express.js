'use strict';

/** Express. GET /checkout/user_9?country=US&plan=premium */

const express = require('express');
const { createDispatcher } = require('optimizely-amplitude');
const optimizely = require('./optimizely.js');

const dispatcher = createDispatcher({
  apiKey: process.env.AMPLITUDE_API_KEY,
  serverUrl: process.env.AMPLITUDE_SERVER_URL, // only to try it locally; Amplitude is the default
});
dispatcher.attach(optimizely);

const app = express();

app.get('/checkout/:userId', async (request, response) => {
  await optimizely.onReady();
  const user = optimizely.createUserContext(request.params.userId, request.query);
  const { variationKey } = user.decide('checkout_flow');
  response.json({ variation: variationKey });
});

const server = app.listen(process.env.PORT ?? 3000, (error) => {
  if (error) throw error;
  console.log(`http://localhost:${server.address().port}`);
});

process.once('SIGTERM', () => {
  // The requests that are being answered may still decide something.
  server.close(async () => {
    await dispatcher.close();
    process.exit();
  });
  server.closeIdleConnections(); // Node 18 leaves them open
});
