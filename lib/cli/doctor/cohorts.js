'use strict';

/**
 * Checks of the way back: whether Amplitude has the cohorts, and whether Optimizely's audiences name the attributes
 * that they become. Of a cohort only the beginning is downloaded, which has its size.
 */

const zlib = require('node:zlib');

const { resolveOptions } = require('../../audiences/options.js');
const { isObject } = require('../../checks.js');
const { COHORT_PATH } = require('../../endpoints.js');
const { LIBRARY } = require('../../library.js');
const { proxyFor, send } = require('../http-client.js');
const { explain } = require('./causes.js');

/** The fields of a cohort come before its members, and have a fraction of this. */
const HEAD_BYTES = 16 * 1024;
/** A cohort with a larger share of the members that are taken may be refused soon. */
const NEARLY_FULL = 0.8;

/** By status of an answer: [message, remedy]. */
const REFUSALS = {
  400: ['the request is refused', 'check the id of the cohort, and --cohorts-url'],
  401: [
    'the keys are refused',
    'copy both from Settings > Projects of one project in Amplitude, and check the zone',
  ],
  404: [
    'there is no such cohort, or it has no sync named Experiment Local Evaluation',
    "check the id, the last part of its page's address; a flag with local evaluation that holds the cohort gives it the sync",
  ],
};
REFUSALS[403] = REFUSALS[401];

const number = (value) => value.toLocaleString('en-US');
const membersOf = (size) => `${number(size)} ${size === 1 ? 'member' : 'members'}`;

/** Check the options as createAudiences() does; return them, or null. */
function checkOptions(settings, report) {
  const { apiKey, secretKey, cohorts, serverZone, cohortsUrl, maxMembers, proxy, caFile } =
    settings;
  if (apiKey === undefined) {
    report.skip('cohorts', 'not checked without the API key');
    return null;
  }
  if (secretKey === undefined) {
    report.fail(
      'cohorts',
      'there is no secret key',
      'give it with --secret-key, or in the environment variable AMPLITUDE_SECRET_KEY',
    );
    return null;
  }
  try {
    return resolveOptions({
      apiKey,
      secretKey,
      cohorts,
      serverZone,
      serverUrl: cohortsUrl,
      maxMembers,
      proxy,
      caFile,
    });
  } catch (error) {
    if (error.code !== 'ERR_OA_OPTION') {
      throw error;
    }
    report.fail('cohorts', error.message, 'createAudiences() would throw the same');
    return null;
  }
}

/** The beginning of a body as text, which may be compressed, and cut off. */
function textOf({ headers, body }) {
  if (headers['content-encoding'] !== 'gzip') {
    return body.toString();
  }
  try {
    return zlib.gunzipSync(body, { finishFlush: zlib.constants.Z_SYNC_FLUSH }).toString();
  } catch {
    return '';
  }
}

/** The fields before the members, or null if this is no cohort. */
function fieldsOf(text) {
  const [fields, members] = text.split(/,?\s*"memberIds"/, 2);
  try {
    const cohort = JSON.parse(members === undefined ? text : `${fields}}`);
    return typeof cohort?.cohortId === 'string' ? cohort : null;
  } catch {
    return null;
  }
}

/** Judge a 200. Nothing of the answer is shown but the size: a server might send the keys back. */
function checkBody(answer, { name, id, maxMembers }, report) {
  const cohort = fieldsOf(textOf(answer));
  if (cohort === null) {
    report.fail(
      'cohort',
      `${name}: the answer is no cohort (${answer.headers['content-type'] ?? 'of no type'})`,
      'a proxy or a login page answers instead, or --cohorts-url is wrong',
    );
  } else if (cohort.cohortId !== id) {
    report.fail('cohort', `${name}: the answer is another cohort`, 'check --cohorts-url');
  } else if (cohort.groupType !== undefined && cohort.groupType !== 'User') {
    report.fail(
      'cohort',
      `${name}: it is a cohort of groups, and not of users`,
      'create a cohort of users in Amplitude',
    );
  } else if (cohort.size === 0) {
    report.warn(
      'cohort',
      `${name}: it is empty, so the attribute is false for everybody`,
      'check its definition in Amplitude; members are known by their user id',
    );
  } else if (cohort.size > NEARLY_FULL * maxMembers) {
    report.warn(
      'cohort',
      `${name}: it has ${membersOf(cohort.size)}, and with more than ${number(maxMembers)} it is refused`,
      'narrow the cohort, or raise the option maxMembers',
    );
  } else {
    const size = Number.isInteger(cohort.size) ? membersOf(cohort.size) : 'it is there';
    report.pass('cohort', `${name}: ${size}, and up to ${number(maxMembers)} are taken`);
  }
}

