'use strict';

/** What Amplitude takes as text. */

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

module.exports = { MAX_STRING_LENGTH, isText };
