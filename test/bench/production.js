'use strict';

/**
 * As in production: https, with a CA among those that Node.js trusts, and compressed bodies. Everything that delivers is
 * measured in one run, and told as a ratio; times differ from hour to hour.
 */

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { certificates } = require('../support/network/certificates.js');
const { captureBody, measureDelivery } = require('./delivery.js');
const { createNotification, decideMany } = require('./decisions.js');
const {
  cpuMicros,
  inChild,
  median,
  medians,
  repeat,
  runLimit,
  serveChild,
  startSink,
} = require('./measure.js');
const { NAMES, connect } = require('./subjects.js');

const ROUND_TRIPS = [50, 150];
const LANES = [1, 2, 4, 8];
const LANE_SECONDS = 10;
const QUIET_ROUNDS = 40;

/** Decisions a second, where the server takes a while to answer. */
async function measureLanes({ serverUrl, maxConcurrent, count }) {
  const { onDecision, flush, close } = await connect('ours', {
    serverUrl,
    gzip: true,
    maxConcurrent,
  });
  await decideMany(onDecision, 5000);
  await flush();
  const began = performance.now();
  const before = cpuMicros();
  await decideMany(onDecision, count, 5000);
  await flush();
  const seconds = (performance.now() - began) / 1000;
  const cpu = (cpuMicros() - before) / count;
  await close();
  return { perSecond: count / seconds, cpu };
}

/** CPU of a decision that opens a connection of its own, as each one does that comes after more than 30 s. */
async function measureQuiet({ serverUrl }) {
  const { onDecision, flush, close } = await connect('ours', { serverUrl, gzip: true });
  const deliver = async (user) => {
    const before = cpuMicros();
    onDecision(createNotification(`user_${user}`));
    await flush();
    return cpuMicros() - before;
  };
  const first = await deliver(0);
  const others = await repeat(QUIET_ROUNDS, (round) => deliver(round + 1));
  await close();
  return { first: first / 1000, cpu: median(others) / 1000 };
}

async function child({ what, ...options }) {
  return what === 'lanes' ? measureLanes(options) : measureQuiet(options);
}

/** Delivered decisions of every size and form, beside analytics-node and the limit program. */
async function deliveries({ serverUrl, caFile, quick, plainUrl }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-'));
  const body = await captureBody(folder);
  const sizes = quick ? [10_000, 1_000_000] : [10_000, 100_000, 1_000_000, 5_000_000];
  const times = quick ? 1 : 3;
  const limits = [];
  const measure = async (subject, count, more) => {
    limits.push(runLimit(serverUrl, body, 200_000, true, caFile));
    const options = { subject, count, gzip: true, serverUrl, ...more };
    return { count, ...(await measureDelivery(options, times)) };
  };
  const rows = new Map();
  for (const count of sizes) {
    rows.set(count, await measure('ours', count));
  }
  rows.set('merged', await measure('ours', 1_000_000, { format: 'merged' }));
  rows.set('exposure', await measure('ours', 1_000_000, { format: 'exposure' }));
  rows.set('plain', await measure('ours', 1_000_000, { serverUrl: plainUrl, gzip: false }));
  rows.set('amplitude', await measure('amplitude', 20_000));
  rows.set('none', await measure('none', 1_000_000));
  limits.push(runLimit(serverUrl, body, 200_000, true, caFile));
  fs.rmSync(folder, { recursive: true });
  return { rows, limit: median(limits), sizes };
}

function deliveryTable({ rows, limit, sizes }) {
  const line = (title, { count, cpu, loop, wall }) => [
    title,
    count.toLocaleString('en-US'),
    cpu,
    loop,
    wall,
    cpu / limit,
  ];
  return {
    title: 'As in production: microseconds of CPU for one delivered decision, https and gzip',
    columns: [
      '',
      'decisions',
      'CPU',
      'of it on the event loop',
      'elapsed',
      'CPU, times the limit program',
    ],
    rows: [
      line(NAMES.none, rows.get('none')),
      ...sizes.map((count) => line(NAMES.ours, rows.get(count))),
      line("the same, format: 'merged'", rows.get('merged')),
      line("the same, format: 'exposure'", rows.get('exposure')),
      line('the same, http and no gzip', rows.get('plain')),
      line(NAMES.amplitude, rows.get('amplitude')),
      ['the limit program: C, libcurl, zlib 1, https', '200,000', limit, '', '', 1],
    ],
  };
}

