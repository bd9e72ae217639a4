'use strict';

/**
 * The options of createAudiences(): what they may be, and what they are when they are left out. Those of a connection
 * and of the log are a dispatcher's, and are checked by its code.
 *
 * No message contains a key or the credentials of a URL.
 */

const path = require('node:path');

const {
  Unexpected,
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
} = require('../checks.js');
const {
  BEHAVIORAL_ORIGINS,
  BEHAVIORAL_PATH,
  COHORT_ORIGINS,
  COHORT_PATH,
  isAmplitude,
} = require('../endpoints.js');
const dispatcherOptions = require('../options.js');
const { isText } = require('../text.js');
const { parsePattern } = require('./exports.js');

const MINUTE_MILLIS = 60 * 1000;
const HOUR_MILLIS = 60 * MINUTE_MILLIS;
const DAY_MILLIS = 24 * HOUR_MILLIS;

/** Optimizely's limit for a project. */
const MAX_ATTRIBUTES = 100;
/** Optimizely's limit for the key of an attribute. */
const MAX_ATTRIBUTE_LENGTH = 64;
/** Optimizely keeps these for itself. */
const RESERVED_PREFIX = '$opt_';
/** The largest cohort that Amplitude offers for local evaluation. */
const MAX_MEMBERS = 50_000_000;
/** The least that is asked for the same cohort on Amplitude's own hosts; its own SDKs keep to it. */
const MIN_POLL_MILLIS = MINUTE_MILLIS;
/** 500 downloads a month of the Behavioral Cohorts API, for all cohorts together, are one in 89 minutes. */
const DOWNLOAD_MILLIS = 90 * MINUTE_MILLIS;
/** Where the members come from, in each zone. */
const SERVERS = Object.freeze({
  amplitude: { origins: COHORT_ORIGINS, path: COHORT_PATH },
  behavioral: { origins: BEHAVIORAL_ORIGINS, path: BEHAVIORAL_PATH },
});
const HALF = 0.5;

/** How the members in a file are written, by the end of its name. */
const FORMATS = Object.freeze({ '.json': 'json', '.csv': 'csv', '.txt': 'lines' });

/** The options that a dispatcher has, too. */
const SHARED = ['proxy', 'noProxy', 'caFile', 'logger', 'loggerProvider', 'logLevel'];

// ---- checks -----------------------------------------------------------------------------------------

function attributeName(name) {
  if (
    !isText(name, 1) ||
    name.length > MAX_ATTRIBUTE_LENGTH ||
    name.startsWith(RESERVED_PREFIX) ||
    name === '__proto__' // it is no property of an object like others
  ) {
    throw new Unexpected(
      `keys of attributes of Optimizely (1 to ${MAX_ATTRIBUTE_LENGTH} characters, not beginning with ${RESERVED_PREFIX})`,
      describe(name),
    );
  }
}

/** `{ attribute: cohort }`, as a frozen array of both; what a cohort may be depends on the source. */
function cohorts(value) {
  const expected = "an object { attribute: cohort }, such as { amplitude_power_user: '7khm89cz' }";
  if (!isObject(value)) {
    throw new Unexpected(expected);
  }
  if (Object.keys(value).length === 0) {
    throw new Unexpected(expected, 'an empty one');
  }
  const entries = Object.entries(value);
  if (entries.length > MAX_ATTRIBUTES) {
    throw new Unexpected(`at most ${MAX_ATTRIBUTES} attributes`, `${entries.length} of them`);
  }
  for (const [attribute, cohort] of entries) {
    attributeName(attribute);
    if (typeof cohort !== 'string') {
      throw new Unexpected(expected, `${describe(cohort)} for '${attribute}'`);
    }
  }
  return Object.freeze(
    entries.map(([attribute, cohort]) => Object.freeze({ attribute, id: cohort })),
  );
}

/** The base of the cohort API, without a slash at its end. */
function serverUrl(value) {
  const expected = 'the http or https URL of an Evaluation Proxy, or of another server of cohorts';
  const url = dispatcherOptions.httpUrl(value, expected);
  if (url.username !== '' || url.password !== '' || url.search !== '') {
    throw new Unexpected(
      `${expected}, without user name, password and query`,
      'a URL that has them',
    );
  }
  return url.origin + url.pathname.replace(/\/+$/, '');
}

