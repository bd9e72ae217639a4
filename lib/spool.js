'use strict';

/** The option `spool`: a directory in which decisions outlive the process. */

const fs = require('node:fs');
const path = require('node:path');

const {
  MAX_TIMER_MILLIS,
  Unexpected,
  integer,
  isObject,
  optionError,
  resolveTable,
} = require('./checks.js');

const MIB = 1024 * 1024;
const SECOND_MILLIS = 1000;
/** Linux takes 4095 bytes, of up to three for a character. */
const MAX_PATH_LENGTH = 1000;

function directory(value) {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) {
    throw new Unexpected('the path of a directory');
  }
  // The working directory may change later.
  const resolved = path.resolve(value);
  if (resolved.length > MAX_PATH_LENGTH) {
    throw new Unexpected(`the path of a directory, of at most ${MAX_PATH_LENGTH} characters`);
  }
  return resolved;
}

function syncIntervalMillis(value) {
  if (value !== 'always' && !(Number.isInteger(value) && value >= 0 && value <= MAX_TIMER_MILLIS)) {
    throw new Unexpected(`an integer from 0 to ${MAX_TIMER_MILLIS} (milliseconds), or 'always'`);
  }
  return value;
}

const TABLE = {
  directory: { check: directory, required: true },
  maxBytes: { check: integer(4 * MIB, Number.MAX_SAFE_INTEGER, 'bytes'), default: 1024 * MIB },
  syncIntervalMillis: { check: syncIntervalMillis, default: SECOND_MILLIS },
};

/** Check the option, and return it complete; `syncsFlushes` is what 'always' means. */
function resolveSpool(value) {
  if (!isObject(value)) {
    throw new Unexpected(`false, or an object with ${Object.keys(TABLE).join(', ')}`);
  }
  const resolved = resolveTable(TABLE, value, 'spool.');
  const syncsFlushes = resolved.syncIntervalMillis === 'always';
  return Object.freeze({
    ...resolved,
    syncsFlushes,
    syncIntervalMillis: syncsFlushes ? SECOND_MILLIS : resolved.syncIntervalMillis,
  });
}

/** Make the directory, for this user alone, unless it is there. */
function prepareSpool({ directory: wanted }, engine) {
  if (engine !== 'native') {
    throw optionError(
      "option 'spool': it needs the native addon, since WebAssembly has no thread that looks after files; " +
        "leave it out, or set engine: 'native', which says why there is none",
    );
  }
  try {
    // Not with its parents: a mount that is missing should be noticed.
    fs.mkdirSync(wanted, { mode: 0o700 });
  } catch (error) {
    if (error.code === 'EEXIST') {
      return; // the addon looks at what it is
    }
    throw optionError(`option 'spool.directory': ${wanted} cannot be made: ${error.message}`);
  }
}

/** The error for a directory that is no good. */
const spoolError = (error) => optionError(`option 'spool.directory': ${error.message}`);

module.exports = { prepareSpool, resolveSpool, spoolError };
