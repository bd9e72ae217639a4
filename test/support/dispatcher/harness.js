'use strict';

/** Dispatchers that post to a stand-in for Amplitude, and what tests ask of both. */

const assert = require('node:assert/strict');
const { subscribe, unsubscribe } = require('node:diagnostics_channel');

const { Dispatcher } = require('../../../lib/dispatcher.js');
const { resolveOptions } = require('../../../lib/options.js');
const { startAmplitude } = require('../amplitude/server.js');
const { quietLogger, recordingLogger } = require('./loggers.js');

/** Longer than any test takes. */
const LONG_MILLIS = 60_000;

/**
 * Longer than any that an option allows. One window of a day in 86,400 turns over each second, so a test of many users
 * would sometimes count one of them twice.
 */
const STEADY_WINDOW_MILLIS = 2 ** 52;

/** Create a dispatcher whose windows do not turn over, unless `options` set their length. */
function createDispatcher(options) {
  const resolved = resolveOptions(options);
  const isSteady = resolved.dedupe !== null && options.dedupe?.windowMillis === undefined;
  return new Dispatcher(
    isSteady
      ? { ...resolved, dedupe: { ...resolved.dedupe, windowMillis: STEADY_WINDOW_MILLIS } }
      : resolved,
  );
}

/**
 * Start a dispatcher and its stand-in for one test, after which both are closed. Only a flush sends, unless `options`
 * say otherwise.
 */
async function start(t, options = {}, amplitudeOptions = {}) {
  const amplitude = await startAmplitude(amplitudeOptions);
  const logger = recordingLogger();
  const drops = [];
  const dispatcher = createDispatcher({
    apiKey: 'test-key',
    serverUrl: amplitude.httpapi,
    flushIntervalMillis: LONG_MILLIS,
    flushTimeoutMillis: 30_000,
    logger,
    onDrop: (drop) => drops.push(drop),
    ...options,
  });
  t.after(async () => {
    await dispatcher.close({ timeoutMillis: 0 });
    await amplitude.close();
  });
  return { amplitude, dispatcher, logger, drops };
}

/** Make a dispatcher as a client for playRow(); `dropped` has one drop for each decision. */
function connect(serverUrl, options) {
  const dropped = [];
  const dispatcher = createDispatcher({
    apiKey: 'test-key',
    serverUrl,
    logger: quietLogger,
    onDrop: ({ decisions, ...rest }) =>
      dropped.push(...decisions.map((decision) => ({ ...rest, ...decision }))),
    ...options,
  });
  return {
    dispatcher,
    decide: dispatcher.onDecision,
    dropped,
    failed: () => requestFailed(dispatcher),
    flush: (options) => dispatcher.flush({ timeoutMillis: LONG_MILLIS, ...options }),
    stats: () => checkedStats(dispatcher),
    close: () => dispatcher.close({ timeoutMillis: 0 }),
  };
}

/** Make the function that connects a client for a row of the matrix. */
const connectRow =
  (options) =>
  (serverUrl, { devices, requestTimeoutMillis }) =>
    connect(serverUrl, {
      resolveUser: devices ? ({ userId }) => ({ deviceId: userId }) : undefined,
      requestTimeoutMillis,
      ...options,
    });

/**
 * Wait until a request of a dispatcher has failed; resolves to the `lastError` of its stats.
 */
async function requestFailed(dispatcher) {
  const channel = 'optimizely-amplitude:request';
  await new Promise((resolve, reject) => {
    const settle = (settler, value) => {
      clearTimeout(timer);
      unsubscribe(channel, checkLater);
      settler(value);
    };
    const check = () => {
      if (dispatcher.stats().requests.failed > 0) {
        settle(resolve);
      }
    };
    const timer = setTimeout(
      () => settle(reject, new Error(`no request failed within ${LONG_MILLIS} ms`)),
      LONG_MILLIS,
    );
    // The channel may publish a request before its failure is counted.
    const checkLater = () => setImmediate(check);
    subscribe(channel, checkLater);
    check();
  });
  return dispatcher.stats().lastError;
}

/** Every event that was stored, in order. */
const storedEvents = (amplitude, query = {}) =>
  amplitude.store.events({ limit: Infinity, ...query });

const viewed = (amplitude, user) => storedEvents(amplitude, { user, type: 'Experiment Viewed' });

/** The sums that stats() promises, at any moment. */
function assertReconciles(stats) {
  const { seen, ignored, invalid, deduplicated, accepted } = stats.decisions;
  assert.equal(seen, ignored + invalid + deduplicated + accepted);
  assertAccepted(stats.decisions);
  assert.equal(
    stats.tracked.seen,
    stats.tracked.ignored + stats.tracked.invalid + stats.tracked.accepted,
  );
  assertAccepted(stats.tracked);
}

function assertAccepted({ accepted, delivered, pending, dropped }) {
  const { total, ...reasons } = dropped;
  assert.equal(accepted, delivered + total + pending);
  assert.equal(
    total,
    Object.values(reasons).reduce((sum, count) => sum + count, 0),
  );
}

/** The stats of a dispatcher, which add up. */
function checkedStats(dispatcher) {
  const stats = dispatcher.stats();
  assertReconciles(stats);
  return stats;
}

module.exports = {
  assertReconciles,
  connect,
  connectRow,
  createDispatcher,
  requestFailed,
  start,
  storedEvents,
  viewed,
};