/** The share of its members that a cohort may lose at once; 1 for any. */
function holdShrink(value) {
  if (typeof value === 'boolean') {
    return value ? HALF : 1;
  }
  if (!(typeof value === 'number' && value > 0 && value < 1)) {
    throw new Unexpected('true, false, or a share of the members above 0 and below 1');
  }
  return value;
}

/** A directory of the application, as an absolute path. */
function snapshot(value) {
  const expected = 'an object { directory }, the path of a directory of this application';
  if (!isObject(value)) {
    throw new Unexpected(expected);
  }
  return Object.freeze(resolveTable(SNAPSHOT_TABLE, value, 'snapshot.'));
}

/** The application's own client of Redis or Valkey. */
function store(value) {
  const { resolveStore } = require('../store-options.js'); // needed for a store only
  return resolveStore(value, 'store');
}

const SNAPSHOT_TABLE = { directory: { check: directory, required: true } };

function directory(value) {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) {
    throw new Unexpected('the path of a directory');
  }
  return path.resolve(value);
}

const same = (value) => value;

const TABLE = {
  cohorts: { check: cohorts, required: true },
  source: { check: oneOf('amplitude', 'behavioral', 'file'), default: 'amplitude' },
  apiKey: { check: same, default: null },
  secretKey: {
    check: dispatcherOptions.key('the secret key of the Amplitude project'),
    describe: dispatcherOptions.describeKey,
    default: null,
  },
  serverZone: { check: oneOf(...Object.keys(COHORT_ORIGINS)), default: 'US' },
  serverUrl: { check: serverUrl, default: null },
  pollIntervalMillis: { check: millis(1), default: null },
  staleAfterMillis: { check: millis(1), default: null },
  maxStaleMillis: { check: millis(1), default: null },
  maxMembers: { check: integer(1, 2 ** 31 - 1, 'members'), default: MAX_MEMBERS },
  holdShrink: { check: holdShrink, default: 1 },
  snapshot: { check: snapshot, default: null },
  store: { check: store, default: null },
  onChange: { check: callback, default: null },
  ...Object.fromEntries(SHARED.map((name) => [name, { check: same, default: undefined }])),
};

// ---- what depends on the source ---------------------------------------------------------------------

/** Paths may be spelled in several ways, so they are compared when they are absolute. */
function checkDifferent(cohortList) {
  const seen = new Map();
  for (const { attribute, id } of cohortList) {
    if (seen.has(id)) {
      throw optionError(
        `option 'cohorts': expected another cohort for each attribute, got the same for '${seen.get(id)}' and ` +
          `'${attribute}'`,
      );
    }
    seen.set(id, attribute);
  }
}

function checkCohortIds(resolved) {
  const wrong = resolved.cohorts.find(({ id }) => !/^[\w-]{1,64}$/.test(id));
  if (wrong !== undefined) {
    throw optionError(
      `option 'cohorts': expected the id of a cohort for '${wrong.attribute}', such as '7khm89cz' in the address ` +
        `of its page in Amplitude, got ${describe(wrong.id)}`,
    );
  }
}

/** Return the cohorts with absolute paths, because the working directory may change, and the format of each file. */
function withFiles(resolved) {
  return resolved.cohorts.map(({ attribute, id }) => {
    const exports = parsePattern(path.resolve(id));
    if (exports !== null && !id.includes('\0')) {
      return Object.freeze({ attribute, id: path.resolve(id), format: 'csv', exports });
    }
    const format = FORMATS[path.extname(id.replace(/\.gz$/, ''))];
    if (format === undefined || id.includes('\0')) {
      throw optionError(
        `option 'cohorts': expected the path of a file for '${attribute}' that ends with ` +
          `${list(Object.keys(FORMATS))}, or one of these and '.gz', or that of exports in a directory, such as ` +
          `'/data/*_7khm89cz_*', got ${describe(id)}`,
      );
    }
    return Object.freeze({ attribute, id: path.resolve(id), format });
  });
}