/** Check one cohort; return whether the server was reached. */
async function checkCohort({ attribute, id }, options, report) {
  const { apiKey, secretKey } = options;
  const { serverUrl, maxMembers, proxy, noProxy, caFile } = options;
  const name = `${attribute} = ${id}`;
  const url = `${serverUrl}${COHORT_PATH}${id}?maxCohortSize=${maxMembers}`;
  let answer;
  try {
    answer = await send(url, {
      headers: {
        authorization: `Basic ${Buffer.from(`${apiKey}:${secretKey}`).toString('base64')}`,
        accept: 'application/json',
        'x-amp-exp-library': LIBRARY,
      },
      proxy,
      noProxy,
      caFile,
      headBytes: HEAD_BYTES,
    });
  } catch (error) {
    const way = proxyFor(new URL(url), { proxy, noProxy });
    const { message, remedy } = explain(error, url, way && `${way.protocol}//${way.host}`);
    report.fail('cohorts', message, remedy);
    return false;
  }
  const { status } = answer;
  if (status === 200) {
    checkBody(answer, { name, id, maxMembers }, report);
  } else if (status === 413) {
    report.fail(
      'cohort',
      `${name}: it has more than ${membersOf(maxMembers)}`,
      'narrow the cohort, or raise the option maxMembers, if Amplitude allows it',
    );
  } else if (status === 408 || status === 429 || status >= 500) {
    report.passOver(
      'cohort',
      `${name}: ${new URL(url).host} answers ${status} at the moment`,
      'run the doctor again later; audiences ask again by themselves',
    );
  } else {
    const [message, remedy] = REFUSALS[status] ?? [
      'that is no answer of this API',
      'check --cohorts-url',
    ];
    report.fail('cohort', `${name}: ${message} (HTTP ${status})`, remedy);
  }
  return true;
}

const objectsOf = (value) => (Array.isArray(value) ? value.filter(isObject) : []);

/** The conditions on an attribute in a tree of conditions. */
const conditionsOn = (attribute, conditions) =>
  Array.isArray(conditions)
    ? conditions.flatMap((each) => conditionsOn(attribute, each))
    : conditions?.name === attribute
      ? [conditions]
      : [];

/** The conditions of an audience, which older ones have as text. */
function treeOf({ conditions }) {
  try {
    return typeof conditions === 'string' ? JSON.parse(conditions) : conditions;
  } catch {
    return [];
  }
}

/** The audiences of a datafile that use an attribute: [{ name, found }], with their conditions on it. */
function usersOf(attribute, { audiences, typedAudiences }) {
  // Of two with one id the second counts, as in the SDK: the first is its stand-in for older SDKs.
  const byId = new Map(
    [...objectsOf(audiences), ...objectsOf(typedAudiences)].map((each) => [each.id, each]),
  );
  return [...byId.values()]
    .map((audience) => ({
      name: JSON.stringify(audience.name),
      found: conditionsOn(attribute, treeOf(audience)),
    }))
    .filter(({ found }) => found.length > 0);
}

/** Whether a condition holds for no boolean. */
const isWrong = ({ match, value }) => match !== 'exists' && typeof value !== 'boolean';

/** Check whether audiences use an attribute, and as the boolean that it is. */
function checkAttribute(attribute, datafile, report) {
  const users = usersOf(attribute, datafile);
  const wrong = users.find(({ found }) => found.some(isWrong));
  if (users.length === 0) {
    const isThere = objectsOf(datafile.attributes).some(({ key }) => key === attribute);
    report.warn(
      'attribute',
      isThere
        ? `no audience of the datafile uses '${attribute}'`
        : `the datafile has no attribute '${attribute}'`,
      `in Optimizely create ${isThere ? '' : 'the attribute, and '}an audience for which ${attribute} is the ` +
        'boolean true; keys of attributes are case-sensitive',
    );
  } else if (wrong !== undefined) {
    const { value } = wrong.found.find(isWrong);
    report.fail(
      'attribute',
      `the audience ${wrong.name} compares '${attribute}' with ${JSON.stringify(value)}, which it never is`,
      'choose a boolean, true or false, in the condition of the audience',
    );
  } else {
    const names = users.map(({ name }) => name).join(', ');
    report.pass('attribute', `'${attribute}' is used by ${names}`);
  }
}

/** Check the cohorts of the settings, and their attributes in a datafile (its text, or null). */
async function checkCohorts(settings, datafile, report) {
  const options = checkOptions(settings, report);
  for (const cohort of options?.cohorts ?? []) {
    if (!(await checkCohort(cohort, { ...options, apiKey: settings.apiKey }, report))) {
      break;
    }
  }
  if (datafile === null) {
    report.skip('attribute', 'without a datafile it is not known whether audiences use it');
    return;
  }
  const content = JSON.parse(datafile);
  Object.keys(settings.cohorts).forEach((attribute) => checkAttribute(attribute, content, report));
}

module.exports = { checkCohorts };
