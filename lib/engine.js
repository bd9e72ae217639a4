'use strict';

/**
 * What runs the core: the native addon, or WebAssembly where no addon fits. Nothing is loaded before it is used, and no
 * addon is opened where one cannot run.
 */

const { addon } = require('./addon.js');
const { optionError } = require('./checks.js');

const ENGINES = ['native', 'wasm'];

const loaders = {
  native: () => require('./binding.js'),
  wasm: loadWasm,
};

/** Engines that are loaded, or the error of one that cannot be. */
const loaded = new Map();

function loadWasm() {
  try {
    return require('./wasm/node.js');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND' || !error.message.includes('wasm32')) {
      throw error;
    }
    throw Object.assign(
      new Error(
        'optimizely-amplitude has no prebuilds/wasm32 here: `npm run prebuild -- wasm32` makes it',
      ),
      { code: 'ERR_OA_ADDON' },
    );
  }
}

/** Return the exports of an engine, or throw the error of its loading, the same each time. */
function load(name) {
  if (!loaded.has(name)) {
    try {
      loaded.set(name, { exports: loaders[name]() });
    } catch (error) {
      loaded.set(name, { error });
    }
  }
  const { exports, error } = loaded.get(name);
  if (error !== undefined) {
    throw error;
  }
  return exports;
}

/** The engine that the environment asks for, or null. Deno may not allow to look. */
function fromEnvironment() {
  let name;
  try {
    name = process.env.OA_ENGINE;
  } catch {
    return null;
  }
  if (!name) {
    return null;
  }
  if (!ENGINES.includes(name)) {
    throw optionError(`environment variable OA_ENGINE: expected native or wasm, got '${name}'`);
  }
  return name;
}

/** What fits here. */
function choose() {
  const { reason } = addon();
  return reason === undefined
    ? { name: 'native', reason: 'the addon loads' }
    : { name: 'wasm', reason };
}

/** The exports of a caller that brings its engine, while it makes a dispatcher. */
let own = null;

/** Make a dispatcher with these exports, as the entry for edge runtimes does where it is no bundle: see ./edge/engine.js. */
function withEngine(exports, make) {
  own = exports;
  try {
    return make();
  } finally {
    own = null;
  }
}

/**
 * Return { name, reason, exports }. `asked` is the option; null leaves the choice to the environment, and then to what
 * fits here. Throws with code ERR_OA_ADDON when the engine cannot be loaded.
 */
function engine(asked = null) {
  if (own !== null) {
    return { name: 'wasm', reason: 'it is that of an edge runtime', exports: own };
  }
  const variable = asked === null ? fromEnvironment() : null;
  const name = asked ?? variable;
  if (name !== null) {
    const reason = asked === null ? 'OA_ENGINE asks for it' : "the option 'engine' asks for it";
    return { name, reason, exports: load(name) };
  }
  const chosen = choose();
  try {
    return { ...chosen, exports: load(chosen.name) };
  } catch {
    return { ...chosen, exports: load('native') }; // whose error says what can be mended
  }
}

/**
 * Return the exports of the addon, for what WebAssembly does not have: `lacks` says that. Throws a clear error with code
 * ERR_OA_ADDON.
 */
function addonFor(what, lacks = 'WebAssembly has no cohorts') {
  const refusal = (reason, options) =>
    Object.assign(new Error(`${what} needs the native addon: ${lacks}. ${reason}`, options), {
      code: 'ERR_OA_ADDON',
    });
  if (fromEnvironment() === 'wasm') {
    throw refusal('OA_ENGINE=wasm of the environment keeps it out: unset it.');
  }
  try {
    return load('native');
  } catch (error) {
    throw refusal(error.message, { cause: error });
  }
}

module.exports = { ENGINES, addonFor, engine, withEngine };
