/** The actor on Node.js, Deno or Bun: answers POSTs, and prints where. */

import http from 'node:http';
import { createRequire } from 'node:module';

import { createActor } from './actor.mjs';

const { createDispatcher } = createRequire(import.meta.url)('../../../lib/index.js');
const answer = createActor(createDispatcher);

const server = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  response.end(await answer(Buffer.concat(chunks).toString()));
});
server.listen(0, '127.0.0.1', () =>
  console.log(`listening on http://127.0.0.1:${server.address().port}`),
);
