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

const entries = new Map(); // native dispatcher -> { log, timeoutMillis, flushedAt }

const forgotten = new FinalizationRegistry((native) => {
  const entry = entries.get(native);
  if (entry !== undefined) {
    native
      .close(entry.timeoutMillis)
      .catch(() => {})
      .finally(() => forget(native));
  }
});

/** Look after a dispatcher, until remove(). `owner` is held weakly. */
function add(owner, native, { log, timeoutMillis }) {
  if (entries.size === 0) {
    process.on('beforeExit', onBeforeExit);
    process.on('exit', onExit);
  }
  entries.set(native, { log, timeoutMillis, flushedAt: -1 });
  forgotten.register(owner, native, native);
}

function remove(native) {
  forgotten.unregister(native);
  forget(native);
}

function forget(native) {
  if (entries.delete(native) && entries.size === 0) {
    process.removeListener('beforeExit', onBeforeExit);
    process.removeListener('exit', onExit);
  }
}

/** Other listeners may decide something, so their turn is first. */
function onBeforeExit() {
  process.nextTick(flushPending);
}

/**
 * The flush keeps the loop alive; when it is over, Node emits beforeExit again. So each dispatcher gets
 * one flush, and another only for decisions that came after it.
 */
function flushPending() {
  for (const [native, entry] of entries) {
    const { pending, accepted } = native.stats();
    if (pending > 0 && accepted !== entry.flushedAt) {
      entry.flushedAt = accepted;
      native.flush(entry.timeoutMillis, true).catch(() => {});
    }
  }
}

function onExit() {
  for (const [native, { log, flushedAt }] of entries) {
    const lost = native.abort();
    if (lost > 0) {
      const reason =
        flushedAt < 0
          ? 'await flush() or close() first'
          : 'the last flush could not deliver them in time';
      log.error(
        'exit',
        `the process exits with ${lost} decision${lost === 1 ? '' : 's'} undelivered: ${reason}`,
      );
    }
  }
}

module.exports = { add, remove };
