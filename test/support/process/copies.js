'use strict';

/** Other copies of the package in the same process, as jest's module registry makes them. */

const path = require('node:path');

const LIB = path.join(__dirname, '..', '..', '..', 'lib');

/** Load the package once more, with all of its modules. */
function loadCopy() {
  for (const file of Object.keys(require.cache)) {
    if (file.startsWith(LIB + path.sep)) {
      delete require.cache[file];
    }
  }
  return require(LIB);
}

module.exports = { loadCopy };
