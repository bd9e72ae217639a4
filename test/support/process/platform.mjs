/**
 * Stands in for Vercel with a route handler at checkout/[userId]: answers HTTP with the result of the module's GET, waits
 * for what `waitUntil` and `after` were given, and then suspends the process, until SIGCONT.
 *
 *   node platform.mjs MODULE
 *
 * The package @vercel/functions is the real one, which looks for its context where it is here. Next.js is not installed;
 * next-server.mjs is used for next/server.
 */

import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import http from 'node:http';
import { register } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const resolve = `
  const server = ${JSON.stringify(new URL('next-server.mjs', import.meta.url))};
  export const resolve = (name, context, next) =>
    name === 'next/server' ? { url: server, shortCircuit: true } : next(name, context);
`;
register(`data:text/javascript,${encodeURIComponent(resolve)}`);

const { GET } = await import(pathToFileURL(path.resolve(process.argv[2])));

const requests = new AsyncLocalStorage();
globalThis[Symbol.for('@vercel/request-context')] = { get: () => requests.getStore() };
let running = 0;

async function serve({ url, headers }, response) {
  const background = [];
  const finished = once(response, 'finish');
  const context = { finished, waitUntil: (promise) => background.push(promise) };
  const request = new Request(new URL(url, `http://${headers.host}`));
  const params = Promise.resolve({ userId: new URL(request.url).pathname.split('/').at(-1) });
  const answer = await requests.run(context, () => GET(request, { params }));
  response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
  await finished;
  while (background.length > 0) {
    await background.shift();
  }
}

const server = http.createServer(async (request, response) => {
  running++;
  await serve(request, response);
  running--;
  if (running === 0) {
    process.kill(process.pid, 'SIGSTOP');
  }
});

server.listen(process.env.PORT ?? 3000, () =>
  console.log(`http://localhost:${server.address().port}`),
);
