'use strict';

/**
 * The log: the user's logger, made safe to call from anywhere.
 *
 * A fault repeats at every request, or at every decision; so a warning or an error names its cause by
 * a key, and each key is logged at once when it is new, and then at most once in a minute, with the
 * number of those in between. No timer is needed for that, and memory is bounded.
 */

const PREFIX = '[optimizely-amplitude] ';
const INTERVAL_MILLIS = 60_000;
const MAX_KEYS = 100;
/** What is logged under when there are too many keys: then they share one. */
const OVERFLOW_KEY = Symbol('overflow');

const ignore = () => {};

/** Warnings and errors only: a library is quiet. The console is looked up late, because tests replace it. */
const CONSOLE = {
  debug: ignore,
  info: ignore,
  warn: (message) => console.warn(PREFIX + message),
  error: (message) => console.error(PREFIX + message),
};

class Log {
  /** Whether debug() and info() reach anybody; false saves making their messages. */
  debugEnabled;
  #logger;
  #now;
  #maxKeys;
  /** By key, when it was logged last and how often it was suppressed since; the one longest ago comes first. */
  #recent = new Map();

  constructor(logger, now, maxKeys) {
    // pino and winston can tell; a logger that cannot gets everything.
    this.debugEnabled = logger !== null && logger.isLevelEnabled?.('debug') !== false;
    this.#logger = logger ?? CONSOLE;
    this.#now = now;
    this.#maxKeys = maxKeys;
  }

  debug(message) {
    this.#write('debug', message);
  }

  info(message) {
    this.#write('info', message);
  }

  /** Log a warning, unless one with this key was logged less than a minute ago. */
  warn(key, message) {
    this.#writeSeldom('warn', key, message);
  }

  /** Log an error, unless one with this key was logged less than a minute ago. */
  error(key, message) {
    this.#writeSeldom('error', key, message);
  }

  #writeSeldom(level, wantedKey, message) {
    const now = this.#now();
    const key = this.#recent.has(wantedKey) || this.#makeRoom(now) ? wantedKey : OVERFLOW_KEY;
    const entry = this.#recent.get(key);
    if (entry !== undefined && now - entry.loggedAt < INTERVAL_MILLIS) {
      entry.suppressed++;
      return;
    }
    this.#recent.delete(key); // so that it becomes the last
    this.#recent.set(key, { loggedAt: now, suppressed: 0 });
    const suppressed = entry?.suppressed ?? 0;
    this.#write(
      level,
      suppressed === 0 ? message : `${message} (and ${suppressed} more since the last such line)`,
    );
  }

  /** Make room for a key, if there is one that was not logged for an interval. */
  #makeRoom(now) {
    if (this.#recent.size >= this.#maxKeys) {
      const [key, { loggedAt }] = this.#recent.entries().next().value;
      if (now - loggedAt < INTERVAL_MILLIS) {
        return false;
      }
      this.#recent.delete(key);
    }
    return true;
  }

  #write(level, message) {
    try {
      const result = this.#logger[level](message);
      // What a listener throws ends in the SDK's log; but a rejected promise ends the process.
      if (typeof result?.then === 'function') {
        result.then(ignore, ignore);
      }
    } catch {
      // There is nowhere to say so.
    }
  }
}

/**
 * Make a log of a user's logger; null means the console. Nothing it does throws.
 *
 * `now` is a clock in milliseconds that never goes back.
 */
function createLog(logger = null, { now = () => performance.now(), maxKeys = MAX_KEYS } = {}) {
  return new Log(logger, now, maxKeys);
}

module.exports = { createLog };
