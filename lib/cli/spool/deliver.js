'use strict';

/** Delivers what processes left in a spool that have ended, as the next one of the application would. */

const { setTimeout: wait } = require('node:timers/promises');

const { createDispatcher } = require('../../index.js');
const { findJournals, lookAt } = require('./look.js');

const FLUSH_MILLIS = 1000;
const PAUSE_MILLIS = 50;

/** What is left without an owner, of whatever API key, in decisions and events of track(). */
function leftIn({ journals }) {
  const left = { ownKey: 0, otherKeys: 0, withoutLock: 0, files: 0 };
  for (const { state, isOwnKey, pending, leftAlone } of journals) {
    const count = pending.decisions + pending.tracked;
    if (state === 'without a lock') {
      left.withoutLock += count;
    } else if (state === 'orphan') {
      left[isOwnKey ? 'ownKey' : 'otherKeys'] += count;
    }
    left.files += state === 'in use' ? 0 : leftAlone.length;
  }
  return left;
}

/** Whether there is anything for the one who takes it over: otherwise its files may be such that nobody can read. */
const hasEntries = ({ pending: { decisions, tracked, repeats }, settled, missing }) =>
  decisions + tracked + repeats + settled + missing > 0;

/** Wait until nobody has to deliver these journals any more: they are gone, or another process has them. */
async function settle(Survey, directory, ids, dispatcher, timeoutMillis) {
  const until = performance.now() + timeoutMillis;
  const isOurs = ({ id, state, pids }) =>
    ids.has(id) && (state === 'orphan' || pids.includes(process.pid));
  for (;;) {
    const left = until - performance.now();
    const isOver = !findJournals(Survey, directory).some(isOurs);
    // More of the same would be refused, too.
    if (isOver || left <= 0 || dispatcher.stats().health === 'configuration') {
      return;
    }
    await dispatcher.flush({ timeoutMillis: Math.ceil(Math.min(left, FLUSH_MILLIS)) });
    await wait(PAUSE_MILLIS);
  }
}

/**
 * Deliver the orphans of a report of lookAt(), with options of createDispatcher(); resolve to { delivered, dropped,
 * left, lastError, durationMillis }; the error is null if the server took the last ones. Throws what createDispatcher() throws.
 */
async function deliver(Survey, { directory, journals }, options, timeoutMillis) {
  const begin = performance.now();
  const orphans = journals.filter(
    (journal) => journal.state === 'orphan' && journal.isOwnKey && hasEntries(journal),
  );
  const counts = { delivered: 0, dropped: { total: 0 }, lastError: null };
  if (orphans.length > 0) {
    const dispatcher = createDispatcher({
      ...options,
      // It writes nothing of its own, and what it takes over may be any number of files.
      spool: { directory, maxBytes: Number.MAX_SAFE_INTEGER },
    });
    const ids = new Set(orphans.map(({ id }) => id));
    await settle(Survey, directory, ids, dispatcher, timeoutMillis);
    const { health } = dispatcher.stats();
    await dispatcher.close({ timeoutMillis: 0 });
    const { decisions, tracked, lastError } = dispatcher.stats();
    counts.delivered = decisions.delivered + tracked.delivered;
    counts.dropped = Object.fromEntries(
      Object.entries(decisions.dropped)
        .map(([reason, count]) => [reason, count + tracked.dropped[reason]])
        .filter(([reason, count]) => count > 0 || reason === 'total'),
    );
    counts.lastError = health === 'ok' ? null : (lastError?.message ?? null);
  }
  return {
    ...counts,
    left: leftIn(lookAt(Survey, directory, { apiKey: options.apiKey })),
    durationMillis: Math.round(performance.now() - begin),
  };
}

module.exports = { deliver };
