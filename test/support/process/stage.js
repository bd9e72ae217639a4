'use strict';

/** What the tests of exits and of Workers share: actors (see actor.js), and the states in which they end. */

const assert = require('node:assert/strict');
const path = require('node:path');

const { startAmplitude } = require('../amplitude/server.js');
const { startChild } = require('./child.js');

const ACTOR = path.join(__dirname, 'actor.js');
/** Of each actor that is not said to make another number. */
const DECISIONS = 3;
/** Far less than the 60 s after which actors give up a request; and far more than anything else takes. */
const AT_ONCE_MILLIS = 5000;

/** An option: what is decided is sent at once, without a flush. */
const EAGER = { flushQueueSize: 1 };

/**
 * How a dispatcher can be when the end comes: what the server does, what the actor is like, and
 * `reached(child, amplitude)`, which waits until it is so, once the actor has decided.
 */
const STATES = {
  idle: { decisions: 0, reached() {} },
  queued: { reached() {} },
  'in flight to a silent server': {
    fault: 'silence',
    options: EAGER,
    reached: (child, amplitude) => amplitude.nextRequest(),
  },
  'backing off': {
    fault: 'unavailable',
    options: EAGER,
    reached: (child) => child.printed('request failed: 503'),
  },
  parked: {
    fault: (faults) => faults.throttledUsers(() => true),
    options: EAGER,
    reached: (child) => child.printed('request failed: 429'),
  },
};

/**
 * Start a stand-in for Amplitude with a fault, and a child process that acts the part `part(serverUrl)`.
 * Resolves to {amplitude, child}.
 */
async function startActor(t, part, { fault = null, args = [] } = {}) {
  const amplitude = await startAmplitude();
  t.after(() => amplitude.close());
  amplitude.setFault(typeof fault === 'function' ? fault(amplitude.faults) : fault);
  const child = startChild(t, [...args, ACTOR, JSON.stringify(part(amplitude.httpapi))]);
  return { amplitude, child };
}

/** Run `act`; fail if it takes as long as nothing should. */
async function atOnce(act) {
  const started = performance.now();
  await act();
  const millis = performance.now() - started;
  assert.ok(millis < AT_ONCE_MILLIS, `took ${millis} ms`);
}

module.exports = { DECISIONS, EAGER, STATES, atOnce, startActor };
