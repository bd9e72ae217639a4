'use strict';

/** `optimizely-amplitude spool <directory>`: what is in a spool, and its delivery without an application. */

const path = require('node:path');

const { addonFor } = require('../../engine.js');
const settings = require('../settings.js');
const { shown } = require('../shown.js');

const ARGUMENT = 'directory';

const USAGE = `Options of spool:
  --flag <key>             list the users of a flag
  --limit <n>              of so many of them (100)
  --json                   print JSON
  --deliver                send what processes left that have ended, as the next one would
  --timeout <seconds>      wait so long for it (60)
${settings.USAGE}
Exit code: 0 if the directory was read, and with --deliver nothing without an owner is left; otherwise 1, and 2 if
the command line is wrong
`;

const OPTIONS = {
  flag: { type: 'string' },
  limit: { type: 'string' },
  json: { type: 'boolean', default: false },
  deliver: { type: 'boolean', default: false },
  timeout: { type: 'string' },
  ...settings.OPTIONS,
};

const DEFAULT_LIMIT = 100;
/** As OA_SURVEY_MOST_USERS in src/core/survey.h. */
const MAX_LIMIT = 1_000_000;
const DEFAULT_TIMEOUT_SECONDS = 60;
const MAX_TIMEOUT_SECONDS = 24 * 3600;

/** A number of the command line, within bounds. Throws a TypeError that says what is wrong. */
function numberOf(values, name, { byDefault, max, needs }) {
  const text = values[name];
  if (text === undefined) {
    return byDefault;
  }
  if (!values[needs]) {
    throw new TypeError(`--${name} is for --${needs}`);
  }
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < 1 || value > max) {
    throw new TypeError(`--${name} must be a whole number from 1 to ${max}, not '${text}'`);
  }
  return value;
}

async function readArguments(values) {
  const limit = numberOf(values, 'limit', {
    byDefault: DEFAULT_LIMIT,
    max: MAX_LIMIT,
    needs: 'flag',
  });
  const timeout = numberOf(values, 'timeout', {
    byDefault: DEFAULT_TIMEOUT_SECONDS,
    max: MAX_TIMEOUT_SECONDS,
    needs: 'deliver',
  });
  const options = await settings.readSettings({}, values, process.env);
  if (values.deliver && options.apiKey === undefined) {
    throw new TypeError(
      '--api-key is missing, and AMPLITUDE_API_KEY of the environment is not set',
    );
  }
  return { limit, timeout, options };
}

/** Run it; `fail(message)` and `failUsage(message)` end the command. */
async function run(values, { fail, failUsage }, directory) {
  let given;
  try {
    given = await readArguments(values);
  } catch (error) {
    failUsage(shown(error.message));
    return;
  }
  const { limit, timeout, options } = given;
  const { apiKey } = options;
  const { lookAt } = require('./look.js');
  const print = require('./print.js');
  const show = (lines) => values.json || [...lines].forEach((line) => console.log(line));
  try {
    const Survey = addonFor('this command', 'WebAssembly reads no files').SpoolSurvey;
    const report = lookAt(Survey, path.resolve(directory), { apiKey, flag: values.flag, limit });
    show(print.reportLines(report));
    if (values.deliver) {
      const { deliver } = require('./deliver.js');
      report.delivery = await deliver(Survey, report, options, timeout * 1000);
      show(['', print.deliveryLine(report.delivery)]);
    } else {
      show(print.adviceLines(report));
    }
    if (values.json) {
      console.log(JSON.stringify(report, null, 2));
    }
    const left = values.deliver ? print.leftMessage(report.delivery) : null;
    if (left !== null) {
      fail(shown(left, [[apiKey, '<API key>']]));
    }
  } catch (error) {
    fail(shown(error.message, [[apiKey, '<API key>']]));
  }
}

module.exports = { ARGUMENT, OPTIONS, USAGE, run };
