'use strict';

/**
 * What a spool costs: in the listener, in the CPU of a delivered decision, and at the start; each compared with the
 * same without one, in turns within one run.
 */

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { createNotification, decideMany } = require('./decisions.js');
const { cpuMicros, inChild, median, nextTurn, repeat, serveChild } = require('./measure.js');
const { connect } = require('./subjects.js');

const WARM_UP_ROUNDS = 2;

/** A file system in memory, where there is one: the disk of another machine is another's figure. */
const FOLDERS = [os.tmpdir(), '/dev/shm'].filter((folder) => fs.existsSync(folder));

const make = (serverUrl, directory) =>
  connect('ours', { serverUrl, ...(directory !== null && { spool: { directory } }) });

/** Nanoseconds of a listener, and microseconds of CPU of a delivered decision. */
async function measureDecisions({ serverUrl, directory, rounds, count }) {
  const { onDecision, flush, close } = await make(serverUrl, directory);
  const listener = [];
  const delivered = [];
  let slowest = 0;
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    const from = (round + WARM_UP_ROUNDS) * 2 * count;
    let before = cpuMicros();
    for (let i = from; i < from + count; i++) {
      onDecision(createNotification(`user_${i}`));
    }
    const nanos = (1000 * (cpuMicros() - before)) / count;
    await flush();
    before = cpuMicros();
    await decideMany(onDecision, count, from + count);
    await flush();
    const micros = (cpuMicros() - before) / count;
    await nextTurn();
    if (round >= 0) {
      listener.push(nanos);
      delivered.push(micros);
    }
  }
  for (let i = 0; i < count; i++) {
    const notification = createNotification(`slow_${i}`);
    const started = performance.now();
    onDecision(notification);
    slowest = Math.max(slowest, performance.now() - started);
  }
  await flush();
  await close();
  return { listener: median(listener), delivered: median(delivered), slowest };
}

/** Milliseconds to create a dispatcher, when the package is loaded and has created another. */
async function measureStart({ serverUrl, directory, rounds }) {
  const millis = [];
  await (await make(serverUrl, directory)).close();
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    const { close } = await make(serverUrl, directory);
    millis.push(performance.now() - started);
    await close();
  }
  return { start: median(millis) };
}

async function child({ what, appends, ...options }) {
  if (appends) {
    process.env.OA_SPOOL_APPENDS = '1'; // as on a file system where nothing is mapped
  }
  return what === 'start' ? measureStart(options) : measureDecisions(options);
}

async function run({ serverUrl, quick }) {
  const parents = FOLDERS.map((folder) => fs.mkdtempSync(path.join(folder, 'oa-bench-')));
  const inFolders = parents.map((parent, i) => ({
    title: `in ${FOLDERS[i]}`,
    directory: path.join(parent, 'spool'),
  }));
  const rows = [
    { title: 'without', directory: null },
    ...inFolders,
    { ...inFolders[0], title: `${inFolders[0].title}, not mapped`, appends: true },
  ].map((row) => ({ ...row, runs: [] }));
  const size = quick ? { rounds: 9, count: 10_000 } : { rounds: 21, count: 20_000 };
  try {
    await repeat(quick ? 3 : 7, async () => {
      for (const { directory, appends, runs } of rows) {
        const options = { serverUrl, directory, appends, ...size };
        const decisions = await inChild(__filename, { what: 'decisions', ...options });
        const { start } = await inChild(__filename, { what: 'start', ...options });
        runs.push({ ...decisions, start });
      }
    });
  } finally {
    parents.forEach((parent) => fs.rmSync(parent, { recursive: true }));
  }
  const of = ({ runs }, name) => median(runs.map((each) => each[name]));
  const [without, ...others] = rows;
  const mapped = others.filter(({ appends }) => !appends);
  return {
    tables: [
      {
        title: 'A spool',
        columns: [
          '',
          'listener, ns of CPU',
          'slowest call, ms',
          'CPU of a delivered decision, us',
          'createDispatcher(), ms',
        ],
        rows: rows.map((row) => [
          row.title,
          of(row, 'listener'),
          of(row, 'slowest'),
          of(row, 'delivered'),
          of(row, 'start'),
        ]),
      },
    ],
    bars: mapped.flatMap((row) => [
      {
        what: `a spool ${row.title}: the listener, more`,
        unit: 'ns',
        value: of(row, 'listener') - of(without, 'listener'),
        most: 100,
      },
      {
        what: `a spool ${row.title}: CPU of a delivered decision, times`,
        value: of(row, 'delivered') / of(without, 'delivered'),
        most: 1.15,
      },
      {
        what: `a spool ${row.title}: the start, more`,
        unit: 'ms',
        value: of(row, 'start') - of(without, 'start'),
        most: 1,
      },
    ]),
  };
}

module.exports = { run };

serveChild(module, child);
