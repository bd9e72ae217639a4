'use strict';

/**
 * What a dispatcher does is the same in every runtime: the bytes that it sends, what it counts, and what becomes of
 * decisions when Amplitude fails. The cases are those of the Python package, and the faults those of the fault matrix.
 */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');

const { bundleEdge } = require('../../src/release/edge.js');
const { ROWS, checkPlayed, playRow } = require('../support/amplitude/matrix.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { RUNTIMES } = require('../support/contract/runtimes.js');
const { createDispatcher } = require('../support/dispatcher/harness.js');
const { wasmNotTestable } = require('../support/setup/prebuilds.js');

const API_KEY = 'contract-key';
const LONG_MILLIS = 60_000;
/** Faults of each kind; OA_CONTRACT_ROWS=all for all of the matrix, in minutes. */
const CORE_ROWS = [
  '503',
  '503, Retry-After in seconds',
  '429 for some users',
  '429 without a list',
  '429 for the daily quota',
  '413 by bytes',
  '400 that lists the bad events',
  '404',
  "200 with a captive portal's page, for a while",
  'wrong API key, fixed later',
  'redirect',
  'connection refused, then a restart',
  'reset before accepting',
  'reset after accepting',
  'answer cut short',
  'silence until the timeout',
  '1xx before the answer',
];
const rows =
  process.env.OA_CONTRACT_ROWS === 'all'
    ? ROWS
    : CORE_ROWS.map((name) => ROWS.find((row) => row.name === name));
/** Rows mostly wait. */
const CONCURRENT = { concurrency: 8, timeout: 240_000 };
const CASES = JSON.parse(
  fs.readFileSync(path.join(__dirname, '..', 'python', 'cases.json'), 'utf8'),
).filter(({ sdk }) => sdk === undefined);

/** A body without its times, and what covers them: the insert_id of a $identify. */
const comparable = (text) =>
  text
    .replace(/"time":\d{13}/g, '"time":0')
    .replace(
      /("event_type":"\$identify"(?:(?!"event_type").)*?"insert_id":")[0-9a-f]{32}"/g,
      '$1of its time"',
    );

/** Play a case; resolves to what can be compared of it. `run` is given the options and steps, and resolves to stats. */
async function play({ options, callbacks, steps }, run) {
  const amplitude = await startAmplitude();
  try {
    const own = { apiKey: API_KEY, serverUrl: amplitude.httpapi };
    const stats = await run({ options: { ...own, ...options }, callbacks, steps });
    const { decisions, tracked, leftOut } = stats;
    const bodies = amplitude.requests.map((request) => comparable(request.jsonBytes.toString()));
    return JSON.parse(JSON.stringify({ bodies, decisions, tracked, leftOut }));
  } finally {
    await amplitude.close();
  }
}

/** Make the connect() of playRow() from what calls an actor. */
const connectBy =
  (call) =>
  async (serverUrl, { devices, requestTimeoutMillis }) => {
    const own = { apiKey: API_KEY, serverUrl, devices, requestTimeoutMillis };
    const dispatcher = await call('create', null, own);
    let stats = { decisions: { pending: 0 } };
    let waiting = []; // decisions of this turn, which go in one call
    let sent = Promise.resolve();
    const send = () => {
      const decisions = waiting;
      waiting = [];
      return call('decide', dispatcher, decisions);
    };
    const look = async () => {
      stats = await call('stats', dispatcher);
      return stats;
    };
    return {
      decide(notification) {
        if (waiting.push(notification) === 1) {
          sent = sent.then(send);
        }
      },
      async flush(options) {
        await sent;
        await call('flush', dispatcher, { timeoutMillis: LONG_MILLIS, ...options });
        await look();
      },
      stats: () => stats,
      async failed() {
        while ((await look()).requests.failed === 0) {
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      },
      close: () => call('close', dispatcher),
    };
  };

describe('the contract, on', { skip: wasmNotTestable(), concurrency: RUNTIMES.length }, () => {
  const native = new Map(); // what the addon makes of each case

  before(async () => {
    await bundleEdge();
    const { optionsOf, takeSteps } = await import('../support/contract/actor.mjs');
    for (const one of CASES) {
      const played = await play(one, async ({ steps, ...rest }) => {
        const dispatcher = createDispatcher({ ...optionsOf(rest), engine: 'native' });
        takeSteps(dispatcher, steps);
        await dispatcher.close();
        return dispatcher.stats();
      });
      assert.ok(played.bodies.length > 0);
      native.set(one, played);
    }
  });

  for (const { name, skip, start } of RUNTIMES) {
    describe(name, { skip }, () => {
      const endings = [];
      let call;

      before(async () => {
        call = await start({ after: (end) => endings.push(end) });
      });
      after(async () => {
        for (const end of endings.reverse()) {
          await end();
        }
      });

      describe(
        'sends the bytes of the native addon, and counts as it does',
        { concurrency: 1 },
        () => {
          for (const one of CASES) {
            it(one.name, async () => {
              const played = await play(one, (given) => call('play', null, given));
              assert.deepEqual(played, native.get(one));
            });
          }
        },
      );

      describe('delivers after a fault, in order, and once', CONCURRENT, () => {
        for (const row of rows) {
          it(row.name, () =>
            playRow(
              row,
              connectBy((...given) => call(...given)),
              checkPlayed(row),
            ),
          );
        }
      });
    });
  }
});