/** Fill in how often cohorts are asked for, and when they are stale. */
function fillIntervals(resolved) {
  const isRare = resolved.source === 'behavioral';
  const rarely = Math.max(DAY_MILLIS, DOWNLOAD_MILLIS * resolved.cohorts.length);
  resolved.pollIntervalMillis ??= isRare ? rarely : MINUTE_MILLIS;
  resolved.staleAfterMillis ??= isRare ? 3 * rarely : 3 * HOUR_MILLIS;
}

function checkIntervals({
  serverUrl: base,
  source,
  cohorts: all,
  pollIntervalMillis,
  staleAfterMillis,
  ...rest
}) {
  const least = source === 'behavioral' ? DOWNLOAD_MILLIS * all.length : MIN_POLL_MILLIS;
  if (base !== null && pollIntervalMillis < least && isAmplitude(new URL(base).hostname)) {
    const reason = source === 'behavioral' ? ', 90 minutes for each cohort' : '';
    throw optionError(
      `option 'pollIntervalMillis': expected at least ${least} on Amplitude's own hosts${reason}, got ${pollIntervalMillis}`,
    );
  }
  const ages = { staleAfterMillis, maxStaleMillis: rest.maxStaleMillis ?? Infinity };
  for (const [name, age] of Object.entries(ages)) {
    if (age <= pollIntervalMillis) {
      throw optionError(
        `option '${name}': expected more than pollIntervalMillis (${pollIntervalMillis}), because members are not ` +
          `confirmed more often, got ${age}`,
      );
    }
  }
}

/** The options of the connection and of the log, by the code that checks a dispatcher's. */
function resolveShared(options, resolved, env) {
  const given = Object.fromEntries(SHARED.map((name) => [name, options[name]]));
  const isFile = resolved.source === 'file';
  return dispatcherOptions.resolveOptions(
    {
      ...given,
      apiKey: isFile ? 'none' : options.apiKey,
      serverUrl: isFile ? undefined : resolved.serverUrl + SERVERS[resolved.source].path,
    },
    env,
  );
}

/**
 * Check the options of createAudiences(), fill in what is left out, and return a frozen object.
 *
 * It has every option by its name; `null` means none. In addition,
 * - `cohorts` is an array of { attribute, id }; for files, whose ids are absolute paths, also of a `format`, and of
 *   `exports` where a directory has several;
 * - `serverUrl` is the base of the cohort API; null for files;
 * - `holdShrink` is a share of the members, 1 for none held;
 * - `proxy`, `noProxy` and `caFile` are those that apply, as for a dispatcher, and `warnings` says what is wrong with
 *   those of the environment.
 *
 * Throws a TypeError with code ERR_OA_OPTION that names the option and says what is expected.
 */
function resolveOptions(options, env = process.env) {
  if (!isObject(options)) {
    throw optionError(
      'createAudiences() expects its options, createAudiences({ apiKey: ..., secretKey: ..., cohorts: ... }), got ' +
        (typeof options === 'string' ? 'a string' : describe(options)),
    );
  }
  const resolved = resolveTable(TABLE, options);
  if (resolved.source === 'file') {
    resolved.cohorts = Object.freeze(withFiles(resolved));
    resolved.serverUrl = null;
    if (resolved.store !== null && resolved.secretKey === null) {
      throw optionError(
        "option 'secretKey': expected a text that all processes share and nobody else knows, because with 'store' hashes " +
          'of user ids that are made with it leave the process, got undefined',
      );
    }
  } else {
    checkCohortIds(resolved);
    resolved.serverUrl ??= SERVERS[resolved.source].origins[resolved.serverZone];
    resolved.secretKey ?? checked(TABLE.secretKey, undefined, "option 'secretKey'");
  }
  checkDifferent(resolved.cohorts);
  fillIntervals(resolved);
  checkIntervals(resolved);
  const { warnings, ...shared } = resolveShared(options, resolved, env);
  for (const name of SHARED) {
    resolved[name] = shared[name];
  }
  return Object.freeze({ ...resolved, warnings });
}

module.exports = { resolveOptions };
