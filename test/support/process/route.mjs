/**
 * Stands in for Next.js with a route handler at checkout/[userId]: answers HTTP with the result of the module's GET, and
 * evaluates the module again before each request, as Next.js does after a change.
 *
 *   node route.mjs MODULE
 */

import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const module = pathToFileURL(path.resolve(process.argv[2]));
let version = 0;

const server = http.createServer(async ({ url, headers }, response) => {
  const { GET } = await import(`${module}?${version++}`);
  const request = new Request(new URL(url, `http://${headers.host}`));
  const params = Promise.resolve({ userId: new URL(request.url).pathname.split('/').at(-1) });
  const answer = await GET(request, { params });
  response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
});

server.listen(process.env.PORT ?? 3000, () =>
  console.log(`http://localhost:${server.address().port}`),
);
