'use strict';

/** What an option may be that takes the application's own client of Redis or Valkey. */

const { Unexpected, callback, isObject, list, resolveTable } = require('./checks.js');
const { CLIENT_METHODS, senderOf } = require('./store-client.js');

const EXPECTED =
  "an object with the application's client of Redis or Valkey, { client }, or { send }";

function client(value) {
  if (senderOf(value) === null) {
    throw new Unexpected(
      `a client of redis, ioredis, iovalkey, @valkey/valkey-glide or @upstash/redis, with one of the methods ${list(CLIENT_METHODS)}`,
      isObject(value)
        ? 'an object without them; a function send(argv, routingKey) fits any client'
        : undefined,
    );
  }
  return value;
}

/** A part of keys, and of what is in their braces. */
function prefix(value) {
  if (typeof value !== 'string' || !/^[\w.:-]{1,64}$/.test(value)) {
    throw new Unexpected('1 to 64 letters, digits, or any of _ . : -');
  }
  return value;
}

const TABLE = {
  client: { check: client, default: null },
  send: { check: callback, default: null },
  prefix: { check: prefix, default: 'oa' },
};

/** Check the value of the option `name`; `more` are the entries of a table that such a store has besides. */
function resolveStore(value, name, more = {}) {
  const isClient = isObject(value) && senderOf(value) !== null;
  const given =
    typeof value === 'function' ? { send: value } : isClient ? { client: value } : value;
  if (!isObject(given)) {
    throw new Unexpected(EXPECTED);
  }
  const resolved = resolveTable({ ...TABLE, ...more }, given, `${name}.`);
  if ((resolved.client === null) === (resolved.send === null)) {
    throw new Unexpected(EXPECTED, resolved.client === null ? 'neither' : 'both');
  }
  return Object.freeze(resolved);
}

module.exports = { resolveStore };
