'use strict';

/** Return the message of whatever was thrown; never throws. */
function reasonOf(error) {
  try {
    return String(error instanceof Error ? error.message : error) || 'no reason given';
  } catch {
    return 'no reason given';
  }
}

/** Whether a callback returned a promise. If so, its rejection is handled, so that it does not end the process. */
function isPromise(value) {
  if (value === null || typeof value !== 'object' || typeof value.then !== 'function') {
    return false;
  }
  value.then(
    () => {},
    () => {},
  );
  return true;
}

module.exports = { isPromise, reasonOf };
