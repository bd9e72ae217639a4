'use strict';

/**
 * How many bytes of memory values take in V8, a little more rather than less. The numbers are those of a 64-bit V8
 * without pointer compression, as Node has it; test/js/collector-memory.test.js compares them with the heap.
 */

/** A slot of an object, an array or a map. */
const SLOT = 8;
/** A string's header, and up to 7 bytes until the next word. */
const STRING = 24;
/** An object with its header, and the in-object slots that JSON.parse() leaves room for. */
const OBJECT = 56;
/** An array with its elements' header. */
const ARRAY = 48;
/** A number that is no small integer is an object of its own. */
const NUMBER = 16;
/** A property: a slot for the value, and its part of a dictionary once an object has many. */
const PROPERTY = 48;
/** An entry of a Map: key, value, chain and its part of the table, which grows by doubling. */
const MAP_ENTRY = 64;

const WIDE = /[^\x00-\xff]/; // eslint-disable-line no-control-regex

/** A string has one byte for each character, or two if one of them needs them. */
const stringBytes = (text) => STRING + (WIDE.test(text) ? 2 * text.length : text.length);

/** The bytes of what JSON.parse() made. Its depth is bounded by the caller. */
function valueBytes(value) {
  if (typeof value === 'string') {
    return stringBytes(value);
  }
  if (typeof value === 'number') {
    return Number.isInteger(value) && Math.abs(value) < 2 ** 31 ? 0 : NUMBER;
  }
  if (typeof value !== 'object' || value === null) {
    return 0;
  }
  if (Array.isArray(value)) {
    return value.reduce((sum, item) => sum + SLOT + valueBytes(item), ARRAY);
  }
  let sum = OBJECT;
  for (const name in value) {
    sum += PROPERTY + stringBytes(name) + valueBytes(value[name]);
  }
  return sum;
}

/** The characters at which JSON.parse() makes something. */
const [COMMA, OPEN_BRACKET, OPEN_BRACE] = [...',[{'].map((text) => text.charCodeAt(0));

/**
 * The most that JSON.parse() may make of a body, from its bytes: dense JSON, such as [{},{},{}], becomes twenty times
 * as much. Characters within strings count, too.
 */
function parsedBytes(json) {
  let sum = 2 * json.length;
  for (const byte of json) {
    if (byte === COMMA) {
      sum += SLOT + NUMBER;
    } else if (byte === OPEN_BRACE) {
      sum += OBJECT;
    } else if (byte === OPEN_BRACKET) {
      sum += ARRAY;
    }
  }
  return sum;
}

module.exports = { ARRAY, MAP_ENTRY, OBJECT, SLOT, parsedBytes, stringBytes, valueBytes };
