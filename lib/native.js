'use strict';

/** Makes a dispatcher of the engine from the options: its configuration, and the handlers that it calls. */

const { createAddonHandlers } = require('./addon-handlers.js');
const channels = require('./diagnostics.js');
const { engine } = require('./engine.js');
const { toConstantMembers } = require('./event-fields.js');
const { LIBRARY } = require('./library.js');

/**
 * The handlers of each dispatcher that exists. The addon holds them, too, but only while it has something to deliver or
 * to tell, and they hold the native dispatcher weakly: so a handler of the application that closes over its dispatcher
 * does not keep it in memory.
 */
const handlersOf = new WeakMap();

/** Make the native part of a dispatcher, `owner`. */
function createNative(owner, options, log, store) {
  const reference = {};
  const handlers = createAddonHandlers(options, log, store, () => reference.weak.deref());
  const { name, exports } = chooseEngine(options.engine, log);
  if (options.spool !== null) {
    require('./spool.js').prepareSpool(options.spool, name);
  }
  const config = nativeOptions(options, log);
  const native = create(exports.Dispatcher, config, handlers);
  reference.weak = new WeakRef(native);
  handlersOf.set(owner, handlers);
  const usesHttps = isHttps(config.serverUrl) || isHttps(config.proxy);
  if (name === 'native' && config.caFile === null && usesHttps) {
    // Of trust.js only https has need, and the start of the process none.
    const timer = setTimeout(() => require('./trust.js').prepareTrust(), 1);
    timer?.unref?.(); // fake timers may return something else
  }
  return native;
}

/** The error of a journal that cannot be opened says what to do, so it is one of the option. */
function create(Dispatcher, config, handlers) {
  try {
    return new Dispatcher(config, handlers);
  } catch (error) {
    throw config.spool ? require('./spool.js').spoolError(error) : error;
  }
}

const isHttps = (url) => url !== null && url.startsWith('https:');

let hasToldEngine = false;

/** The engine; if it is not the addon, that is logged once, at the level of debugging. */
function chooseEngine(asked, log) {
  const chosen = engine(asked);
  if (chosen.name === 'wasm' && !hasToldEngine) {
    hasToldEngine = true;
    log.debug(`WebAssembly is used instead of the native addon: ${chosen.reason}`);
  }
  return chosen;
}

/** Exactly the keys that the addon reads: `configKeys` of the addon lists them, and a test compares. */
function nativeOptions(options, log) {
  return {
    apiKey: options.apiKey,
    library: LIBRARY,
    eventType: options.eventType,
    sendsIdentify: options.format.sendsIdentify,
    eventSetsProperty: options.format.eventSetsProperty,
    sendsExposure: options.format.sendsExposure,
    propertyPrefix: options.propertyPrefix,
    groupsJson: options.groups === null ? null : JSON.stringify(options.groups),
    constantsJson: toConstantMembers(options),
    disabledValueIsVariation: options.disabledValue === 'variation',
    optOut: options.optOut,
    debug: log.debugEnabled,
    reportDrops: options.onDrop !== null || channels.drop.hasSubscribers,
    dedupe: options.dedupe !== null,
    store: Boolean(options.dedupe?.store),
    ...spoolKeys(options.spool),
    minIdLength: options.minIdLength,
    flushQueueSize: options.flushQueueSize,
    flushMaxRetries: options.flushMaxRetries,
    maxConcurrent: options.maxConcurrent,
    maxAgeMillis: options.maxAgeMillis,
    flushIntervalMillis: options.flushIntervalMillis,
    throttleMillis: options.throttleMillis,
    maxQueueBytes: options.maxQueueBytes,
    maxBodyBytes: options.maxBodyBytes,
    dedupeWindowMillis: options.dedupe?.windowMillis ?? 0,
    dedupeRefreshMillis: options.dedupe?.refreshMillis ?? 0,
    dedupeMaxEntries: options.dedupe?.maxEntries ?? 0,
    serverUrl: options.serverUrl,
    serverName: options.serverName,
    isAmplitude: options.isAmplitude,
    proxy: proxyFor(options),
    caFile: options.caFile,
    requestTimeoutMillis: options.requestTimeoutMillis,
    compression: options.compression,
  };
}

function spoolKeys(spool) {
  return {
    spool: spool !== null,
    spoolDirectory: spool?.directory ?? null,
    spoolSyncsFlushes: spool?.syncsFlushes ?? false,
    spoolMaxBytes: spool?.maxBytes ?? 0,
    spoolSyncIntervalMillis: spool?.syncIntervalMillis ?? 0,
  };
}

/** The proxy, unless the server is one of those that are reached without it. */
function proxyFor({ proxy, noProxy, serverUrl }) {
  if (proxy === null || noProxy === null) {
    return proxy;
  }
  const { isExempt } = require('./no-proxy.js'); // loaded only when a proxy is set
  return isExempt(noProxy, new URL(serverUrl)) ? null : proxy;
}

module.exports = { createNative, nativeOptions, proxyFor };
