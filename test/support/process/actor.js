'use strict';

/**
 * A program that makes decisions, and then ends in a given way: a child process whose part is `process.argv[2]` in
 * JSON, or a Worker with its part as workerData.
 *
 *   package    where the package is (default: this one), or a list of several, each with a dispatcher
 *   options    of the dispatchers; their log goes to stderr, from Workers too
 *   decisions  the number of decisions of each dispatcher, of as many users: <user>_0, <user>_1, ...
 *   forget     whether the dispatchers are dropped right after that
 *   end        a way to end at once; without it, it prints "ready" and waits for a message
 *   workers    parts of Workers
 *
 * The message is { main, workers }: the ways to end, for itself and for all of its Workers. Each request that fails is
 * printed with the reason.
 */

const { subscribe } = require('node:diagnostics_channel');
const fs = require('node:fs');
const path = require('node:path');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const { createNotification } = require('../optimizely/sdk.js');

const part = isMainThread ? JSON.parse(process.argv[2]) : workerData;
const port = isMainThread ? process : parentPort;
const ROOT = path.join(__dirname, '..', '..', '..');
const LONG_MILLIS = 60_000;

// Written synchronously: a Worker's console output is lost when it is terminated.
const say = (text) => fs.writeSync(1, `${text}\n`);
const warn = (message) => fs.writeSync(2, `${message}\n`);
const logger = { debug() {}, info() {}, warn, error: warn };

subscribe('optimizely-amplitude:request', ({ statusCode, message }) => {
  if (statusCode !== 200) {
    say(`request failed: ${message}`);
  }
});

function createDispatcher(folder) {
  return require(folder).createDispatcher({
    apiKey: 'actor-key',
    flushIntervalMillis: LONG_MILLIS,
    requestTimeoutMillis: LONG_MILLIS,
    logger,
    ...part.options,
  });
}

function decide(dispatcher, first, count) {
  for (let i = first; i < first + count; i++) {
    dispatcher.onDecision(createNotification(`${part.user ?? 'user'}_${i}`));
  }
}

const dispatchers =
  part.options === undefined ? [] : [part.package ?? ROOT].flat().map(createDispatcher);
dispatchers.forEach((dispatcher, index) =>
  decide(dispatcher, index * part.decisions, part.decisions),
);
let [first] = dispatchers;
if (part.forget) {
  dispatchers.length = 0;
  first = null;
}

const workers = (part.workers ?? []).map((workerPart) => {
  const worker = new Worker(__filename, { workerData: workerPart });
  worker.on('error', (error) => say(`worker failed: ${error.message}`));
  worker.on('exit', (code) => say(`worker exited with ${code}`));
  return worker;
});

const ENDINGS = {
  /** Nothing is left to do. */
  nothing() {},

  exit() {
    process.exit(7);
  },

  throw() {
    throw new Error('thrown on purpose');
  },

  reject() {
    Promise.reject(new Error('rejected on purpose'));
  },

  /** process.exit() where the continuation of a flush runs. */
  async exitAfterFlush() {
    await first.flush();
    process.exit(7);
  },

  async throwAfterFlush() {
    await first.flush();
    throw new Error('thrown on purpose');
  },

  /** A flush whose continuation is all that is left, besides a timer that is far away. */
  async flush() {
    const timer = setTimeout(() => say('the timer was needed'), LONG_MILLIS);
    const { delivered } = await first.flush();
    say(`delivered ${delivered}`);
    clearTimeout(timer);
  },

  /** Use the thread pool while a request is under way, and then flush. */
  async readFiles() {
    for (let i = 0; i < 20; i++) {
      await fs.promises.readFile(__filename);
    }
    say('files were read');
    await ENDINGS.flush();
  },

  /** One more decision each time that the loop runs empty, three times. */
  decideLate() {
    let times = 0;
    process.on('beforeExit', () => {
      if (times++ < 3) {
        decide(first, part.decisions + times, 1);
      }
    });
  },

  closeOnSignal() {
    require(ROOT).closeOnSignal(first);
    setInterval(() => {}, LONG_MILLIS);
    say('listening');
  },

  /** Stay, until a signal. */
  stay() {
    setInterval(() => {}, LONG_MILLIS);
    say('staying');
  },

  /** Collect garbage until the forgotten dispatchers are closed, which is when their listeners are gone. */
  async collect() {
    while (process.listenerCount('beforeExit') > 0) {
      global.gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    say('collected');
  },

  /** Collect garbage a few times, as many as it takes to find forgotten dispatchers. */
  async collectSome() {
    for (let i = 0; i < 20; i++) {
      global.gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    say('collected');
  },
};

function end({ workers: forWorkers, main }) {
  for (const worker of workers) {
    if (forWorkers === 'terminate') {
      worker.terminate();
    } else if (forWorkers !== undefined) {
      worker.postMessage({ main: forWorkers });
    }
  }
  ENDINGS[main ?? 'nothing']();
}

if (part.end !== undefined) {
  end({ main: part.end });
} else {
  port.once('message', (how) => end(how));
  say('ready');
}
