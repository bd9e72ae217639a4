'use strict';

/** A server with nothing but Node. GET /checkout/user_9?country=US&plan=premium */

const http = require('node:http');
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

const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const [, userId] = pathname.match(/^\/checkout\/([^/]+)$/) ?? [];
  if (userId === undefined) {
    response.writeHead(404).end();
    return;
  }
  const user = optimizely.createUserContext(userId, Object.fromEntries(searchParams));
  const { variationKey } = user.decide('checkout_flow');
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ variation: variationKey }));
});

ready.then(() => {
  server.listen(process.env.PORT ?? 3000, () =>
    console.log(`http://localhost:${server.address().port}`),
  );
});

// On SIGTERM and SIGINT: requests in flight are answered, what they decide is delivered, and the process ends.
closeOnSignal(dispatcher, { before: () => server.close() });
