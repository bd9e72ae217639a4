'use strict';

/** Audiences that ask a stand-in, often and without patience, and what tests wait for. */

const { EventEmitter, once } = require('node:events');

const { Audiences } = require('../../../lib/audiences/audiences.js');
const { resolveOptions } = require('../../../lib/audiences/options.js');
const { recordingLogger } = require('../dispatcher/loggers.js');

const POLL_MILLIS = 10;
const SILENCE_MILLIS = 1000;

/** Create audiences for one test, after which they are closed: { audiences, logger, changes, changed }. */
function startAudiences(t, { pace = { pollMillis: POLL_MILLIS }, ...options }) {
  const logger = recordingLogger();
  const changes = [];
  const events = new EventEmitter().setMaxListeners(0);
  const audiences = new Audiences(
    resolveOptions({
      pollIntervalMillis: POLL_MILLIS,
      logger,
      ...options,
      onChange(change) {
        changes.push(change);
        events.emit('change');
        return options.onChange?.(change);
      },
    }),
    { silenceMillis: SILENCE_MILLIS, pace },
  );
  const alive = setInterval(() => {}, 1000); // audiences keep no process alive
  t.after(() => {
    clearInterval(alive);
    return audiences.close();
  });
  /** Resolves to the first change, told or to come, that is as described. */
  const changed = async (wanted) => {
    const matches = (change) =>
      Object.entries(wanted).every(([name, value]) => change[name] === value);
    while (!changes.some(matches)) {
      await once(events, 'change');
    }
    return changes.find(matches);
  };
  return { audiences, logger, changes, changed };
}

module.exports = { POLL_MILLIS, startAudiences };
