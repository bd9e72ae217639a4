'use strict';

/** The client of the application. Yours has a createPollingProjectConfigManager({ sdkKey }); this one needs no network. */

const { createInstance, createStaticProjectConfigManager } = require('@optimizely/optimizely-sdk');

const datafile = JSON.stringify(require('./datafile.json'));

const optimizely = createInstance({
  projectConfigManager: createStaticProjectConfigManager({ datafile }),
});

module.exports = { optimizely };
