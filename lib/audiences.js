'use strict';

/** The way back: cohorts of Amplitude as attributes of Optimizely. */

const { Audiences } = require('./audiences/audiences.js');
const { resolveOptions } = require('./audiences/options.js');

/** Create the audiences, which begin to load at once. Throws a TypeError with code ERR_OA_OPTION that names a bad option. */
function createAudiences(options) {
  return new Audiences(resolveOptions(options));
}

module.exports = { createAudiences };
