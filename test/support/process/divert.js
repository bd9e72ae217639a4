'use strict';

/**
 * Preloaded into child processes: dispatchers without a serverUrl post to TEST_SERVER_URL, so that code for Amplitude
 * itself runs unchanged.
 */

const options = require('../../../lib/options.js');

const { resolveOptions } = options;
options.resolveOptions = (given, env) =>
  resolveOptions({ serverUrl: process.env.TEST_SERVER_URL, ...given }, env);
