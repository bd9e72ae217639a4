'use strict';

/** The client of the application. Yours has a createPollingProjectConfigManager({ sdkKey }); this one needs no network. */

const { createInstance, createStaticProjectConfigManager } = require('@optimizely/optimizely-sdk');

const datafile = JSON.stringify(require('./datafile.json'));

const optimizely = createInstance({
  projectConfigManager: createStaticProjectConfigManager({ datafile }),
});

/** Resolves when decisions can be made; without a datafile in time too: every flag is off then, and you are up. */
const ready = optimizely.onReady({ timeout: 3000 }).catch((error) => {
  console.warn(`Optimizely: ${error.message}; every flag is off until there is a datafile`);
});

module.exports = { optimizely, ready };
