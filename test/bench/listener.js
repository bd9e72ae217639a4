'use strict';

/**
 * The cost of a listener for its caller: nanoseconds of CPU time for one decision during the call. The notification is
 * not included: it is the cost of the empty listener. Delivery happens between the measurements; delivery.js measures
 * it.
 */

const { createNotification } = require('./decisions.js');
const { cpuMicros, inChild, median, nextTurn, repeat, serveChild } = require('./measure.js');
const { NAMES, connect } = require('./subjects.js');

const FLAGS = Array.from({ length: 50 }, (_, i) => `flag_${i}`);
const REPEATED_USERS = 10_000;

/** Each makes `count` decisions, the first of which is number `from`. */
const KINDS = {
  new: (onDecision, from, count) => {
    for (let i = from; i < from + count; i++) {
      onDecision(createNotification(`user_${i}`));
    }
  },
  repeat: (onDecision, from, count) => {
    for (let i = from; i < from + count; i++) {
      onDecision(createNotification(`user_${i % REPEATED_USERS}`));
    }
  },
  all: (onDecision, from, count) => {
    for (let i = from; i < from + count; i += FLAGS.length) {
      const userId = `user_${i}`;
      for (const flag of FLAGS) {
        onDecision(createNotification(userId, flag));
      }
    }
  },
};

function nanosOf(kind, onDecision, from, count) {
  const before = cpuMicros();
  KINDS[kind](onDecision, from, count);
  return (1000 * (cpuMicros() - before)) / count;
}

/** Rounds of one subject and of an empty listener, in turn; the median of each. */
async function child({ kind, subject, enriched, rounds, count, serverUrl }) {
  const { onDecision, flush, close } = await connect(subject, { serverUrl, enriched });
  const nothing = () => {};
  const empty = [];
  const nanos = [];
  for (let round = -2; round < rounds; round++) {
    // the first two warm up
    const from = (round + 2) * count;
    const none = nanosOf(kind, nothing, from, count);
    const some = nanosOf(kind, onDecision, from, count);
    await flush();
    await nextTurn();
    if (round >= 0) {
      empty.push(none);
      nanos.push(some - none);
    }
  }
  await close();
  return { empty: median(empty), nanos: median(nanos) };
}

const SUBJECTS = ['ours', 'plain', 'amplitude'];
const ROWS = [
  { title: 'one new decision', kind: 'new' },
  { title: 'one repeat', kind: 'repeat', subjects: ['ours', 'plain'] },
  { title: 'one of decideAll with 50 flags', kind: 'all' },
  {
    title: 'one new decision, enriched',
    kind: 'new',
    enriched: true,
    subjects: ['ours', 'amplitude'],
  },
];

async function measure({ serverUrl, quick }, { kind, enriched }, subject) {
  const size =
    subject === 'amplitude'
      ? { count: 2000, rounds: 5 }
      : { count: 20_000, rounds: quick ? 10 : 30 };
  return inChild(__filename, { kind, subject, enriched, serverUrl, ...size });
}

async function run(context) {
  const results = [];
  const times = context.quick ? 1 : 3;
  for (const row of ROWS) {
    const result = { title: row.title };
    for (const subject of row.subjects ?? SUBJECTS) {
      const runs = await repeat(times, () => measure(context, row, subject));
      result[subject] = median(runs.map(({ nanos }) => nanos));
      result.empty = median(runs.map(({ empty }) => empty));
    }
    results.push(result);
  }
  const [fresh, again] = results;
  return {
    tables: [
      {
        title: 'The listener: nanoseconds of CPU for one decision, while it is called',
        columns: [
          '',
          'notification and empty listener',
          ...SUBJECTS.map((subject) => NAMES[subject]),
        ],
        rows: results.map(({ title, empty, ours, plain, amplitude }) => [
          title,
          empty,
          ours,
          plain,
          amplitude,
        ]),
      },
    ],
    bars: [
      { what: 'listener, one new decision', unit: 'µs', value: fresh.ours / 1000, most: 0.3 },
      { what: 'listener, one repeat', unit: 'µs', value: again.ours / 1000, most: 0.15 },
    ],
  };
}

module.exports = { run };

serveChild(module, child);
