'use strict';

/** One process of a fleet: the same users and flags as every other one, with a change for each. */

const { createDispatcher } = require('./harness.js');
const { createNotification } = require('./optimizely.js');

const dispatcher = createDispatcher({ apiKey: 'fleet-key', serverUrl: process.argv[2] });
for (const variationKey of ['control', 'one_page', 'control']) {
  for (let i = 0; i < 200; i++) {
    dispatcher.onDecision(createNotification(`user_${i}`, { variationKey }));
  }
}
dispatcher.close();
