'use strict';

/*
 * Lambda's runtime, as a handler sees it:
 *
 *   node runtime.js MODULE [EVENT]
 *
 * Loads the module, invokes its handler once, and exits as soon as the promise is resolved, as a process
 * that is frozen and never thawed. Prints the result, and the milliseconds from the start of the process to the first
 * line of this file, to the loaded module and to the result.
 */

const started = performance.now();

const fs = require('node:fs');
const path = require('node:path');

const TIMEOUT_MILLIS = 60_000;
const EVENT = {
  pathParameters: { userId: 'user_9' },
  queryStringParameters: { country: 'US', plan: 'premium' },
};

async function main([module, event]) {
  const { handler } = require(path.resolve(module));
  const loaded = performance.now();
  const result = await handler(event === undefined ? EVENT : JSON.parse(event), {
    awsRequestId: '00000000-0000-4000-8000-000000000000',
    getRemainingTimeInMillis: () => TIMEOUT_MILLIS + loaded - performance.now(),
  });
  const done = performance.now();
  fs.writeSync(1, `${JSON.stringify({ result, started, loaded, done })}\n`);
  process.exit();
}

main(process.argv.slice(2));
