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

/** From the least important to the most; 'none' is above all messages. */
const LEVELS = ['debug', 'info', 'warn', 'error', 'none'];

/** The console is looked up at each call, because tests replace it. */
const CONSOLE = {
  debug: (message) => console.debug(PREFIX + message),
  info: (message) => console.info(PREFIX + message),
  warn: (message) => console.warn(PREFIX + message),
  error: (message) => console.error(PREFIX + message),
};

/** Whether a logger is enabled for debug messages, as it says itself; undefined when it cannot tell. */
function wantsDebug(logger) {
  let answer;
  try {
    if (typeof logger.isLevelEnabled === 'function') {
      answer = logger.isLevelEnabled('debug'); // pino, winston, log4js
    } else if (typeof logger.isDebugEnabled === 'function') {
      answer = logger.isDebugEnabled();
    } else if (typeof logger.addStream === 'function') {
      answer = logger.debug(); // bunyan tells by its methods; those of others would log an empty line
    }
  } catch {
    // It cannot tell.
  }
  return typeof answer === 'boolean' ? answer : undefined;
}

/** The least level that is logged when the application names none: a logger that has levels filters by itself. */
function defaultLevel(logger) {
  switch (wantsDebug(logger)) {
    case true:
      return 'debug';
    case false:
      return 'info';
    default:
      return 'warn';
  }
}

class Log {
  /** Whether debug messages are logged; if not, the caller need not make them. */
  debugEnabled;
  #logger;
  #least; // the index of the least level that is logged
  #now;
  #maxKeys;
  /** By key: when it was logged last, and how often it was suppressed since. The oldest comes first. */
  #recent = new Map();

  constructor(logger, level, now, maxKeys) {
    this.#least = LEVELS.indexOf(level ?? defaultLevel(logger));
    this.debugEnabled = this.#isLogged('debug');
    this.#logger = logger;
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

  #isLogged(level) {
    return LEVELS.indexOf(level) >= this.#least;
  }

  #writeSeldom(level, wantedKey, message) {
    if (!this.#isLogged(level)) {
      return;
    }
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
    if (!this.#isLogged(level)) {
      return;
    }
    try {
      const logger = this.#logger;
      // A logger of analytics-node has log() in place of info().
      const method = level === 'info' && typeof logger.info !== 'function' ? 'log' : level;
      const result = logger[method](message);
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
 * `level` is the least that is logged; with null the logger decides, or it is 'warn'. `now` is a monotonic clock in
 * milliseconds.
 */
function createLog(
  logger = null,
  { level = null, now = () => performance.now(), maxKeys = MAX_KEYS } = {},
) {
  return new Log(logger ?? CONSOLE, level, now, maxKeys);
}

module.exports = { createLog };
