'use strict';

/** For the tests of exits and of Workers: actors (see actor.js), and the states in which they end. */

const assert = require('node:assert/strict');
const path = require('node:path');

const { startAmplitude } = require('../amplitude/server.js');
const { startChild } = require('./child.js');

const ACTOR = path.join(__dirname, 'actor.js');
/** The decisions of an actor, unless a test says otherwise. */
const DECISIONS = 3;
/** Far less than an actor's request timeout of 60 s, and far more than anything else takes. */
const AT_ONCE_MILLIS = 5000;

/** An option with which decisions are sent at once, without a flush. */
const EAGER = { flushQueueSize: 1 };

/**
 * The states of a dispatcher when the process ends: the server's fault, the actor's options, and
 * `reached(child, amplitude)`, which waits for the state after the actor has decided.
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
 * Start a stand-in for Amplitude with a fault, and an actor with the part `part(serverUrl)` in a child process.
 * Resolves to {amplitude, child}.
 */
async function startActor(t, part, { fault = null, args = [] } = {}) {
  const amplitude = await startAmplitude();
  t.after(() => amplitude.close());
  amplitude.setFault(typeof fault === 'function' ? fault(amplitude.faults) : fault);
  const child = startChild(t, [...args, ACTOR, JSON.stringify(part(amplitude.httpapi))]);
  return { amplitude, child };
}

/** Run `act`; fail if it takes longer than AT_ONCE_MILLIS. */
async function atOnce(act) {
  const started = performance.now();
  await act();
  const millis = performance.now() - started;
  assert.ok(millis < AT_ONCE_MILLIS, `took ${millis} ms`);
}

module.exports = { DECISIONS, EAGER, STATES, atOnce, startActor };
