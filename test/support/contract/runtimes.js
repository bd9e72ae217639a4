'use strict';

/**
 * The runtimes beside Node.js, each with an actor that tests call: { name, skip, start }, where start(t) resolves to
 * call(method, dispatcher, argument). See actor.mjs.
 */

const path = require('node:path');

const { startEdgeRuntime } = require('../edge/edge-runtime.js');
const { WORKER_RUNTIMES } = require('../edge/workerd.js');
const { request } = require('../network/request.js');
const { startChild } = require('../process/child.js');
const { refused } = require('../setup/runtimes.js');

const COMPATIBILITY_DATE = '2025-11-01';

const fileOf = (name) => path.join(__dirname, name);

/** Make the function that calls an actor, from one that posts a text. */
const callBy = (post) => async (method, dispatcher, argument) => {
  const text = await post(JSON.stringify({ method, dispatcher, argument }));
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${method}: ${text}`);
  }
};

const callAt = (url) => callBy(async (body) => (await request(url, { body })).text);

/** Start the actor with a program that runs modules. */
async function startProgram(t, [program, ...args]) {
  const child = startChild(t, [...args, fileOf('serve.mjs')], {
    program,
    timeoutMillis: 300_000, // it is there for all tests of a suite
  });
  await child.printed('listening on http');
  return callAt(/listening on (\S+)/.exec(child.stdout)[1]);
}

const programs = ['Deno', 'Bun'].map((name) => {
  const found = refused().find((each) => each.name === name);
  return {
    name,
    skip: found === undefined && 'it is missing; `node test/support/setup/runtimes.js` fetches it',
    start: (t) => startProgram(t, found.command),
  };
});

const workers = WORKER_RUNTIMES.map(({ name, skip, start }) => ({
  name,
  skip,
  async start(t) {
    const { url } = await start(t, {
      entry: fileOf('worker.mjs'),
      compatibilityDate: COMPATIBILITY_DATE,
      values: {},
    });
    return callAt(url);
  },
}));

const vercel = {
  name: "Vercel's Edge runtime",
  skip: false,
  async start() {
    const runtime = await startEdgeRuntime(fileOf('vercel.mjs'), {});
    return callBy(async (body) => {
      const response = await runtime.dispatchFetch('https://example.com/', {
        method: 'POST',
        body,
      });
      return response.text();
    });
  },
};

module.exports = { RUNTIMES: [...programs, ...workers, vercel] };
