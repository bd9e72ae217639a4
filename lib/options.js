'use strict';

/**
 * The options of a dispatcher: what they may be, what they are when they are left out, and what
 * follows from them. Everything is checked here, once, so that nothing else has to.
 *
 * No message contains an API key, or what a URL holds of credentials.
 */

const fs = require('node:fs');
const path = require('node:path');

const MAX_UINT16 = 2 ** 16 - 1;
const MAX_UINT32 = 2 ** 32 - 1;
/** The longest delay that a timer of Node takes, about 24 days. */
const MAX_TIMER_MILLIS = 2 ** 31 - 1;
const DAY_MILLIS = 24 * 60 * 60 * 1000;
const MIB = 1024 * 1024;

/** Amplitude cuts longer strings off, which would merge users. */
const MAX_STRING_LENGTH = 1024;
const MAX_GROUP_TYPES = 5;
const MAX_GROUP_VALUES = 10;

/** The two ways into Amplitude. A request body, uncompressed, must stay below the limit. */
const HTTP_V2 = { path: '/2/httpapi', maxBodyBytes: 1_000_000 - 1, throttleMillis: 30_000 };
const BATCH = { path: '/batch', maxBodyBytes: 20_000_000 - 1, throttleMillis: 15_000 };
const ORIGINS = { US: 'https://api2.amplitude.com', EU: 'https://api.eu.amplitude.com' };
const AMPLITUDE_HOSTS = new Set([
  'api2.amplitude.com',
  'api.amplitude.com',
  'api.eu.amplitude.com',
]);

const DECISION_TYPES = [
  'flag',
  'feature',
  'feature-variable',
  'all-feature-variables',
  'ab-test',
  'feature-test',
];
const LOGGER_METHODS = ['debug', 'info', 'warn', 'error'];
const PROXY_PROTOCOLS = new Set(['http:', 'https:', 'socks4:', 'socks4a:', 'socks5:', 'socks5h:']);
const EXPECTED_GROUPS =
  `an object {type: name or array of names} of at most ${MAX_GROUP_TYPES} types and ` +
  `${MAX_GROUP_VALUES} names in all, none of them empty`;
/** Event types that change profiles instead of being events. */
const PROFILE_EVENT_TYPES = new Set(['$identify', '$groupidentify']);

const optionError = (message) => Object.assign(new TypeError(message), { code: 'ERR_OA_OPTION' });

/** Thrown by a check: what it expected, and what it got when that is not simply the value. */
class Unexpected extends Error {
  constructor(expected, got) {
    super();
    this.expected = expected;
    this.got = got;
  }
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
/** With the flag `u` a whole pair is one character. */
const LONE_SURROGATE = /[\ud800-\udfff]/u;
const isWellFormed = (string) => !LONE_SURROGATE.test(string);
const shorten = (string, length = 40) =>
  string.length > length ? `${string.slice(0, length)}...` : string;
const list = (names) => names.map((name) => `'${name}'`).join(', ');

/** A value in a few words. Of objects only the kind: what they hold may be secret, and may be code. */
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
      return value === null
        ? 'null'
        : Array.isArray(value)
          ? `an array of ${value.length}`
          : 'an object';
    case 'undefined':
      return 'undefined';
    default:
      return `a ${typeof value}`;
  }
}

/** The same of an API key. */
const describeKey = (value) => (value === null ? 'null' : `another ${typeof value}`);

/** The same of a URL: a password stands before an @, and queries hold tokens. */
function describeUrl(value) {
  if (typeof value !== 'string') {
    return describe(value);
  }
  return value.includes('@') ? 'a string that is none' : describe(value.split('?', 1)[0]);
}

// ---- checks: each takes a value that is not undefined, and returns what it becomes -------------------

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

/** Text that Amplitude takes as it is. */
function isText(value, minLength) {
  return (
    typeof value === 'string' &&
    value.length >= minLength &&
    value.length <= MAX_STRING_LENGTH &&
    isWellFormed(value)
  );
}

function propertyPrefix(value) {
  if (!isText(value, 0)) {
    throw new Unexpected(
      `a string of at most ${MAX_STRING_LENGTH} characters, without lone surrogates`,
    );
  }
  return value;
}

function eventType(value) {
  if (value === false) {
    return null;
  }
  if (!isText(value, 1) || PROFILE_EVENT_TYPES.has(value)) {
    throw new Unexpected(
      `the name of an event (1 to ${MAX_STRING_LENGTH} characters, not ${list([...PROFILE_EVENT_TYPES])}), ` +
        'or false to send none',
    );
  }
  return value;
}

