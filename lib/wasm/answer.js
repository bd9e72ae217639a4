'use strict';

/** What the transports have in common. */

const MAX_ANSWER_BYTES = 4 * 1024 * 1024; // OA_ANSWER_MAX_BYTES of oa.h
const MAX_UINT32 = 2 ** 32 - 1;

/** The header, in seconds; it has a number of them, or a date. 0: absent, or past. */
function retryAfter(value) {
  if (value === undefined || value === null) {
    return 0;
  }
  const seconds = /^\s*\d+\s*$/.test(value)
    ? Number(value)
    : Math.ceil((Date.parse(value) - Date.now()) / 1000);
  return seconds > 0 ? Math.min(seconds, MAX_UINT32) : 0;
}

module.exports = { MAX_ANSWER_BYTES, retryAfter };
