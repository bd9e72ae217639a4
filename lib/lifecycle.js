'use strict';

/**
 * What happens to undelivered decisions when a process, or a Worker, comes to its end.
 *
 * The event loop runs empty: they are flushed. process.exit() or an uncaught exception: the request in
 * flight is aborted at once, since nothing may delay an exit, and the log says how many are lost.
 *
 * One listener for each event serves all dispatchers, and is removed with the last of them. Only native
 * dispatchers are held here; a dispatcher that the application forgot is collected, and then closed.
 */

const { shared } = require('./shared.js');
const { nameRecords } = require('./text.js');

/** Of all copies of this package; `entries` has { beforeExit, exit }, functions, for each native dispatcher. */
const state = shared('lifecycle.1', () => ({ entries: new Map(), listeners: null }));

/** How often one that the application forgot, and that cannot deliver, is looked at. */
const FORGOTTEN_MILLIS = 10_000;

const forgotten = new FinalizationRegistry(async ({ native, timeoutMillis }) => {
  if (state.entries.has(native)) {
    await native.flush(timeoutMillis, true).catch(() => {});
    await retire(native);
  }
});

/** Close a forgotten dispatcher once it has delivered everything: an outage is no reason to drop it. */
async function retire(native) {
  if (!state.entries.has(native)) {
    return;
  }
  if (native.stats().pending > 0) {
    setTimeout(retire, FORGOTTEN_MILLIS, native).unref();
    return;
  }
  await native.close(0).catch(() => {});
  forget(native);
}

/** Look after a dispatcher, until remove(). `owner` and `log` are held weakly: they may lead to each other. */
function add(owner, native, { log, timeoutMillis }) {
  if (state.entries.size === 0) {
    state.listeners = createListeners(state.entries);
    process.on('beforeExit', state.listeners.beforeExit);
    process.on('exit', state.listeners.exit);
  }
  state.entries.set(native, createEntry(native, new WeakRef(log), timeoutMillis));
  forgotten.register(owner, { native, timeoutMillis }, native);
}

function remove(native) {
  forgotten.unregister(native);
  forget(native);
}

function forget(native) {
  if (state.entries.delete(native) && state.entries.size === 0) {
    process.removeListener('beforeExit', state.listeners.beforeExit);
    process.removeListener('exit', state.listeners.exit);
    state.listeners = null;
  }
}

function createListeners(entries) {
  return {
    /** Other listeners may decide something, so their turn is first. */
    beforeExit: () => process.nextTick(() => entries.forEach((entry) => entry.beforeExit())),
    exit: () => entries.forEach((entry) => entry.exit()),
  };
}

function createEntry(native, weakLog, timeoutMillis) {
  let flushedAt = -1;
  return {
    /**
     * The flush keeps the loop alive; when it is over, Node emits beforeExit again. So each dispatcher gets one flush,
     * and another only for decisions that came after it.
     */
    beforeExit() {
      const { pending, accepted, lateRepeats } = native.stats();
      const taken = accepted + lateRepeats; // the one decreases as the other grows
      if (pending > 0 && taken !== flushedAt) {
        flushedAt = taken;
        native.flush(timeoutMillis, true).catch(() => {});
      }
    },

    exit() {
      const lost = native.abort();
      if (lost > 0) {
        const reason =
          flushedAt < 0
            ? 'await flush() or close() first'
            : `the last flush could not deliver ${lost === 1 ? 'it' : 'them'} in time`;
        weakLog
          .deref()
          ?.error(
            'exit',
            `the process exits with ${lost} ${nameRecords(lost, native.stats())} undelivered: ${reason}`,
          );
      }
    },
  };
}

module.exports = { add, remove };
