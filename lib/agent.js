'use strict';

const { Listener } = require('./agent/listener.js');
const { resolveAgentOptions } = require('./agent/options.js');

/**
 * Listen to Optimizely Agents, and give what they decide to a dispatcher. Throws a TypeError with code ERR_OA_OPTION that
 * names a bad option.
 */
function listenToAgent(options) {
  return new Listener(resolveAgentOptions(options));
}

module.exports = { listenToAgent };
