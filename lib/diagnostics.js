'use strict';

/**
 * Channels of node:diagnostics_channel, for those who watch all dispatchers of a process without holding
 * one: `optimizely-amplitude:decision`, `:request` and `:drop`. They cost nothing without subscribers.
 */

const { channel } = require('node:diagnostics_channel');

module.exports = {
  decision: channel('optimizely-amplitude:decision'),
  request: channel('optimizely-amplitude:request'),
  drop: channel('optimizely-amplitude:drop'),
};
