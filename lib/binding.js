'use strict';

/** The native addon. Throws when there is none here. */

const { addon, error } = require('./addon.js').addon();

if (error !== undefined) {
  throw error();
}

module.exports = addon;
