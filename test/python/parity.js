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
async function play({ optionsOf, takeSteps }, { name, steps, sdk, ...rest }) {
  const amplitude = await startAmplitude();
  const dispatcher = createDispatcher({
    apiKey: API_KEY,
    serverUrl: amplitude.httpapi,
    ...optionsOf(rest),
  });
  takeSteps(dispatcher, steps);
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
  const actor = await import('../support/contract/actor.mjs');
  const played = [];
  for (const one of cases) {
    played.push(await play(actor, one));
  }
  process.stdout.write(JSON.stringify(played));
}

main();
