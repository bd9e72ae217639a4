'use strict';

/** `optimizely-amplitude doctor`: prints one line for each check, and what to do about a failed one. */

const { loadConfig } = require('../settings.js');
const { printable, shown } = require('../shown.js');

const USAGE = `Options of doctor:
  --api-key <key>          the API key (or AMPLITUDE_API_KEY in the environment)
  --server-zone <US|EU>    as the option serverZone (US)
  --server-url <url>       as the option serverUrl (or AMPLITUDE_SERVER_URL in the environment)
  --min-id-length <n>      as the option minIdLength (5)
  --format <names>         as the option format (event): one, or several with commas
  --proxy <url>            as the option proxy ('': none)
  --ca-file <file>         as the option caFile
  --config <file.js>       a module that exports the application's own options of createDispatcher()
  --sdk-key <key>          check the datafile that Optimizely has for this SDK key
  --datafile <file|url>    check this datafile
  --datafile-access-token <token>  for a secured environment (or OPTIMIZELY_DATAFILE_ACCESS_TOKEN)
  --user <id>              show the events of this user's decisions
  --attributes <json>      the user's attributes
  --cohort <attribute=id>  check a cohort, such as amplitude_power_user=7khm89cz; may be repeated
  --secret-key <key>       the secret key for it (or AMPLITUDE_SECRET_KEY in the environment)
  --cohorts-url <url>      as the option serverUrl of audiences
  --max-members <n>        as the option maxMembers of audiences (50000000)
  --send-test-event        send a real event, of the user optimizely-amplitude-doctor
  --json                   print JSON

Exit code: 0 if nothing failed, 1 if a check failed, 2 if one could not be made, or the command line is wrong
`;

const OPTIONS = {
  'api-key': { type: 'string' },
  'server-zone': { type: 'string' },
  'server-url': { type: 'string' },
  'min-id-length': { type: 'string' },
  format: { type: 'string' },
  proxy: { type: 'string' },
  'ca-file': { type: 'string' },
  config: { type: 'string' },
  'sdk-key': { type: 'string' },
  'datafile-access-token': { type: 'string' },
  datafile: { type: 'string' },
  user: { type: 'string' },
  attributes: { type: 'string', default: '{}' },
  cohort: { type: 'string', multiple: true, default: [] },
  'secret-key': { type: 'string' },
  'cohorts-url': { type: 'string' },
  'max-members': { type: 'string' },
  'send-test-event': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
};

/** Nothing failed, but not all could be checked. */
const EXIT_UNDECIDED = 2;

const LABELS = { pass: 'ok', warn: 'warn', fail: 'FAIL', skip: '-' };
const COLORS = { pass: 32, warn: 33, fail: 31, skip: 90 };
const INDENT = ' '.repeat(20);

function label(status) {
  const text = LABELS[status].padEnd(4);
  return process.stdout.isTTY && !process.env.NO_COLOR
    ? `\x1b[${COLORS[status]}m${text}\x1b[0m`
    : text;
}

function printCheck({ name, status, message, remedy, events = [] }) {
  console.log(`  ${label(status)}  ${name.padEnd(12)}${printable(message)}`);
  if (remedy !== undefined) {
    console.log(`${INDENT}-> ${printable(remedy)}`);
  }
  events.forEach((event) => console.log(INDENT + printable(JSON.stringify(event))));
}

function parseAttributes(text) {
  try {
    const attributes = JSON.parse(text);
    return typeof attributes === 'object' && attributes !== null && !Array.isArray(attributes)
      ? attributes
      : null;
  } catch {
    return null;
  }
}

/** `attribute=id` texts as { attribute: id }; undefined without any. Throws an error that says what is wrong. */
function parseCohorts(texts) {
  const cohorts = new Map();
  for (const text of texts) {
    const [, attribute, id] = /^(.+)=([^=]+)$/s.exec(text) ?? [];
    if (attribute === undefined) {
      throw new TypeError(
        `--cohort must be an attribute and the id of a cohort, such as amplitude_power_user=7khm89cz, not '${text}'`,
      );
    }
    if (cohorts.has(attribute)) {
      throw new TypeError(`--cohort: there are two cohorts for '${attribute}'`);
    }
    cohorts.set(attribute, id);
  }
  return cohorts.size === 0 ? undefined : Object.fromEntries(cohorts);
}

const numberOf = (text) => (text === undefined ? undefined : Number(text));

async function run(values, { fail, failUsage }) {
  const attributes = parseAttributes(values.attributes);
  if (attributes === null) {
    failUsage('--attributes must be a JSON object');
    return;
  }
  let cohorts;
  try {
    cohorts = parseCohorts(values.cohort);
  } catch (error) {
    failUsage(shown(error.message));
    return;
  }
  let config;
  try {
    config = values.config === undefined ? undefined : await loadConfig(values.config);
  } catch (error) {
    fail(shown(error.message));
    return;
  }
  const { runDoctor } = require('./index.js');
  // As in the README's server.js; what the command line says is stronger.
  const isUrlGiven = [
    values['server-url'],
    values['server-zone'],
    config?.serverUrl,
    config?.serverZone,
  ].some((given) => given !== undefined);
  const urlVariable =
    !isUrlGiven && process.env.AMPLITUDE_SERVER_URL ? 'AMPLITUDE_SERVER_URL' : undefined;
  const settings = {
    apiKey: values['api-key'] ?? config?.apiKey ?? (process.env.AMPLITUDE_API_KEY || undefined),
    config,
    serverZone: values['server-zone'],
    serverUrl: urlVariable === undefined ? values['server-url'] : process.env[urlVariable],
    urlVariable,
    minIdLength: numberOf(values['min-id-length']),
    format: values.format?.split(','),
    proxy: values.proxy,
    caFile: values['ca-file'],
    sdkKey: values['sdk-key'],
    datafile: values.datafile,
    accessToken:
      values['datafile-access-token'] ??
      (process.env.OPTIMIZELY_DATAFILE_ACCESS_TOKEN || undefined),
    user: values.user,
    attributes,
    cohorts,
    secretKey: values['secret-key'] ?? (process.env.AMPLITUDE_SECRET_KEY || undefined),
    cohortsUrl: values['cohorts-url'],
    maxMembers: numberOf(values['max-members']),
    sendTestEvent: values['send-test-event'],
  };
  const result = await runDoctor(settings, values.json ? undefined : printCheck);
  const count = (wanted) => result.checks.filter(({ status }) => status === wanted).length;
  const [failed, warned] = [count('fail'), count('warn')];
  if (values.json) {
    console.log(JSON.stringify(result, null, 2));
  }
  if (failed > 0) {
    fail(`${failed} check${failed === 1 ? '' : 's'} failed`);
  } else if (result.unchecked.length > 0) {
    const names = result.unchecked
      .map((name) => (name === 'key' ? 'the API key' : name))
      .join(', ');
    fail(`nothing failed, but ${names} could not be checked`, EXIT_UNDECIDED);
  } else if (!values.json) {
    const found = warned === 0 ? 'No problem found' : `Nothing failed; warnings: ${warned}`;
    console.log(`\n${found}. To see what arrives, run  npx optimizely-amplitude collector`);
  }
}

module.exports = { OPTIONS, USAGE, run };
