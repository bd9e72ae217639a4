'use strict';

/** Stands in for ../diagnostics.js in the bundle for edge runtimes, which have no node:diagnostics_channel. */

const silent = Object.freeze({ hasSubscribers: false, publish() {} });

module.exports = { decision: silent, request: silent, drop: silent, cohort: silent };
