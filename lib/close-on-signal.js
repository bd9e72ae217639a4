'use strict';

/**
 * Ends a process on a signal: the application drains, its dispatchers close, and then the signal ends the process, so
 * that its supervisor sees the usual status.
 *
 * One listener for each signal serves all dispatchers of the process, whichever copy of this package has made them. It
 * comes before those of the application, so that it sees the servers that they close.
 */

const { once } = require('node:events');
const net = require('node:net');
const os = require('node:os');

const { reasonOf } = require('./reason.js');
const { shared } = require('./shared.js');

const SIGNALS = ['SIGTERM', 'SIGINT'];
/** How often connections that became idle are closed: clients may keep them open for minutes. */
const IDLE_INTERVAL_MILLIS = 100;

/** Of all copies of this package. */
const state = shared('signals.1', () => ({
  entries: new Set(), // functions that drain and close; they return a promise that is not rejected
  closing: new Map(), // a server that is being closed -> the promise that it is
  listener: null,
}));

/** Returns a function that removes the listeners. `log` and `timeoutMillis` are the dispatcher's. */
function closeOnSignal(dispatcher, options, { log, timeoutMillis }) {
  const { before, ...unknown } = Object(options ?? {});
  const [name] = Object.keys(unknown);
  if (name !== undefined) {
    throw optionError(`unknown option '${name}' of closeOnSignal(): it takes { before }`);
  }
  if (before !== undefined && typeof before !== 'function') {
    throw optionError(`option 'before': expected a function, got a ${typeof before}`);
  }
  const entry = () => end({ dispatcher, before, log, timeoutMillis });
  if (state.listener === null) {
    state.listener = createListener();
    SIGNALS.forEach((signal) => process.prependListener(signal, state.listener));
  }
  state.entries.add(entry);
  return () => {
    if (state.entries.delete(entry) && state.entries.size === 0) {
      stopListening();
    }
  };
}

function stopListening() {
  if (state.listener === null) {
    return;
  }
  SIGNALS.forEach((signal) => process.removeListener(signal, state.listener));
  state.listener = null;
}

function createListener() {
  let isEnding = false;
  return async (signal) => {
    if (!isEnding) {
      isEnding = true;
      noteClosedServers();
      await Promise.all([...state.entries].map((entry) => entry()));
    }
    endProcess(signal);
  };
}

function endProcess(signal) {
  stopListening();
  // A signal ends neither the first process of a container nor one that has another listener for it.
  if (process.pid === 1 || process.listenerCount(signal) > 0) {
    process.exit(128 + os.constants.signals[signal]);
  }
  process.kill(process.pid, signal);
}

/** Note every server that is closed from now on: close() returns no promise, and in Node 18 not even the server. */
function noteClosedServers() {
  const { close } = net.Server.prototype;
  net.Server.prototype.close = function (...args) {
    if (!state.closing.has(this)) {
      state.closing.set(
        this,
        once(this, 'close').catch(() => {}),
      );
    }
    return Reflect.apply(close, this, args);
  };
}

/** Never rejects. */
async function end({ dispatcher, before, log, timeoutMillis }) {
  dispatcher.flush(); // what is already waiting is delivered meanwhile
  await drain(before, timeoutMillis).catch((error) =>
    log.error('before', `closeOnSignal: ${reasonOf(error)}; the dispatcher closes anyway`),
  );
  await dispatcher.close();
}

/** Run the application's own drain, to its end or to the deadline, and wait for the servers that close meanwhile. */
async function drain(before, timeoutMillis) {
  const what = before === undefined ? 'a server has not closed' : 'before() is not done';
  const started = performance.now();
  const interval = setInterval(
    () => closeConnections(performance.now() - started > timeoutMillis / 2),
    IDLE_INTERVAL_MILLIS,
  );
  let timer;
  const deadline = new Promise((resolve, reject) => {
    const expire = () => reject(new Error(`${what} after ${timeoutMillis} ms`));
    timer = setTimeout(expire, timeoutMillis);
  });
  const done = call(before).then(() => Promise.all(state.closing.values()));
  try {
    await Promise.race([done, deadline]);
  } finally {
    clearInterval(interval);
    clearTimeout(timer);
  }
}

/** Call before(), and wait for the promise that it returns, or for the callback that it takes. */
function call(before = () => {}) {
  return new Promise((resolve, reject) => {
    const returned = before((error) => (error ? reject(error) : resolve()));
    if (before.length === 0 || typeof returned?.then === 'function') {
      resolve(returned);
    }
  });
}

/**
 * An HTTP server is closed when its last connection is, and clients may keep theirs open for minutes: what is idle
 * is closed, and in the end also what is not, such as a connection that never sent anything.
 */
function closeConnections(areAll) {
  for (const server of state.closing.keys()) {
    if (areAll) {
      server.closeAllConnections?.();
    } else {
      server.closeIdleConnections?.();
    }
  }
}

const optionError = (message) => Object.assign(new TypeError(message), { code: 'ERR_OA_OPTION' });

module.exports = { closeOnSignal };
