'use strict';

/** What Amplitude takes as text, and a name for log lines. */

/** Amplitude cuts longer strings off, which would merge users. */
const MAX_STRING_LENGTH = 1024;
/** Half of a surrogate pair, which is not valid Unicode: with the flag `u` a whole pair is one character. */
const LONE_SURROGATE = /[\ud800-\udfff]/u;

/** Whether a value is text of `minLength` characters or more that Amplitude takes as it is. */
function isText(value, minLength = 0) {
  return (
    typeof value === 'string' &&
    value.length >= minLength &&
    value.length <= MAX_STRING_LENGTH &&
    !LONE_SURROGATE.test(value)
  );
}

/** What to call so many of what a dispatcher delivers, as its log lines do; `stats` may be undefined. */
function nameRecords(count, stats) {
  if (stats?.tracked?.accepted > 0) {
    return count === 1 ? 'decision or event' : 'decisions and events';
  }
  return count === 1 ? 'decision' : 'decisions';
}

module.exports = { MAX_STRING_LENGTH, isText, nameRecords };
