'use strict';

/** Finds out why something does not arrive: one check after the other, each with what to do about it. */

const path = require('node:path');

const { version } = require('../../../package.json');
const { resolveOptions } = require('../../options.js');
const { checkDatafile, checkUser, checkVariations } = require('./decisions.js');
const { checkServer } = require('./server.js');

const TEST_USER = 'optimizely-amplitude-doctor';
const PLACEHOLDER = 'missing';
/** libcurl and its TLS come first; of a system's libcurl all that it is made of follows. */
const SHOWN_LIBRARIES = 3;
/** Whatever is shorter is no key, and may be part of any word. */
const MIN_SECRET_LENGTH = 8;

/** Collects the checks, and tells each as soon as it is known. */
class Report {
  checks = [];
  #listener;
  #secret;

  /** `secret` is never shown, whoever says it. */
  constructor(listener, secret) {
    this.#listener = listener;
    this.#secret = secret;
  }

  get ok() {
    return this.checks.every(({ status }) => status !== 'fail');
  }

  pass(name, message, remedy, details) {
    this.#add('pass', name, message, remedy, details);
  }

  warn(name, message, remedy) {
    this.#add('warn', name, message, remedy);
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
    return this.#secret?.length >= MIN_SECRET_LENGTH
      ? text.replaceAll(this.#secret, '<API key>')
      : text;
  }
}

/** Whether the addon loads, and which one. */
function checkAddon(report) {
  try {
    const { addon, libraries } = require('../../info.js').info(require('../../binding.js'));
    const file = path.relative(path.join(__dirname, '../../..'), addon);
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

/** The options as the dispatcher would understand them, or null. */
function checkOptions({ apiKey, serverZone, serverUrl, proxy, caFile, minIdLength }, report) {
  try {
    const options = resolveOptions({
      apiKey: apiKey ?? PLACEHOLDER,
      serverZone,
      serverUrl,
      proxy,
      caFile,
      minIdLength,
    });
    if (apiKey === undefined) {
      report.fail(
        'options',
        'there is no API key',
        'give it with --api-key, or in the environment variable AMPLITUDE_API_KEY',
      );
    } else {
      report.pass('options', `events go to ${options.serverUrl.split('?')[0]}`);
    }
    return options;
  } catch (error) {
    if (error.code !== 'ERR_OA_OPTION') {
      throw error;
    }
    report.fail('options', error.message, 'createDispatcher() would throw the same');
    return null;
  }
}

/** A decision the whole way: made up, but sent by the addon, and counted by Amplitude. */
async function sendTestEvent(options, apiKey, report) {
  const { createDispatcher } = require('../../index.js');
  const ignore = () => {};
  const { serverUrl, proxy, noProxy, caFile } = options;
  const dispatcher = createDispatcher({
    apiKey,
    serverUrl,
    proxy: proxy ?? '',
    noProxy: noProxy ?? '',
    ...(caFile !== null && { caFile }),
    eventType: 'Optimizely Amplitude Doctor',
    flushMaxRetries: 1,
    logger: { debug: ignore, info: ignore, warn: ignore, error: ignore },
  });
  // Never the same twice, or Amplitude would take it for a repeat.
  const decisionInfo = {
    flagKey: 'doctor',
    variationKey: 'sent',
    ruleKey: `run ${new Date().toISOString()}`,
    enabled: true,
  };
  dispatcher.onDecision({ type: 'flag', userId: TEST_USER, attributes: {}, decisionInfo });
  const { delivered } = await dispatcher.close();
  if (delivered === 1) {
    report.pass('test event', `delivered; look up the user ${TEST_USER} in Amplitude`);
  } else {
    report.fail(
      'test event',
      dispatcher.stats().lastError?.message ?? 'it was not delivered in time',
      'see the checks above',
    );
  }
}

/**
 * Run all checks; resolve to `{ok, version, checks}`, where a check is `{name, status, message, remedy}`
 * and status is pass, warn, fail or skip. `listener` is told of each check at once.
 *
 * settings, all optional: apiKey, serverZone, serverUrl, proxy, caFile and minIdLength as for
 * createDispatcher(); sdkKey, or datafile, a file or URL; user and attributes; sendTestEvent.
 */
async function runDoctor(settings, listener = () => {}) {
  const report = new Report(listener, settings.apiKey);
  const hasAddon = checkAddon(report);
  const options = checkOptions(settings, report);
  if (options !== null) {
    await checkServer(options, settings, report);
  }
  // The proxy for a URL may be another one than that for Amplitude's.
  const resolveProxy = (url) =>
    resolveOptions({
      apiKey: PLACEHOLDER,
      serverUrl: new URL('/of-any-path', url).href,
      proxy: settings.proxy,
      caFile: options?.caFile ?? undefined,
    });
  const datafile = await checkDatafile(settings, resolveProxy, report);
  checkVariations(datafile, report);
  if (settings.user === undefined) {
    report.skip('user', "give --user to see what becomes of a user's decisions");
  } else if (hasAddon && options !== null) {
    await checkUser(settings, datafile, options, report);
  }
  if (settings.sendTestEvent && hasAddon && options !== null && settings.apiKey !== undefined) {
    await sendTestEvent(options, settings.apiKey, report);
  }
  return { ok: report.ok, version, checks: report.checks };
}

module.exports = { runDoctor };
