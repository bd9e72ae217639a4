'use strict';

/**
 * A server that is stopped by signals, configured by its part (`process.argv[2]`, in JSON):
 *
 *   servers    the URLs that its dispatchers post to: one each
 *   copies     whether each dispatcher is made by a copy of the package of its own
 *   options    of the dispatchers; their log goes to stderr
 *   before     one of BEFORE; each dispatcher has the same. Absent: none
 *   own        'on' or 'once': how the application itself also listens to SIGTERM, to close the server
 *   takeBack   whether the listeners of closeOnSignal() are removed at once
 *
 * GET /now/<user> decides and answers at once; GET /later/<user> prints "held", and does so after the message "answer".
 * The message { kill: signal } makes it send the signal to itself.
 */

const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');

const { createNotification } = require('../optimizely/sdk.js');
const { loadCopy } = require('./copies.js');

const LONG_MILLIS = 60_000;
const part = JSON.parse(process.argv[2]);

const say = (text) => fs.writeSync(1, `${text}\n`);
const warn = (message) => fs.writeSync(2, `${message}\n`);

const dispatchers = [];
const server = http.createServer(async (request, response) => {
  const [, when, user] = request.url.split('/');
  if (when === 'later') {
    say('held');
    await once(process, 'message');
  }
  dispatchers.forEach((dispatcher) => dispatcher.onDecision(createNotification(user)));
  response.end(`decided for ${user}`);
});
server.keepAliveTimeout = LONG_MILLIS;

const BEFORE = {
  'returns what server.close() does': () => server.close(),
  'returns nothing': () => {
    server.close();
  },
  'takes a callback': (done) => {
    server.close(done);
  },
  'takes a callback, and calls it later': (done) => {
    server.close(() => setTimeout(done, 100));
  },
  'returns a promise': () => new Promise((resolve) => server.close(resolve)),
  'is async and awaits': async () => {
    server.close();
    await once(server, 'close');
  },
  'closes the server later, and does not wait': async () => {
    await new Promise(setImmediate);
    server.close();
  },
  throws: () => {
    throw new Error('on purpose');
  },
  rejects: () => Promise.reject(new Error('on purpose')),
  'calls back an error': (done) => setImmediate(done, new Error('on purpose')),
  'never ends': () => new Promise(() => {}),
};

function announced(before) {
  if (before === undefined) {
    return undefined;
  }
  const run = (...args) => {
    say('draining');
    return before(...args);
  };
  return before.length === 0 ? () => run() : (done) => run(done);
}

const before = announced(BEFORE[part.before]);
/** Create a dispatcher of a copy, and have it closed by a signal. A copy loads that part when it is called. */
function start({ createDispatcher, closeOnSignal }, serverUrl) {
  const dispatcher = createDispatcher({
    apiKey: 'stoppable-key',
    serverUrl,
    flushIntervalMillis: LONG_MILLIS,
    requestTimeoutMillis: LONG_MILLIS,
    logger: { debug() {}, info() {}, warn, error: warn },
    ...part.options,
  });
  dispatchers.push(dispatcher);
  return closeOnSignal(dispatcher, { before });
}

const takeBacks = part.servers.map((serverUrl) =>
  start(part.copies ? loadCopy() : require('../../../lib/index.js'), serverUrl),
);
if (part.own !== undefined) {
  process[part.own]('SIGTERM', () => {
    say('draining');
    server.close();
  });
}
if (part.takeBack) {
  takeBacks.forEach((takeBack) => takeBack());
  say(`${process.listenerCount('SIGTERM')} listeners`);
}

process.on('message', ({ kill }) => {
  if (kill !== undefined) {
    process.kill(process.pid, kill);
  }
});
server.listen(0, '127.0.0.1', () => say(`http://127.0.0.1:${server.address().port}`));
