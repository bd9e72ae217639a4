'use strict';

/**
 * Checks of options. A table has `{ check, default, required, describe }` for each name; a check takes a value
 * that is given, and returns what it becomes, or throws Unexpected.
 */

/** The longest delay that a timer of Node takes, about 24 days. */
const MAX_TIMER_MILLIS = 2 ** 31 - 1;

/** The error for an option, which names it. */
const optionError = (message) => Object.assign(new TypeError(message), { code: 'ERR_OA_OPTION' });

/** Thrown by a check: what it expected, and what it got, unless that is simply the value. */
class Unexpected extends Error {
  constructor(expected, got) {
    super();
    this.expected = expected;
    this.got = got;
  }
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const shorten = (string, length = 40) =>
  string.length > length ? `${string.slice(0, length)}...` : string;
const list = (names) => names.map((name) => `'${name}'`).join(', ');

/** Describe a value in a few words. Of objects only the kind is shown, since their contents may be secret. */
function describe(value) {
  switch (typeof value) {
    case 'string':
      return `${JSON.stringify(shorten(value))} (a string)`;
    case 'number':
    case 'boolean':
      return `${value} (a ${typeof value})`;
    case 'bigint':
      return `${shorten(String(value))}n (a bigint)`;
    case 'object':
      if (value === null) {
        return 'null';
      }
      return Array.isArray(value) ? `an array of ${value.length}` : 'an object';
    case 'undefined':
      return 'undefined';
    default:
      return `a ${typeof value}`;
  }
}

// ---- checks -----------------------------------------------------------------------------------------

function integer(min, max, unit = '') {
  return (value) => {
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new Unexpected(`an integer from ${min} to ${max}${unit && ` (${unit})`}`);
    }
    return value;
  };
}

const millis = (min, max = MAX_TIMER_MILLIS) => integer(min, max, 'milliseconds');

function boolean(value) {
  if (typeof value !== 'boolean') {
    throw new Unexpected('true or false');
  }
  return value;
}

function oneOf(...values) {
  return (value) => {
    if (!values.includes(value)) {
      throw new Unexpected(`one of ${list(values)}`);
    }
    return value;
  };
}

function callback(value) {
  if (typeof value !== 'function') {
    throw new Unexpected('a function');
  }
  return value;
}

// ---- tables -----------------------------------------------------------------------------------------

/** Check `options` by a table, and return every name of it with its value or its default. */
function resolveTable(table, options, prefix = '') {
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(table, name)) {
      const { suggest } = require('./suggest.js');
      throw optionError(
        `unknown option '${prefix}${shorten(name)}': ${suggest(name, Object.keys(table), prefix)}`,
      );
    }
  }
  const resolved = {};
  for (const name of Object.keys(table)) {
    const option = table[name];
    const value = options[name];
    resolved[name] =
      value === undefined && !option.required
        ? option.default
        : checked(option, value, `option '${prefix}${name}'`);
  }
  return resolved;
}

/** Return what a check makes of a value; throws the error for the user, which begins with `what`. */
function checked({ check, describe: describeValue = describe }, value, what) {
  try {
    return check(value);
  } catch (error) {
    if (error instanceof Unexpected) {
      throw optionError(
        `${what}: expected ${error.expected}, got ${error.got ?? describeValue(value)}`,
      );
    }
    throw error;
  }
}

module.exports = {
  MAX_TIMER_MILLIS,
  Unexpected,
  boolean,
  callback,
  checked,
  describe,
  integer,
  isObject,
  list,
  millis,
  oneOf,
  optionError,
  resolveTable,
  shorten,
};