function apiKey(value) {
  const expected = 'the API key of the Amplitude project';
  if (value === undefined || value === '' || value === 'undefined' || value === 'null') {
    const got =
      value === undefined || value === '' ? describe(value) : `the word ${JSON.stringify(value)}`;
    throw new Unexpected(
      expected,
      `${got}: is the variable of process.env that it comes from set?`,
    );
  }
  if (typeof value !== 'string') {
    throw new Unexpected(expected);
  }
  if (!/^[\x21-\x7e]+$/.test(value)) {
    throw new Unexpected(
      expected,
      'a string with spaces, line ends or other characters that no key has',
    );
  }
  if (value.length > MAX_STRING_LENGTH) {
    throw new Unexpected(expected, `a string of ${value.length} characters`);
  }
  return value;
}

function parseUrl(value) {
  try {
    return typeof value === 'string' ? new URL(value) : null;
  } catch {
    return null;
  }
}

function serverUrl(value) {
  const expected = 'an absolute http or https URL, with the path of the endpoint';
  const url = parseUrl(value);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new Unexpected(expected, describeUrl(value));
  }
  if (url.username !== '' || url.password !== '') {
    throw new Unexpected(`${expected}, without user name and password`, 'a URL that has them');
  }
  if (url.pathname === '/') {
    throw new Unexpected(
      expected,
      `${describeUrl(value)}: Amplitude listens at ${url.origin}${HTTP_V2.path} and at ${url.origin}${BATCH.path}`,
    );
  }
  url.hash = '';
  return url.href;
}

/** '' is none, whatever the environment says; a proxy without a scheme is one for http, as for curl. */
function proxy(value) {
  if (value === '') {
    return '';
  }
  // A host and port alone would parse as a scheme and a path.
  const url = parseUrl(
    typeof value === 'string' && !value.includes('://') ? `http://${value}` : value,
  );
  if (url === null || !PROXY_PROTOCOLS.has(url.protocol) || url.hostname === '') {
    throw new Unexpected(
      "the URL of a proxy such as http://proxy.example:3128 (http, https or socks), or '' for none",
      describeUrl(value),
    );
  }
  return url.href;
}

function noProxy(value) {
  if (typeof value !== 'string' || /[\0\r\n]/.test(value)) {
    throw new Unexpected("host names separated by commas, or '*' for all of them");
  }
  return value;
}

function caFile(value) {
  const expected = 'the path of a file of certificates (PEM)';
  if (typeof value !== 'string' || value === '' || value.includes('\0')) {
    throw new Unexpected(expected);
  }
  // The working directory may change later.
  const file = path.resolve(value);
  let reason;
  try {
    fs.accessSync(file, fs.constants.R_OK);
    reason = fs.statSync(file).isFile() ? null : 'is not a file';
  } catch (error) {
    reason = `cannot be read (${error.code})`;
  }
  if (reason !== null) {
    throw new Unexpected(expected, `${JSON.stringify(file)}, which ${reason}`);
  }
  return file;
}

function logger(value) {
  const expected = `an object with the functions ${LOGGER_METHODS.join(', ')}`;
  if (typeof value !== 'object' || value === null) {
    throw new Unexpected(expected);
  }
  const missing = LOGGER_METHODS.filter((name) => typeof value[name] !== 'function');
  if (missing.length > 0) {
    throw new Unexpected(expected, `one without ${missing.join(', ')}`);
  }
  return value;
}

function decisionTypes(value) {
  const expected = `an array of ${list(DECISION_TYPES)}`;
  if (!Array.isArray(value) || value.length === 0) {
    throw new Unexpected(expected);
  }
  const unknown = value.findIndex((type) => !DECISION_TYPES.includes(type));
  if (unknown !== -1) {
    throw new Unexpected(expected, `one with ${describe(value[unknown])}`);
  }
  return Object.freeze([...new Set(value)]);
}

/** A name, or an array of names, of a group type; what is returned is not the caller's array. */
function groupNames(type, value) {
  const names = Array.isArray(value) ? Object.freeze([...value]) : value;
  const all = [names].flat();
  if (!isText(type, 1) || all.length === 0 || !all.every((name) => isText(name, 1))) {
    throw new Unexpected(
      EXPECTED_GROUPS,
      `${describe(value)} for ${JSON.stringify(shorten(type))}`,
    );
  }
  return names;
}

function groups(value) {
  if (!isObject(value)) {
    throw new Unexpected(EXPECTED_GROUPS);
  }
  const entries = Object.entries(value).map(([type, names]) => [type, groupNames(type, names)]);
  const count = entries.flatMap(([, names]) => names).length;
  if (entries.length > MAX_GROUP_TYPES || count > MAX_GROUP_VALUES) {
    throw new Unexpected(EXPECTED_GROUPS, `${count} names of ${entries.length} types`);
  }
  return entries.length === 0 ? null : Object.freeze(Object.fromEntries(entries));
}

const DEDUPE_TABLE = {
  windowMillis: { check: millis(1, 365 * DAY_MILLIS), default: DAY_MILLIS },
  maxEntries: { check: integer(1, 2 ** 31 - 1), default: 1_000_000 },
};