async function lanes({ tls, quick }) {
  const rows = [];
  for (const delayMillis of ROUND_TRIPS) {
    const sink = await startSink({ ...tls, delayMillis });
    for (const maxConcurrent of LANES) {
      const expected = (maxConcurrent * 999 * 1000 * LANE_SECONDS) / delayMillis;
      const options = {
        what: 'lanes',
        serverUrl: sink.url,
        maxConcurrent,
        count: Math.round(quick ? expected / 2 : expected),
      };
      const result = medians(await repeat(quick ? 1 : 3, () => inChild(__filename, options)));
      rows.push({ delayMillis, maxConcurrent, ...result });
    }
    await sink.stop();
  }
  return rows;
}

function lanesTable(rows) {
  const alone = (delayMillis) =>
    rows.find((row) => row.delayMillis === delayMillis && row.maxConcurrent === 1).perSecond;
  return {
    title: 'Lanes: decisions a second that a slow server is sent, each with a user of its own',
    columns: ['round trip', 'maxConcurrent', 'decisions a second', 'times one lane', 'µs of CPU'],
    rows: rows.map(({ delayMillis, maxConcurrent, perSecond, cpu }) => [
      `${delayMillis} ms`,
      String(maxConcurrent),
      Math.round(perSecond).toLocaleString('en-US'),
      perSecond / alone(delayMillis),
      cpu,
    ]),
  };
}

async function run({ serverUrl, quick }) {
  const { caFile } = certificates();
  const file = (name) => path.join(path.dirname(caFile), name);
  const tls = { certificates: { cert: file('good.pem'), key: file('good.key') } };
  process.env.NODE_EXTRA_CA_CERTS = caFile; // of the children: Node.js, and so all of them, trust it
  const sink = await startSink(tls);
  const delivered = await deliveries({
    serverUrl: sink.url,
    plainUrl: serverUrl,
    caFile,
    quick,
  });
  await sink.stop();
  const slow = await lanes({ tls, quick });
  const closing = await startSink({ ...tls, closes: true });
  const quiet = medians(
    await repeat(quick ? 1 : 3, () =>
      inChild(__filename, { what: 'quiet', serverUrl: closing.url }),
    ),
  );
  await closing.stop();
  delete process.env.NODE_EXTRA_CA_CERTS;

  const { rows, limit, sizes } = delivered;
  const million = rows.get(1_000_000);
  const most = sizes.at(-1);
  const fourLanes = slow.find((row) => row.delayMillis === 150 && row.maxConcurrent === 4);
  return {
    tables: [
      deliveryTable(delivered),
      lanesTable(slow),
      {
        title: 'A quiet service: each decision opens a connection; ms of CPU',
        columns: ['the first', 'each other one'],
        rows: [[quiet.first, quiet.cpu]],
      },
    ],
    bars: [
      {
        what: 'CPU of a delivered decision, https and gzip, 1 M',
        unit: 'µs',
        value: million.cpu,
        most: 1,
      },
      { what: 'times the limit program', value: million.cpu / limit, most: 0.6 },
      {
        what: 'times less than analytics-node (20 k)',
        value: rows.get('amplitude').cpu / million.cpu,
        least: 350,
      },
      {
        what: `CPU of one decision, ${most / 1e6} M against 10 k`,
        value: rows.get(most).cpu / rows.get(10_000).cpu,
        most: 1.2,
      },
      {
        what: 'decisions a second, a round trip of 150 ms, 4 lanes',
        value: Math.round(fourLanes.perSecond),
        least: 25_000,
      },
      { what: 'a decision each 35 s: CPU of one', unit: 'ms', value: quiet.cpu, most: 4 },
    ],
  };
}

module.exports = { run };

serveChild(module, child);
