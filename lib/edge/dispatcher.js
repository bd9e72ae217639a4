'use strict';

/** A dispatcher for edge runtimes: the same as elsewhere, on WebAssembly, fetch, and the requests that decide. */

const { isObject, optionError } = require('../checks.js');
const { Dispatcher } = require('../dispatcher.js');
const { withEngine } = require('../engine.js');
const { LIBRARY } = require('../library.js');
const { resolveOptions } = require('../options.js');
const { STATUS } = require('../outcomes.js');
const { readWait } = require('../wait.js');
const { Core } = require('../wasm/core.js');
const { WasmDispatcher } = require('../wasm/dispatcher.js');
const { Delivery } = require('./delivery.js');
const { FetchTransport } = require('./fetch.js');

/** Options that a fetch of the edge leaves no choice about. */
const ABSENT = ['proxy', 'noProxy', 'caFile', 'engine'];

/** An isolate has 128 MB, for everything; a request stays for a short time after its response. */
const DEFAULTS = {
  flushIntervalMillis: 1000,
  maxQueueBytes: 4 * 1024 * 1024,
  dedupe: { maxEntries: 100_000 },
};

/** What is wrong with the options of flush() is logged by the dispatcher. */
const SILENT = { warn() {} };

/** Calls that are kept while a module is imported. */
const MAX_EARLY = 1000;

/** 64 random bits, wherever it is asked. */
function random() {
  try {
    return crypto.getRandomValues(new Uint32Array(2));
  } catch {
    return [Math.random() * 2 ** 32, Math.random() * 2 ** 32]; // while a module is imported
  }
}

/** Options without those that are undefined, which stand for their defaults. */
const given = (options) =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

/** Options with the defaults of an isolate. */
function withDefaults(options) {
  const { dedupe = {}, ...others } = options;
  return {
    ...DEFAULTS,
    ...given(others),
    dedupe: isObject(dedupe) ? { ...DEFAULTS.dedupe, ...given(dedupe) } : dedupe,
  };
}

/** Make createDispatcher() and info() of `module`, a WebAssembly.Module, for a runtime with `defaultWaitUntil`. */
function createEdge(module, defaultWaitUntil) {
  const description = new Core(module).describe();
  let delivery; // of the dispatcher that is being made

  class EdgeNative extends WasmDispatcher {
    #early = []; // calls that came while the module was imported, where the clock is 0

    constructor(options, handlers) {
      const own = delivery;
      const platform = {
        module,
        monotonic: () => performance.now(),
        random,
        hold: (object) => ({ deref: () => object }),
        openTransport: () => new FetchTransport(options),
        startTimer: (call, millis) => own.startTimer(call, millis),
        createContext: () => ({ run: (call) => call(), end() {} }),
      };
      super(options, handlers, platform, description);
      own.serve(this);
      for (const name of ['record', 'track']) {
        const call = this[name];
        this[name] = (...values) => {
          if (Date.now() === 0) {
            return this.#keep(() => call(...values));
          }
          this.#takeEarly();
          const result = call(...values);
          own.note();
          return result;
        };
      }
    }

    /** What is decided then is of the moment of the first request. */
    #keep(call) {
      if (this.#early.length === MAX_EARLY) {
        return STATUS.queue_full;
      }
      this.#early.push(call);
      return STATUS.ok;
    }

    #takeEarly() {
      if (this.#early.length > 0 && Date.now() !== 0) {
        this.#early.splice(0).forEach((call) => call());
      }
    }

    stats() {
      this.#takeEarly();
      return super.stats();
    }
  }
  const exports = { Dispatcher: EdgeNative, ...description };

  class EdgeDispatcher extends Dispatcher {
    #delivery;
    #isClosed = null; // whether close() is over, once it has begun

    constructor(resolved, waitUntil) {
      delivery = new Delivery(waitUntil, resolved.requestTimeoutMillis);
      super(resolved);
      this.#delivery = delivery;
    }

    flush(options) {
      return this.#wait(() => this.#delivery.begin(() => super.flush(options)), options);
    }

    close(options) {
      const begin = () => this.#delivery.begin(() => super.close(options));
      return this.#wait(() => (this.#isClosed ??= begin()), options);
    }

    /** The report is taken from the counters. */
    async #wait(begin, options) {
      const before = this.#counts();
      const started = performance.now();
      const isOver = begin();
      const { timeoutMillis } = readWait(options, this.#timeoutMillis, SILENT);
      // Without a request, as when a module is imported, there is nothing to wait with.
      await this.#delivery.until(isOver, timeoutMillis).catch(() => {});
      const after = this.#counts();
      const dropped = Math.min(after.dropped - before.dropped, before.pending);
      const delivered = Math.min(after.delivered - before.delivered, before.pending - dropped);
      return {
        delivered,
        dropped,
        pending: before.pending - dropped - delivered,
        durationMillis: Math.round(performance.now() - started),
      };
    }

    #counts() {
      const { decisions, tracked } = this.stats();
      const delivered = decisions.delivered + tracked.delivered;
      const dropped = decisions.dropped.total + tracked.dropped.total;
      const pending = decisions.pending + tracked.pending;
      return { delivered, dropped, pending };
    }

    get #timeoutMillis() {
      return EdgeDispatcher.timeoutOf(this);
    }

    static timeoutOf(dispatcher) {
      return Dispatcher.settingsOf(dispatcher).timeoutMillis;
    }
  }

  /** Create a dispatcher. Throws a TypeError with code ERR_OA_OPTION that names a bad option. */
  function createDispatcher(options) {
    const { waitUntil = defaultWaitUntil, ...others } = options ?? {};
    if (waitUntil !== undefined && typeof waitUntil !== 'function') {
      throw optionError("option 'waitUntil': expected a function that takes a promise");
    }
    const absent = ABSENT.find((name) => others[name] !== undefined);
    if (absent !== undefined) {
      throw optionError(`option '${absent}': edge runtimes have their own way; leave it out`);
    }
    if (others.spool !== undefined) {
      throw optionError("option 'spool': there are no files on edge runtimes; leave it out");
    }
    if (others.dedupe?.store !== undefined) {
      throw optionError("option 'dedupe.store': not available on edge runtimes; leave it out");
    }
    const resolved = resolveOptions(isObject(options) ? withDefaults(others) : options, {});
    return withEngine(exports, () => new EdgeDispatcher(resolved, waitUntil));
  }

  /** The version of this package, and what runs it. */
  function info() {
    const engineReason = 'an edge runtime loads no addon';
    return { version: LIBRARY.split('/')[1], engine: 'wasm', engineReason };
  }

  return { closeOnSignal: () => () => {}, createDispatcher, info };
}

module.exports = { createEdge };
