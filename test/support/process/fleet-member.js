'use strict';

/** One process of a fleet: it decides for the same users and flags as every other one, with a change for each user. */

const { createDispatcher } = require('../dispatcher/harness.js');
const { createNotification } = require('../optimizely/sdk.js');

const dispatcher = createDispatcher({ apiKey: 'fleet-key', serverUrl: process.argv[2] });
for (const variationKey of ['control', 'one_page', 'control']) {
  for (let i = 0; i < 200; i++) {
    dispatcher.onDecision(createNotification(`user_${i}`, { variationKey }));
  }
}
dispatcher.close();
