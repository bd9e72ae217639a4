'use strict';

/**
 * A flag for the users of a cohort of Amplitude, and another one for everybody else. Without keys of an Amplitude
 * project the members come from a file. The arguments are users: node audiences.js user_9 user_2
 */

const path = require('node:path');
const { createInstance, createStaticProjectConfigManager } = require('@optimizely/optimizely-sdk');
const { createAudiences } = require('optimizely-amplitude/audiences');

const { AMPLITUDE_API_KEY, AMPLITUDE_SECRET_KEY, AMPLITUDE_COHORT } = process.env;

const audiences = createAudiences(
  AMPLITUDE_SECRET_KEY === undefined
    ? {
        source: 'file',
        cohorts: { amplitude_power_user: path.join(__dirname, 'power-users.csv') },
      }
    : {
        apiKey: AMPLITUDE_API_KEY,
        secretKey: AMPLITUDE_SECRET_KEY,
        serverUrl: process.env.AMPLITUDE_COHORTS_URL, // only to try it locally; Amplitude is the default
        cohorts: { amplitude_power_user: AMPLITUDE_COHORT },
      },
);

const optimizely = createInstance({
  projectConfigManager: createStaticProjectConfigManager({
    datafile: JSON.stringify(require('./audiences-datafile.json')),
  }),
});
audiences.attach(optimizely);

async function main() {
  // A service that has to answer soon waits no longer; until a cohort is loaded, its attribute is left out.
  await Promise.all([audiences.ready({ timeoutMillis: 2000 }), optimizely.onReady()]);
  for (const userId of process.argv.slice(2)) {
    const user = optimizely.createUserContext(userId);
    const flags = ['power_tools', 'guided_tour'].filter((flag) => user.decide(flag).enabled);
    console.log(`${userId}: ${flags.join(', ') || 'nothing'}`);
  }
  await audiences.close();
  await optimizely.close();
}

main();
