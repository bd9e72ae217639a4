'use strict';

/** Stands in for ../engine.js in the bundle for edge runtimes: there is one engine. */

let exports_ = null;

function use(exports) {
  exports_ = exports;
}

const engine = () => ({
  name: 'wasm',
  reason: 'an edge runtime loads no addon',
  exports: exports_,
});

module.exports = { ENGINES: ['wasm'], engine, use };
