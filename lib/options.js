'use strict';

/**
 * The options of a dispatcher: what they may be, what they are when they are left out, and what
 * follows from them. Everything is checked here, once, and nowhere else.
 *
 * No message contains an API key or the credentials of a URL.
 */

const fs = require('node:fs');
const path = require('node:path');

const {
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
} = require('./checks.js');
const { ENGINES } = require('./engine.js');
const { BATCH, HTTP_V2, ORIGINS, endpointOf, isAmplitude } = require('./endpoints.js');
const { groups, ingestionMetadata, plan, text } = require('./event-fields.js');
const { FORMATS, clashOf, partsOf } = require('./format.js');
const { MAX_STRING_LENGTH, isText } = require('./text.js');

const MAX_UINT16 = 2 ** 16 - 1;
const MAX_LANES = 8; // a thread serves them all; more would serve a server that is far too slow
const MAX_UINT32 = 2 ** 32 - 1;
const DAY_MILLIS = 24 * 60 * 60 * 1000;
const MIB = 1024 * 1024;

const DECISION_TYPES = [
  'flag',
  'feature',
  'feature-variable',
  'all-feature-variables',
  'ab-test',
  'feature-test',
];
const LOGGER_METHODS = ['debug', 'info', 'warn', 'error'];
/** By their numbers in analytics-node, where 'info' is called Verbose. */
const LOG_LEVELS = ['none', 'error', 'warn', 'info', 'debug'];
const PROXY_PROTOCOLS = new Set(['http:', 'https:', 'socks4:', 'socks4a:', 'socks5:', 'socks5h:']);
/** Event types that Amplitude gives a meaning and properties of their own. */
const RESERVED_EVENT_TYPES = new Set(['$identify', '$groupidentify', '$exposure']);

/** What an environment variable that is not set turns into. */
const UNSET = new Set([undefined, '', 'undefined', 'null']);

/** An API key that is refused, in a few words that do not repeat it. */
const describeKey = (value) => (value === null ? 'null' : `another ${typeof value}`);

/** A URL that is refused, without its secrets: a password comes before an @, and queries hold tokens. */
function describeUrl(value) {
  if (typeof value !== 'string') {
    return describe(value);
  }
  return value.includes('@') ? 'a string that is not one' : describe(value.split('?', 1)[0]);
}

// ---- checks -----------------------------------------------------------------------------------------

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
  if (!isText(value, 1) || RESERVED_EVENT_TYPES.has(value)) {
    throw new Unexpected(
      `the name of an event (1 to ${MAX_STRING_LENGTH} characters, not ${list([...RESERVED_EVENT_TYPES])}), ` +
        'or false to send none',
      value === '$exposure' ? "'$exposure': it is sent by format: 'exposure'" : undefined,
    );
  }
  return value;
}

function format(value) {
  const formats = [value].flat();
  const expected = `${list(Object.keys(FORMATS))}, or an array of them`;
  const unknown = formats.findIndex((name) => !Object.hasOwn(FORMATS, name));
  if (formats.length === 0 || unknown !== -1) {
    throw new Unexpected(
      expected,
      Array.isArray(value) && formats.length > 0
        ? `one with ${describe(formats[unknown])}`
        : undefined,
    );
  }
  const clash = clashOf(formats);
  if (clash !== null) {
    throw new Unexpected(`${expected} that go together`, `one with ${clash}`);
  }
  return Object.freeze(formats);
}

/** Make the check of a key of Amplitude. */
const key = (expected) => (value) => {
  if (UNSET.has(value)) {
    const got = value ? `the word ${JSON.stringify(value)}` : describe(value);
    throw new Unexpected(expected, `${got}: is its environment variable set?`);
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
};

const apiKey = key('the API key of the Amplitude project');

function parseUrl(value) {
  try {
    return typeof value === 'string' ? new URL(value) : null;
  } catch {
    return null;
  }
}

/** Parse an http or https URL. */
function httpUrl(value, expected) {
  const url = parseUrl(value);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new Unexpected(expected, describeUrl(value));
  }
  return url;
}

function serverUrl(value) {
  const expected = 'an absolute http or https URL, with the path of the endpoint';
  const url = httpUrl(value, expected);
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

/** '' stands for no proxy, whatever the environment says; a proxy without a scheme speaks http, as in curl. */
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
  // A logger of analytics-node has log() in place of info().
  const has = (name) =>
    typeof value[name] === 'function' || (name === 'info' && typeof value.log === 'function');
  const missing = LOGGER_METHODS.filter((name) => !has(name));
  if (missing.length > 0) {
    throw new Unexpected(expected, `one without ${missing.join(', ')}`);
  }
  return value;
}

