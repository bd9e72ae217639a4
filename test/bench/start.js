'use strict';

/**
 * The start of a process: loading and creating, and from the first decision to its awaited flush. This package is
 * measured in both forms: as published, with its prebuilt addon, and in a clone, where the addon is built here and
 * loads the system's libcurl with the 35 libraries that it needs.
 */

const { execFileSync } = require('node:child_process');

const { stage } = require('../../src/release/stage.js');
const { notTestable } = require('../support/setup/prebuilds.js');
const { createNotification } = require('./decisions.js');
const { cpuMicros, inChild, medians, repeat, serveChild } = require('./measure.js');
const { NAMES, connect } = require('./subjects.js');

async function child({ subject, from, serverUrl }) {
  const cpuBefore = cpuMicros();
  const started = performance.now();
  const { onDecision, flush, close } = await connect(subject, {
    serverUrl,
    from,
    logger: undefined,
  });
  const created = performance.now();
  const loadCpu = (cpuMicros() - cpuBefore) / 1000;
  onDecision(createNotification('user_1'));
  await flush();
  const flushed = performance.now();
  await close();
  return { load: created - started, loadCpu, flush: flushed - created };
}

/** What is measured; the first one has to meet the bars. */
function subjects() {
  const others = [
    { title: `${NAMES.ours}, in a clone`, subject: 'ours' },
    { title: NAMES.plain, subject: 'plain' },
    { title: NAMES.amplitude, subject: 'amplitude' },
  ];
  const reason = notTestable();
  if (reason) {
    console.log(
      `The published package is not measured, because the prebuilt addons cannot be used: ${reason}.\n`,
    );
    return others;
  }
  return [{ title: `${NAMES.ours}, as published`, subject: 'ours', from: stage() }, ...others];
}

/** How long a process that does nothing takes, in CPU of its own until then: the machine's measure of a start. */
function emptyStart() {
  const script = 'const { user, system } = process.cpuUsage(); console.log((user + system) / 1000)';
  return { cpu: Number(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' })) };
}

async function run({ serverUrl, quick }) {
  const rows = subjects().map((row) => ({ ...row, runs: [] }));
  const empty = [];
  await repeat(quick ? 5 : 21, async () => {
    empty.push(emptyStart());
    for (const { subject, from, runs } of rows) {
      runs.push(await inChild(__filename, { subject, from, serverUrl }));
    }
  });
  const results = rows.map(({ title, runs }) => ({ title, ...medians(runs) }));
  const [ours, amplitude] = [results[0], results.at(-1)];
  return {
    tables: [
      {
        title: 'The start of a process: milliseconds',
        columns: ['', 'load and create', 'CPU of it', 'first decision to awaited flush'],
        rows: results.map(({ title, load, loadCpu, flush }) => [title, load, loadCpu, flush]),
      },
    ],
    bars: [
      { what: 'require + createDispatcher', unit: 'ms', value: ours.load, most: 5 },
      {
        what: 'CPU of it, as a part of what Node.js itself takes to start',
        value: ours.loadCpu / medians(empty).cpu,
        most: 0.15,
      },
      {
        what: 'the same, times less than analytics-node',
        value: amplitude.load / ours.load,
        least: 10,
      },
      { what: 'first decision to awaited flush', unit: 'ms', value: ours.flush, most: 3 },
    ],
  };
}

module.exports = { run };

serveChild(module, child);
