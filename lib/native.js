'use strict';

/** Makes a dispatcher of the addon from the options: what it is told, and what it may call. */

const { version } = require('../package.json');
const { createAddonHandlers } = require('./addon-handlers.js');
const binding = require('./binding.js');
const channels = require('./diagnostics.js');

const LIBRARY = `optimizely-amplitude/${version}`;

/** The addon holds its handlers. They hold the native dispatcher weakly, so that both can be collected. */
function createNative(options, log) {
  const reference = {};
  const native = new binding.Dispatcher(
    nativeOptions(options, log),
    createAddonHandlers(options, log, () => reference.weak.deref()),
  );
  reference.weak = new WeakRef(native);
  return native;
}

/** The options by the names that the addon reads. */
function nativeOptions(options, log) {
  return {
    ...options,
    library: LIBRARY,
    groupsJson: options.groups === null ? null : JSON.stringify(options.groups),
    disabledValueIsVariation: options.disabledValue === 'variation',
    debug: log.debugEnabled,
    reportDrops: options.onDrop !== null || channels.drop.hasSubscribers,
    dedupe: options.dedupe !== null,
    dedupeWindowMillis: options.dedupe?.windowMillis ?? 0,
    dedupeMaxEntries: options.dedupe?.maxEntries ?? 0,
  };
}

module.exports = { createNative };
