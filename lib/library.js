'use strict';

const { version } = require('../package.json');

/** The field `library` of every event, and the user agent. */
const LIBRARY = `optimizely-amplitude/${version}`;

module.exports = { LIBRARY };
