'use strict';

/**
 * The channels of node:diagnostics_channel that publish for all dispatchers of a process:
 * `optimizely-amplitude:decision`, `:request` and `:drop`; and for all audiences, `:cohort`. They cost nothing without
 * subscribers.
 */

const { channel } = require('node:diagnostics_channel');

module.exports = {
  decision: channel('optimizely-amplitude:decision'),
  request: channel('optimizely-amplitude:request'),
  drop: channel('optimizely-amplitude:drop'),
  cohort: channel('optimizely-amplitude:cohort'),
};
