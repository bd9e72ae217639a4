'use strict';

/** Stands in for ../engine.js in the bundle for edge runtimes: there is one engine. */

let own = null;

/** Make a dispatcher with these exports. */
function withEngine(exports, make) {
  own = exports;
  return make();
}

const engine = () => ({ name: 'wasm', reason: 'an edge runtime loads no addon', exports: own });

module.exports = { ENGINES: ['wasm'], engine, withEngine };
