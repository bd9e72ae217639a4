'use strict';

/** Google Cloud Run, and whatever else has a processor during requests only. GET /checkout/user_9?country=US&plan=premium */

const http = require('node:http');
const { closeOnSignal, createDispatcher } = require('optimizely-amplitude');
const { withFlush } = require('optimizely-amplitude/lambda');
const { optimizely } = require('./optimizely.js');

const dispatcher = createDispatcher({
  apiKey: process.env.AMPLITUDE_API_KEY,
  serverUrl: process.env.AMPLITUDE_SERVER_URL, // only to try it locally; Amplitude is the default
  flushTimeoutMillis: 5000, // the container is killed 10 s after SIGTERM
});
dispatcher.attach(optimizely);

const ready = optimizely
  .onReady({ timeout: 3000 })
  .catch(({ message }) => console.warn(`Optimizely: ${message}`));

/** Decides, and resolves when that is delivered: a request is over with its answer, and the processor gone with it. */
const decide = withFlush(
  async (userId, attributes) => {
    const user = optimizely.createUserContext(userId, attributes);
    return user.decide('checkout_flow').variationKey;
  },
  dispatcher,
  { timeoutMillis: 500 }, // what an answer may take longer
);

const server = http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const [, userId] = pathname.match(/^\/checkout\/([^/]+)$/) ?? [];
  if (userId === undefined) {
    response.writeHead(404).end();
    return;
  }
  const variation = await decide(userId, Object.fromEntries(searchParams));
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ variation }));
});

ready.then(() => {
  server.listen(process.env.PORT ?? 3000, () =>
    console.log(`http://localhost:${server.address().port}`),
  );
});

// On SIGTERM there is a processor again: what an outage left pending has another chance.
closeOnSignal(dispatcher, { before: () => server.close() });
