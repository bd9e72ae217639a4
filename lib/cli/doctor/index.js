'use strict';

/** Finds out why events do not arrive, by one check after the other. */

const path = require('node:path');

const { version } = require('../../../package.json');
const { resolveOptions } = require('../../options.js');
const { redact } = require('../shown.js');
const { checkCohorts } = require('./cohorts.js');
const { checkDatafile, checkUser, checkVariations } = require('./decisions.js');
const { createQuietDispatcher } = require('./quiet.js');
const { checkServer } = require('./server.js');

const TEST_USER = 'optimizely-amplitude-doctor';
const PLACEHOLDER = 'missing';
/** libcurl and its TLS library come first; the libraries of a system's libcurl follow. */
const SHOWN_LIBRARIES = 3;

/** Collects the results of the checks, and passes each to the listener at once. */
class Report {
  checks = [];
  #listener;
  #secrets;

  /** `secrets` are removed from every message: [[secret or undefined, what is shown instead]]. */
  constructor(listener, secrets) {
    this.#listener = listener;
    this.#secrets = secrets;
  }

  get ok() {
    return this.checks.every(({ status }) => status !== 'fail');
  }

  /** Whether the API key was judged, by the server's answer or by a test event. */
  get isKeyChecked() {
    const has = (name, status) =>
      this.checks.some((check) => check.name === name && check.status === status);
    return has('key', 'pass') || has('key', 'fail') || has('test event', 'pass');
  }

  /** The names of what was to be checked, and could not be. */
  get unchecked() {
    const names = this.checks.filter((check) => check.unchecked).map(({ name }) => name);
    return [...new Set(names)].filter((name) => name !== 'key' || !this.isKeyChecked);
  }

  pass(name, message, remedy, details) {
    this.#add('pass', name, message, remedy, details);
  }

  warn(name, message, remedy) {
    this.#add('warn', name, message, remedy);
  }

  /** Warn that something could not be checked. */
  passOver(name, message, remedy) {
    this.#add('warn', name, message, remedy, { unchecked: true });
  }

  fail(name, message, remedy) {
    this.#add('fail', name, message, remedy);
  }

  skip(name, message) {
    this.#add('skip', name, message);
  }

