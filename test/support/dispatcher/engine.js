'use strict';

/** Which engine the tests run with: `OA_ENGINE=wasm` has all of them use WebAssembly. */

const isWasm = process.env.OA_ENGINE === 'wasm';

module.exports = { isWasm };
