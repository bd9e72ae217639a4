'use strict';

/**
 * Preloaded into child processes: dispatchers without a serverUrl of their own post to
 * TEST_SERVER_URL, so that code which is written for Amplitude itself runs as it stands.
 */

const options = require('../../../lib/options.js');

const { resolveOptions } = options;
options.resolveOptions = (given, env) =>
  resolveOptions({ serverUrl: process.env.TEST_SERVER_URL, ...given }, env);