function logLevel(value) {
  const level = Number.isInteger(value) ? LOG_LEVELS[value] : value;
  if (!LOG_LEVELS.includes(level)) {
    throw new Unexpected(`one of ${list(LOG_LEVELS)}, or a LogLevel of analytics-node (0 to 4)`);
  }
  return level;
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

const STORE_TABLE = {
  buckets: { check: integer(1, 1024), default: 1 },
  timeoutMillis: { check: millis(1), default: 50 },
};

function store(value) {
  const { resolveStore } = require('./store-options.js'); // needed for a store only
  return resolveStore(value, 'dedupe.store', STORE_TABLE);
}

const DEDUPE_TABLE = {
  windowMillis: { check: millis(1, 365 * DAY_MILLIS), default: DAY_MILLIS },
  refreshMillis: { check: millis(1, 365 * DAY_MILLIS), default: 60 * 60 * 1000 },
  maxEntries: { check: integer(1, 2 ** 31 - 1), default: 1_000_000 },
  store: { check: store, default: null },
};

function dedupe(value) {
  if (value === false) {
    return null;
  }
  if (!isObject(value)) {
    throw new Unexpected(
      `false, or an object with some of ${Object.keys(DEDUPE_TABLE).join(', ')}`,
    );
  }
  return Object.freeze(resolveTable(DEDUPE_TABLE, value, 'dedupe.'));
}

/** Resolved by a module of its own, since most have none. */
function spool(value) {
  return value === false ? null : require('./spool.js').resolveSpool(value);
}

/** Every option: its check, and what resolveOptions() makes of it when it is left out. */
const TABLE = {
  apiKey: { check: apiKey, describe: describeKey, required: true },
  serverZone: { check: oneOf(...Object.keys(ORIGINS)), default: 'US' },
  useBatch: { check: boolean, default: false },
  serverUrl: { check: serverUrl, default: null },
  // An empty id counts as absent, so the minimum is 1.
  minIdLength: { check: integer(1, MAX_STRING_LENGTH, 'characters'), default: 5 },
  flushQueueSize: { check: integer(1, MAX_UINT32, 'events'), default: 200 },
  flushIntervalMillis: { check: millis(0), default: 10_000 },
  flushMaxRetries: { check: integer(1, MAX_UINT16, 'failures'), default: 12 },
  maxConcurrent: { check: integer(1, MAX_LANES, 'requests'), default: 1 },
  // Amplitude knows the insert_ids of seven days, by which a repeat is counted once.
  maxAgeMillis: { check: millis(1, 7 * DAY_MILLIS), default: DAY_MILLIS },
  flushTimeoutMillis: { check: millis(0), default: 10_000 },
  requestTimeoutMillis: { check: millis(1), default: 10_000 },
  maxQueueBytes: { check: integer(1024, Number.MAX_SAFE_INTEGER, 'bytes'), default: 64 * MIB },
  spool: { check: spool, default: null },
  compression: { check: boolean, default: true },
  dedupe: { check: dedupe, default: Object.freeze(resolveTable(DEDUPE_TABLE, {}, 'dedupe.')) },
  format: { check: format, default: null },
  eventType: { check: eventType, default: 'Experiment Viewed' },
  propertyPrefix: { check: propertyPrefix, default: '[Optimizely] ' },
  disabledValue: { check: oneOf('off', 'variation'), default: 'off' },
  decisionTypes: { check: decisionTypes, default: Object.freeze(['flag']) },
  resolveUser: { check: callback, default: null },
  eventProperties: { check: callback, default: null },
  userProperties: { check: callback, default: null },
  beforeSend: { check: callback, default: null },
  send: { check: oneOf('all', 'experiments'), default: null },
  includeRollouts: { check: boolean, default: null },
  groups: { check: groups, default: null },
  ingestionMetadata: { check: ingestionMetadata, default: null },
  plan: { check: plan, default: null },
  partnerId: { check: text, default: null },
  optOut: { check: boolean, default: false },
  logger: { check: logger, default: null },
  loggerProvider: { check: logger, default: null },
  logLevel: { check: logLevel, default: null },
  onDrop: { check: callback, default: null },
  proxy: { check: proxy, default: null },
  noProxy: { check: noProxy, default: null },
  caFile: { check: caFile, default: null },
  engine: { check: oneOf(...ENGINES), default: null },
};

// ---- what follows from the options, and from the environment ----------------------------------------

/** `loggerProvider` is a second name of `logger`, for code that comes from analytics-node. */
function oneLogger({ logger, loggerProvider }) {
  if (logger !== null && loggerProvider !== null && logger !== loggerProvider) {
    throw optionError(
      "options 'logger' and 'loggerProvider' are two names of one option, and they differ: give one of them",
    );
  }
  return logger ?? loggerProvider;
}

/** Return the variables that are set and not empty, as [name, value]. */
function allSet(env, names) {
  try {
    return names.filter((name) => env[name]).map((name) => [name, env[name]]);
  } catch {
    return []; // Deno does not permit to look
  }
}

/**
 * Names are looked up as in curl: in lower case first, and HTTP_PROXY never, because the client of a CGI program
 * chooses that one with the header `Proxy:`. What is no proxy is left out, with a warning: the environment is not the
 * application's.
 */
function proxyFromEnvironment(env, url, warnings) {
  const own = url.protocol === 'https:' ? ['https_proxy', 'HTTPS_PROXY'] : ['http_proxy'];
  for (const [name, value] of allSet(env, [...own, 'all_proxy', 'ALL_PROXY'])) {
    try {
      return checked({ check: proxy }, value, `environment variable ${name}`);
    } catch (error) {
      warnings.push(`${error.message}; it is left out`);
    }
  }
  return '';
}

/** The formats that apply, with what they send; `given` are the options as they were given. */
function resolveFormat(resolved, given) {
  const formats = resolved.format ?? [resolved.eventType === null ? 'identify' : 'event'];
  const parts = partsOf(formats);
  const name = formats.map((each) => `'${each}'`).join(' with ');
  if (resolved.eventType === null && parts.sendsEvent) {
    throw optionError(
      `option 'eventType': false sends no event, but format ${name} does; leave eventType out, or use format: 'identify'`,
    );
  }
  if (given.eventType && !parts.sendsEvent) {
    throw optionError(
      `option 'eventType': format ${name} sends no event of this type; leave it out`,
    );
  }
  if (given.userProperties && !parts.setsProperty) {
    throw optionError(
      `option 'userProperties': format ${name} sets none; use format: ['exposure', 'identify']`,
    );
  }
  return Object.freeze(parts);
}

/** Return what to send, by `send` and by its older name; both may be given if they agree. */
function resolveSend(send, includeRollouts) {
  if (includeRollouts === null) {
    return send ?? 'all';
  }
  const implied = includeRollouts ? 'all' : 'experiments';
  if (send !== null && send !== implied) {
    throw optionError(
      `option 'includeRollouts': ${includeRollouts} means send: '${implied}', and contradicts send: '${send}'; ` +
        "give 'send' alone",
    );
  }
  return implied;
}

/**
 * Check the options of createDispatcher(), fill in what is left out, and return a frozen object.
 *
 * It has every option by its name. `null` means none, the console for `logger`, and for `logLevel` that the logger
 * decides. In addition,
 * - `serverUrl` is the URL to post to, and `caFile` is absolute;
 * - `send` is decided, and `includeRollouts` says the same;
 * - `eventType`, `dedupe` and `spool` are null instead of false, and the latter two are complete otherwise;
 * - `format` is what a decision becomes, see partsOf(), and `eventType` is null where it is not sent;
 * - `proxy` and `noProxy` are those that apply, from the options or from the environment, and `warnings` says what is
 *   wrong with the latter;
 * - `maxBodyBytes` is the largest request body before compression;
 * - `throttleMillis` is how long Amplitude wants a throttled user to wait;
 * - `serverName` is the URL without its query, for messages;
 * - `isAmplitude` is whether the host is one of Amplitude's own.
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
  resolved.format = resolveFormat(resolved, options);
  resolved.eventType = resolved.format.sendsEvent ? resolved.eventType : null;
  resolved.logger = oneLogger(resolved);
  resolved.serverUrl ??= endpointOf(resolved.serverZone, resolved.useBatch ? BATCH : HTTP_V2);
  const url = new URL(resolved.serverUrl);
  const api = resolved.useBatch || /\/batch\/?$/.test(url.pathname) ? BATCH : HTTP_V2;
  resolved.maxBodyBytes = api.maxBytes - 1;
  resolved.throttleMillis = api.throttleMillis;
  resolved.serverName = url.origin + url.pathname;
  resolved.isAmplitude = isAmplitude(url.hostname);
  resolved.send = resolveSend(resolved.send, resolved.includeRollouts);
  resolved.includeRollouts = resolved.send === 'all';
  resolved.warnings = [];
  resolved.proxy = (resolved.proxy ?? proxyFromEnvironment(env, url, resolved.warnings)) || null;
  resolved.noProxy = (resolved.noProxy ?? allSet(env, ['no_proxy', 'NO_PROXY'])[0]?.[1]) || null;
  return Object.freeze(resolved);
}

module.exports = { describeKey, httpUrl, key, resolveOptions };
