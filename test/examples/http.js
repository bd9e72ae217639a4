'use strict';

/** A server with nothing but Node. GET /checkout/user_9?country=US&plan=premium */

const http = require('node:http');
const { createDispatcher } = require('optimizely-amplitude');
const { optimizely, ready } = require('./optimizely.js');

const dispatcher = createDispatcher({
  apiKey: process.env.AMPLITUDE_API_KEY,
  serverUrl: process.env.AMPLITUDE_SERVER_URL, // only to try it locally; Amplitude is the default
});
dispatcher.attach(optimizely);

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

process.once('SIGTERM', async () => {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeIdleConnections(); // Node 18 leaves them open
  setTimeout(() => server.closeAllConnections(), 5000).unref(); // and others that say nothing, whoever keeps them
  await dispatcher.flush(); // what waits, at once
  await closed;
  await dispatcher.close(); // and what the last requests decided
  process.exit();
});
