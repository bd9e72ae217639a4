'use strict';

/** After: the same property and event for each decision, batched, retried and delivered off the event loop. */

const { closeOnSignal, createDispatcher } = require('optimizely-amplitude');
const http = require('node:http');
const { optimizely } = require('../optimizely.js');

const dispatcher = createDispatcher({
  apiKey: process.env.AMPLITUDE_API_KEY,
  serverUrl: process.env.AMPLITUDE_SERVER_URL,
});

dispatcher.attach(optimizely);

const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const user = optimizely.createUserContext(pathname.slice(1), Object.fromEntries(searchParams));
  response.end(user.decide('checkout_flow').variationKey);
});
optimizely.onReady().then(() => {
  server.listen(process.env.PORT ?? 3000, () =>
    console.log(`http://localhost:${server.address().port}`),
  );
});

closeOnSignal(dispatcher, { before: () => server.close() });
