'use strict';

/** What an exception says, whatever was thrown; never throws itself. */
function reasonOf(error) {
  try {
    return String(error instanceof Error ? error.message : error) || 'no reason given';
  } catch {
    return 'no reason given';
  }
}

/**
 * Say so when a callback that is to return at once returned a promise, and keep its rejection from
 * ending the process. Returns whether it did.
 */
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
