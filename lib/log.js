'use strict';

/**
 * The log: the application's logger, made safe to call from anywhere.
 *
 * A fault repeats with every request or every decision, so a warning or an error has a key that names its cause.
 * Each key is logged at once, and then at most once a minute with the number of suppressed lines. This needs no
 * timer, and its memory is bounded.
 */

const PREFIX = '[optimizely-amplitude] ';
const INTERVAL_MILLIS = 60_000;
const MAX_KEYS = 100;
/** The key that all causes share when there are too many. */
const OVERFLOW_KEY = Symbol('overflow');

const ignore = () => {};

/** The default writes warnings and errors only. The console is looked up at each call, because tests replace it. */
const CONSOLE = {
  debug: ignore,
  info: ignore,
  warn: (message) => console.warn(PREFIX + message),
  error: (message) => console.error(PREFIX + message),
};

class Log {
  /** Whether the logger wants debug messages; if not, the caller need not make them. */
  debugEnabled;
  #logger;
  #now;
  #maxKeys;
  /** By key: when it was logged last, and how often it was suppressed since. The oldest comes first. */
  #recent = new Map();

  constructor(logger, now, maxKeys) {
    // pino and winston have isLevelEnabled(); a logger without it gets everything.
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
    this.#recent.delete(key); // so that it becomes the newest
    this.#recent.set(key, { loggedAt: now, suppressed: 0 });
    const suppressed = entry?.suppressed ?? 0;
    this.#write(
      level,
      suppressed === 0 ? message : `${message} (and ${suppressed} more since the last such line)`,
    );
  }

  /** Make room for a new key by forgetting the oldest one; false when even that one is recent. */
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
      // A rejected promise of an async logger would end the process.
      if (typeof result?.then === 'function') {
        result.then(ignore, ignore);
      }
    } catch {
      // The logger itself is broken, and there is no other place to report it.
    }
  }
}

/**
 * Make a log that writes to an application's logger, or to the console for null. It never throws.
 *
 * `now` is a monotonic clock in milliseconds.
 */
function createLog(logger = null, { now = () => performance.now(), maxKeys = MAX_KEYS } = {}) {
  return new Log(logger, now, maxKeys);
}

module.exports = { createLog };
