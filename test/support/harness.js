'use strict';

/** What most end-to-end tests begin with: a stand-in for Amplitude and a dispatcher that posts to it. */

const assert = require('node:assert/strict');

const { Dispatcher } = require('../../lib/dispatcher.js');
const { resolveOptions } = require('../../lib/options.js');
const { startAmplitude } = require('./amplitude.js');

/**
 * Longer than any that an option allows: of windows of a day one in 86,400 turns over each second, so that a test of many
 * users would count one of them twice now and then.
 */
const STEADY_WINDOW_MILLIS = 2 ** 52;

/** Create a dispatcher whose windows do not turn over, unless `options` say how long they are. */
function createDispatcher(options) {
  const resolved = resolveOptions(options);
  const isSteady = resolved.dedupe !== null && options.dedupe?.windowMillis === undefined;
  return new Dispatcher(
    isSteady
      ? { ...resolved, dedupe: { ...resolved.dedupe, windowMillis: STEADY_WINDOW_MILLIS } }
      : resolved,
  );
}

/** A logger that keeps what it is told, as { level, message }. */
function recordingLogger() {
  const lines = [];
  const write = (level) => (message) => lines.push({ level, message });
  return {
    lines,
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
}

/**
 * Start both, for one test. Nothing is sent but by a flush, unless `options` say otherwise.
 * `t` is the test's context: both are closed after it.
 */
async function start(t, options = {}, amplitudeOptions = {}) {
  const amplitude = await startAmplitude(amplitudeOptions);
  const logger = recordingLogger();
  const drops = [];
  const dispatcher = createDispatcher({
    apiKey: 'test-key',
    serverUrl: amplitude.httpapi,
    flushIntervalMillis: 60_000,
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

/** Every event that was stored, in order. */
const storedEvents = (amplitude, query = {}) =>
  amplitude.store.events({ limit: Infinity, ...query });

const viewed = (amplitude, user) => storedEvents(amplitude, { user, type: 'Experiment Viewed' });

/** The sums that stats() promises, at any moment. */
function assertReconciles(stats) {
  const { seen, ignored, invalid, deduplicated, accepted, delivered, pending, dropped } =
    stats.decisions;
  assert.equal(seen, ignored + invalid + deduplicated + accepted);
  assert.equal(accepted, delivered + dropped.total + pending);
  const { total, ...reasons } = dropped;
  assert.equal(
    total,
    Object.values(reasons).reduce((sum, count) => sum + count, 0),
  );
}

module.exports = {
  assertReconciles,
  createDispatcher,
  recordingLogger,
  start,
  storedEvents,
  viewed,
};
