'use strict';

/*
 * Plays the cases of cases.json with the package for Node.js, and prints for each what Amplitude got and what was
 * counted, as JSON. test_parity.py compares the Python package with it.
 */

const fs = require('node:fs');
const path = require('node:path');

const { createDispatcher } = require('../../lib/index.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { createClient } = require('../support/optimizely/sdk.js');

const API_KEY = '0123456789abcdef0123456789abcdef';
const silent = { debug() {}, info() {}, warn() {}, error() {} };

const toCamel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
const camelKeys = (object) =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [toCamel(name), value]));

/** What the SDK for Node.js would notify. */
function notificationOf(type, userId, attributes, info) {
  const decisionInfo = camelKeys(info);
  if (decisionInfo.sourceInfo) {
    decisionInfo.sourceInfo = camelKeys(decisionInfo.sourceInfo);
  }
  return { type, userId, attributes, decisionInfo };
}

/** Callbacks return what the attributes of a decision say; those of test_parity.py do the same. */
const CALLBACKS = {
  resolveUser: ({ userId, attributes }) =>
    attributes.none ? null : { userId, ...camelKeys(attributes.fields ?? {}) },
  eventProperties: ({ attributes }) => attributes.event,
  userProperties: ({ attributes }) => attributes.user,
  beforeSend: (event) =>
    event.event_type === '$identify' ? event : { ...event, platform: 'redacted' },
};

async function play({ name, options, callbacks = [], steps, sdk }) {
  const amplitude = await startAmplitude();
  const dispatcher = createDispatcher({
    apiKey: API_KEY,
    serverUrl: amplitude.httpapi,
    logger: silent,
    ...options,
    dedupe: { windowMillis: 365 * 24 * 60 * 60 * 1000 },
    ...Object.fromEntries(callbacks.map((each) => [each, CALLBACKS[each]])),
  });
  for (const [step, ...rest] of steps) {
    if (step === 'decide') {
      dispatcher.onDecision(notificationOf(...rest));
    } else {
      dispatcher[step](...rest.map((value) => value ?? undefined));
    }
  }
  if (sdk) {
    const client = await createClient();
    dispatcher.attach(client);
    sdk.forEach((userId) => client.createUserContext(userId, {}).decideAll());
    await client.close();
  }
  await dispatcher.close();
  const { decisions, tracked, leftOut } = dispatcher.stats();
  const bodies = amplitude.requests.map((request) => request.jsonBytes.toString());
  await amplitude.close();
  return { name, bodies, decisions, tracked, leftOut };
}

async function main() {
  const cases = JSON.parse(fs.readFileSync(path.join(__dirname, 'cases.json'), 'utf8'));
  const played = [];
  for (const one of cases) {
    played.push(await play(one));
  }
  process.stdout.write(JSON.stringify(played));
}

main();
