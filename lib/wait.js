'use strict';

/** The options of flush() and close(). Those two never throw: what is wrong is logged, and the default is used. */

const { MAX_TIMER_MILLIS } = require('./checks.js');

/** Return { timeoutMillis, abort }, complete; `defaultMillis` is the option flushTimeoutMillis. */
function readWait(options, defaultMillis, log) {
  const { timeoutMillis, abort, ...unknown } = Object(options ?? {});
  const isObject = typeof options === 'object' || options === undefined;
  const names = isObject ? Object.keys(unknown) : [String(options)];
  if (names.length > 0) {
    log.warn(
      'wait',
      `flush() and close() take { timeoutMillis, abort }, not ${names.join(', ')}; the default is used`,
    );
  }
  return { timeoutMillis: readTimeout(timeoutMillis, defaultMillis, log), abort: abort === true };
}

/** Return a timeout that a timer takes. */
function readTimeout(timeoutMillis, defaultMillis, log) {
  if (timeoutMillis === undefined) {
    return defaultMillis;
  }
  if (typeof timeoutMillis !== 'number' || !(timeoutMillis >= 0)) {
    log.warn(
      'timeoutMillis',
      `timeoutMillis: expected milliseconds, got a ${typeof timeoutMillis}; the default is used`,
    );
    return defaultMillis;
  }
  return Math.min(Math.floor(timeoutMillis), MAX_TIMER_MILLIS);
}

module.exports = { readTimeout, readWait };
