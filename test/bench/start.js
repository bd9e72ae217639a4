'use strict';

/** The start of a process: to load and create, and from the first decision to its awaited flush. */

const { createNotification } = require('./decisions.js');
const { cpuMicros, inChild, medians, repeat, serveChild } = require('./measure.js');
const { NAMES, connect } = require('./subjects.js');

async function child({ subject, serverUrl }) {
  const cpuBefore = cpuMicros();
  const started = performance.now();
  const { onDecision, flush, close } = await connect(subject, { serverUrl, logger: undefined });
  const created = performance.now();
  const loadCpu = (cpuMicros() - cpuBefore) / 1000;
  onDecision(createNotification('user_1'));
  await flush();
  const flushed = performance.now();
  await close();
  return { load: created - started, loadCpu, flush: flushed - created };
}

async function run({ serverUrl, quick }) {
  const rows = {};
  for (const subject of ['ours', 'plain', 'amplitude']) {
    rows[subject] = [];
  }
  await repeat(quick ? 5 : 21, async () => {
    for (const subject of Object.keys(rows)) {
      rows[subject].push(await inChild(__filename, { subject, serverUrl }));
    }
  });
  const results = Object.entries(rows).map(([subject, runs]) => [subject, medians(runs)]);
  const { ours, amplitude } = Object.fromEntries(results);
  return {
    tables: [{
      title: 'The start of a process: milliseconds',
      columns: ['', 'load and create', 'CPU of it', 'first decision to awaited flush'],
      rows: results.map(([subject, { load, loadCpu, flush }]) => [NAMES[subject], load, loadCpu, flush]),
    }],
    bars: [
      { what: 'require + createDispatcher', unit: 'ms', value: ours.load, most: 8 },
      { what: 'the same, times less than analytics-node', value: amplitude.load / ours.load, least: 10 },
      { what: 'first decision to awaited flush', unit: 'ms', value: ours.flush, most: 3 },
    ],
  };
}

module.exports = { run };

serveChild(module, child);