function dedupe(value) {
  if (value === false) {
    return null;
  }
  if (!isObject(value)) {
    throw new Unexpected('false, or an object with windowMillis, maxEntries or both');
  }
  return Object.freeze(resolveTable(DEDUPE_TABLE, value, 'dedupe.'));
}

/** Every option: its check, and what resolveOptions() makes of it when it is left out. */
const TABLE = {
  apiKey: { check: apiKey, describe: describeKey, required: true },
  serverZone: { check: oneOf('US', 'EU'), default: 'US' },
  useBatch: { check: boolean, default: false },
  serverUrl: { check: serverUrl, default: null },
  // An empty id is none, so 1 is the least.
  minIdLength: { check: integer(1, MAX_STRING_LENGTH, 'characters'), default: 5 },
  flushQueueSize: { check: integer(1, MAX_UINT32, 'events'), default: 200 },
  flushIntervalMillis: { check: millis(0), default: 10_000 },
  flushMaxRetries: { check: integer(1, MAX_UINT16, 'attempts'), default: 12 },
  flushTimeoutMillis: { check: millis(0), default: 10_000 },
  requestTimeoutMillis: { check: millis(1), default: 10_000 },
  maxQueueBytes: { check: integer(1024, Number.MAX_SAFE_INTEGER, 'bytes'), default: 64 * MIB },
  compression: { check: boolean, default: null },
  dedupe: { check: dedupe, default: Object.freeze(resolveTable(DEDUPE_TABLE, {}, 'dedupe.')) },
  eventType: { check: eventType, default: 'Experiment Viewed' },
  propertyPrefix: { check: propertyPrefix, default: '[Optimizely] ' },
  disabledValue: { check: oneOf('off', 'variation'), default: 'off' },
  decisionTypes: { check: decisionTypes, default: Object.freeze(['flag']) },
  resolveUser: { check: callback, default: null },
  eventProperties: { check: callback, default: null },
  userProperties: { check: callback, default: null },
  includeRollouts: { check: boolean, default: true },
  groups: { check: groups, default: null },
  optOut: { check: boolean, default: false },
  logger: { check: logger, default: null },
  onDrop: { check: callback, default: null },
  proxy: { check: proxy, default: null },
  noProxy: { check: noProxy, default: null },
  caFile: { check: caFile, default: null },
};

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

// ---- what follows from the options, and from the environment ----------------------------------------

/**
 * The first variable that is set, as [name, value]; an empty one counts as not set. Names are looked
 * up as curl does: in lower case first, but HTTP_PROXY never, because in a CGI program a client
 * chooses it (with the header `Proxy:`).
 */
function firstSet(env, names) {
  const name = names.find((candidate) => env[candidate]);
  return name === undefined ? undefined : [name, env[name]];
}

function proxyFromEnvironment(env, url) {
  const own = url.protocol === 'https:' ? ['https_proxy', 'HTTPS_PROXY'] : ['http_proxy'];
  const found = firstSet(env, [...own, 'all_proxy', 'ALL_PROXY']);
  return found === undefined
    ? ''
    : checked({ check: proxy }, found[1], `environment variable ${found[0]}`);
}

/**
 * Check the options of createDispatcher(), fill in what is left out, and return a frozen object.
 *
 * It has every option by its name, where `null` stands for "none" or, for `logger`, the console, and
 * - `serverUrl` is the URL to post to, `compression` and `caFile` (absolute) are settled;
 * - `eventType` is null instead of false; `dedupe` is null instead of false, or complete;
 * - `proxy` and `noProxy` are null or those that apply, from the options or the environment;
 * - `maxBodyBytes` is the largest request body before compression;
 * - `throttleMillis` is how long Amplitude wants a throttled user to wait.
 *
 * Throws a TypeError with code ERR_OA_OPTION that names the option and says what is expected.
 */
function resolveOptions(options, env = process.env) {
  if (!isObject(options)) {
    // What was given may well be the API key.
    const got = typeof options === 'string' ? 'a string' : describe(options);
    throw optionError(
      `createDispatcher() expects its options, createDispatcher({ apiKey: ... }), got ${got}`,
    );
  }
  const resolved = resolveTable(TABLE, options);
  resolved.serverUrl ??=
    ORIGINS[resolved.serverZone] + (resolved.useBatch ? BATCH.path : HTTP_V2.path);
  const url = new URL(resolved.serverUrl);
  const api = resolved.useBatch || /\/batch\/?$/.test(url.pathname) ? BATCH : HTTP_V2;
  resolved.maxBodyBytes = api.maxBodyBytes;
  resolved.throttleMillis = api.throttleMillis;
  resolved.compression ??= AMPLITUDE_HOSTS.has(url.hostname);
  resolved.proxy = (resolved.proxy ?? proxyFromEnvironment(env, url)) || null;
  resolved.noProxy = (resolved.noProxy ?? firstSet(env, ['no_proxy', 'NO_PROXY'])?.[1]) || null;
  return Object.freeze(resolved);
}

module.exports = { resolveOptions };
