'use strict';

/**
 * Worker threads, each with a client and a dispatcher of its own. Decides for the users in its arguments: user_0 user_4
 */

const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const { createDispatcher } = require('optimizely-amplitude');

const THREADS = 2;

function main(users) {
  const workers = Array.from({ length: THREADS }, () => new Worker(__filename));
  for (const worker of workers) {
    worker.on('message', ({ userId, variation }) => console.log(`${userId}: ${variation}`));
  }
  users.forEach((userId, i) => workers[i % THREADS].postMessage({ userId }));
  // Workers that live as long as a server are told to close on SIGTERM, which only the main thread gets.
  workers.forEach((worker) => worker.postMessage({ close: true }));
}

async function work() {
  const { optimizely } = require('./optimizely.js');
  const dispatcher = createDispatcher({
    apiKey: process.env.AMPLITUDE_API_KEY,
    serverUrl: process.env.AMPLITUDE_SERVER_URL, // only to try it locally; Amplitude is the default
  });
  dispatcher.attach(optimizely);
  await optimizely.onReady();

  parentPort.on('message', async ({ userId, close }) => {
    if (close) {
      await dispatcher.close();
      parentPort.close(); // otherwise it would wait for messages, and keep running
      return;
    }
    const { variationKey } = optimizely.createUserContext(userId).decide('search_ranking');
    parentPort.postMessage({ userId, variation: variationKey });
  });
}

if (isMainThread) {
  main(process.argv.slice(2));
} else {
  work();
}
