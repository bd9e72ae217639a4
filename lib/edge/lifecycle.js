'use strict';

/** Stands in for ../lifecycle.js in the bundle for edge runtimes: an isolate ends without a sign. */

module.exports = { add() {}, remove() {} };
