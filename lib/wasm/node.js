'use strict';

/** The core as WebAssembly on Node.js, Deno and Bun, with the exports of the addon. */

const { AsyncResource } = require('node:async_hooks');
const { randomFillSync } = require('node:crypto');
const timers = require('node:timers');
const zlib = require('node:zlib');

const { Core } = require('./core.js');
const { WasmDispatcher } = require('./dispatcher.js');
const { HttpTransport } = require('./http.js');

/** How tools call what our callbacks run in: the same as in the addon. */
const RESOURCE = 'optimizely-amplitude';

/** Keys of the addon's options that only its transport reads. */
const TRANSPORT_KEYS = ['serverUrl', 'proxy', 'caFile', 'requestTimeoutMillis'];

// In a file of JavaScript, since a file of another kind is not found in a bundle.
const module_ = new WebAssembly.Module(
  zlib.brotliDecompressSync(Buffer.from(require('../../prebuilds/wasm32/core.js'), 'base64')),
);

// What fake timers of a test runner replace is not for us.
const clock = performance;
const monotonic = clock.now.bind(clock);

class Timer {
  #timeout;

  constructor(call, millis) {
    this.#timeout = timers.setTimeout(call, millis);
  }

  unref() {
    this.#timeout.unref();
  }

  stop() {
    timers.clearTimeout(this.#timeout);
  }
}

/** What is due now runs in the next turn of the loop: a timer would wait for a millisecond. */
class Turn {
  #immediate;

  constructor(call) {
    this.#immediate = timers.setImmediate(call);
  }

  unref() {
    this.#immediate.unref();
  }

  stop() {
    timers.clearImmediate(this.#immediate);
  }
}

/** The context of the application's code that created a dispatcher, as the addon's callbacks have it. */
class Context {
  #resource = new AsyncResource(RESOURCE, { requireManualDestroy: true });

  run(call) {
    return this.#resource.runInAsyncScope(call);
  }

  end() {
    this.#resource.emitDestroy();
  }
}

const platform = {
  module: module_,
  monotonic,
  random: () => randomFillSync(new Uint32Array(2)),
  hold: (object) => new WeakRef(object),
  openTransport: (options) => new HttpTransport(options),
  startTimer: (call, millis) => (millis > 0 ? new Timer(call, millis) : new Turn(call)),
  createContext: () => new Context(),
};

const { keys, statusNames, statusMessages, versions } = new Core(module_).describe();
const configKeys = [...keys.map(({ key }) => key), ...TRANSPORT_KEYS];

class Dispatcher extends WasmDispatcher {
  constructor(options, handlers) {
    const missing = configKeys.find((key) => !Object.hasOwn(options, key));
    if (missing !== undefined) {
      throw new TypeError(`the module's options lack ${missing}`);
    }
    super(options, handlers, platform, { keys, statusNames, statusMessages });
  }
}

module.exports = { Dispatcher, configKeys, statusNames, statusMessages, versions };
