'use strict';

/**
 * The longest stall of the event loop while decisions are made and sent, measured by a timer of one millisecond,
 * compared with the same decisions and an empty listener.
 */

const { monitorEventLoopDelay } = require('node:perf_hooks');
const { createNotification } = require('./decisions.js');
const { inChild, medians, repeat, serveChild, sleep } = require('./measure.js');
const { NAMES, connect } = require('./subjects.js');

const DECISIONS_IN_SLICE = 1000;

async function child({ subject, count, serverUrl }) {
  const { onDecision, flush, close } = await connect(subject, { serverUrl });
  const make = async (from, to) => {
    for (let i = from; i < to;) {
      for (const end = i + DECISIONS_IN_SLICE; i < end; i++) {
        onDecision(createNotification(`user_${i}`));
      }
      await sleep(1);
    }
  };
  const warmUp = count / 10;
  await make(0, warmUp);
  await flush();
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  await make(warmUp, warmUp + count);
  await flush();
  delays.disable();
  await close();
  return {
    max: delays.max / 1e6,
    p999: delays.percentile(99.9) / 1e6,
    p50: delays.percentile(50) / 1e6,
  };
}

async function run({ serverUrl, quick }) {
  const runs = { none: [], ours: [], plain: [], amplitude: [] };
  await repeat(quick ? 3 : 9, async (i) => {
    for (const subject of Object.keys(runs)) {
      if (subject !== 'amplitude' || i < 2) {
        const count = subject === 'amplitude' ? 10_000 : 1_000_000;
        runs[subject].push(await inChild(__filename, { subject, count, serverUrl }));
      }
    }
  });
  const results = Object.entries(runs).map(([subject, list]) => [subject, medians(list)]);
  const { none, ours } = Object.fromEntries(results);
  return {
    tables: [
      {
        title:
          'Stalls of the event loop while 1 M decisions are made and sent (analytics-node: 10 k): milliseconds between two beats of a timer of 1 ms',
        columns: ['', 'longest', '99.9 %', 'median'],
        rows: results.map(([subject, { max, p999, p50 }]) => [NAMES[subject], max, p999, p50]),
      },
    ],
    bars: [
      {
        what: 'longest stall beyond that of an empty listener',
        unit: 'ms',
        value: ours.max - none.max,
        most: 5,
      },
    ],
  };
}

module.exports = { run };

serveChild(module, child);