  #add(status, name, message, remedy, details) {
    const check = {
      name,
      status,
      message: this.#hide(message),
      ...(remedy && { remedy: this.#hide(remedy) }),
      ...details,
    };
    this.checks.push(check);
    this.#listener(check);
  }

  #hide(text) {
    return redact(text, this.#secrets);
  }
}

/** Check that the addon loads. */
function checkAddon(report) {
  try {
    const { engine, addon, libraries } = require('../../index.js').info();
    const file =
      engine === 'wasm' ? 'WebAssembly' : path.relative(path.join(__dirname, '../../..'), addon);
    const shown = libraries
      .slice(0, SHOWN_LIBRARIES)
      .map((library) => `${library.name}/${library.version}`)
      .join(' ');
    report.pass(
      'addon',
      `${version}, ${file}, ${shown}, Node ${process.version}, ${process.platform}-${process.arch}`,
    );
    return true;
  } catch (error) {
    const [first, ...rest] = error.message.split('\n');
    report.fail(
      'addon',
      first,
      rest
        .map((line) => line.trim())
        .join(' ')
        .trim(),
    );
    return false;
  }
}

const withoutAbsent = (options) =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

/** Check the options; return them as a dispatcher would resolve them, or null. */
function checkOptions(settings, report) {
  const { apiKey, config, serverZone, serverUrl, urlVariable, proxy, caFile, minIdLength, format } =
    settings;
  const given = { serverZone, serverUrl, proxy, caFile, minIdLength, format };
  try {
    const options = resolveOptions({
      ...config,
      ...withoutAbsent(given),
      apiKey: apiKey ?? PLACEHOLDER,
    });
    const source = urlVariable === undefined ? '' : ` (${urlVariable})`;
    const target = `${options.serverUrl.split('?')[0]}${source}`;
    if (apiKey === undefined) {
      report.fail(
        'options',
        `there is no API key; the server is ${target}`,
        'give it with --api-key, or in the environment variable AMPLITUDE_API_KEY',
      );
    } else {
      report.pass('options', `events go to ${target}`);
    }
    options.warnings.forEach((message) =>
      report.warn('environment', message, 'correct the variable, or unset it'),
    );
    return options;
  } catch (error) {
    if (error.code !== 'ERR_OA_OPTION') {
      throw error;
    }
    report.fail(
      'options',
      error.message,
      urlVariable !== undefined && /serverUrl/.test(error.message)
        ? `correct the environment variable ${urlVariable}, or give --server-url`
        : 'createDispatcher() would throw the same',
    );
    return null;
  }
}

/** Send an invented decision the whole way: by the addon, to Amplitude, which counts it (or not: see format). */
async function sendTestEvent(options, { apiKey, format, config }, report) {
  const { serverUrl, proxy, noProxy, caFile } = options;
  const dispatcher = createQuietDispatcher({
    apiKey,
    serverUrl,
    proxy: proxy ?? '',
    noProxy: noProxy ?? '',
    ...(caFile !== null && { caFile }),
    format: format ?? config?.format,
    ...(options.format.sendsEvent && { eventType: 'Optimizely Amplitude Doctor' }),
  });
  // Each is different, because Amplitude would suppress a repeat.
  const decisionInfo = {
    flagKey: 'doctor',
    variationKey: 'sent',
    ruleKey: `run ${new Date().toISOString()}`,
    enabled: true,
  };
  dispatcher.onDecision({ type: 'flag', userId: TEST_USER, attributes: {}, decisionInfo });
  const { delivered } = await dispatcher.close();
  if (delivered === 1) {
    report.pass('test event', `delivered; look for the user ${TEST_USER} in Amplitude`);
  } else {
    report.fail(
      'test event',
      dispatcher.stats().lastError?.message ?? 'it was not delivered in time',
      'see the checks above',
    );
  }
}

/**
 * Run all checks; resolve to `{ok, isKeyChecked, unchecked, version, checks}`, where a check is `{name, status,
 * message, remedy}` and status is pass, warn, fail or skip; `unchecked` names what could not be checked. `listener` is
 * called with each check at once.
 *
 * settings, all optional: apiKey, serverZone, serverUrl, proxy, caFile, minIdLength and format as for
 * createDispatcher(); config, the application's own options, which are weaker; urlVariable, the environment variable
 * that serverUrl comes from; sdkKey, or datafile, a file or URL, and accessToken for it; user and attributes;
 * sendTestEvent; cohorts, secretKey, cohortsUrl and maxMembers as cohorts, secretKey, serverUrl and maxMembers for
 * createAudiences().
 */
async function runDoctor(settings, listener = () => {}) {
  const report = new Report(listener, [
    [settings.apiKey, '<API key>'],
    [settings.secretKey, '<secret key>'],
    [settings.accessToken, '<access token>'],
  ]);
  const hasAddon = checkAddon(report);
  const options = checkOptions(settings, report);
  if (options !== null) {
    await checkServer(options, settings, report);
  }
  if (hasAddon && options?.spool) {
    const { checkSpool } = require('./spool.js');
    checkSpool(options.spool, settings.apiKey, report);
  }
  // The proxy for the datafile's URL may differ from the one for Amplitude's.
  const resolveProxy = (url) =>
    resolveOptions({
      apiKey: PLACEHOLDER,
      serverUrl: new URL('/of-any-path', url).href,
      proxy: settings.proxy ?? settings.config?.proxy,
      caFile: options?.caFile ?? undefined,
    });
  const datafile = await checkDatafile(settings, resolveProxy, report);
  checkVariations(datafile, options, report);
  if (settings.cohorts !== undefined) {
    await checkCohorts(settings, datafile, report);
  }
  if (settings.user === undefined) {
    report.skip('user', "give --user to see the events of a user's decisions");
  } else if (hasAddon && options !== null) {
    await checkUser(settings, datafile, options, report);
  }
  if (settings.sendTestEvent && hasAddon && options !== null && settings.apiKey !== undefined) {
    await sendTestEvent(options, settings, report);
  }
  const { ok, isKeyChecked, unchecked, checks } = report;
  return { ok, isKeyChecked, unchecked, version, checks };
}

module.exports = { runDoctor };
