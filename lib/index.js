'use strict';

const { Dispatcher } = require('./dispatcher.js');
const { engine } = require('./engine.js');
const { resolveOptions } = require('./options.js');

/** Create a dispatcher. Throws a TypeError with code ERR_OA_OPTION that names a bad option. */
function createDispatcher(options) {
  return new Dispatcher(resolveOptions(options));
}

/**
 * On SIGTERM or SIGINT: run `before`, close the dispatcher, and let the signal end the process. Returns a function that
 * removes the listeners.
 */
function closeOnSignal(dispatcher, options) {
  const settings = Dispatcher.settingsOf(dispatcher);
  return require('./close-on-signal.js').closeOnSignal(dispatcher, options, settings);
}

/** The version of this package, its engine, and the libraries that the engine uses. */
function info() {
  return require('./info.js').info(engine());
}

module.exports = { closeOnSignal, createDispatcher, info };
