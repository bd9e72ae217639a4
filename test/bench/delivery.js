'use strict';

/**
 * End to end: CPU time of the whole process for one delivered decision, from its notification to the answer of the
 * server, which is another process. The lower bound is a C program that sends the same bytes.
 */

const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { decideMany } = require('./decisions.js');
const {
  cpuMicros,
  inChild,
  loopMicros,
  median,
  medians,
  repeat,
  runLimit,
  serveChild,
} = require('./measure.js');
const { NAMES, connect } = require('./subjects.js');

/** Decisions before the measurement, which compile the code and open the connection. */
const WARM_UP = { none: 100_000, ours: 100_000, wasm: 100_000, plain: 50_000, amplitude: 500 };
const DECISIONS_IN_BODY = 999;

async function child({ subject, count, rounds, ...options }) {
  const { onDecision, flush, close } = await connect(subject, options);
  let first = 0;
  const deliver = async (decisions) => {
    await decideMany(onDecision, decisions, first);
    await flush();
    first += decisions;
  };
  await deliver(WARM_UP[subject]);
  const results = [];
  for (let round = 0; round < rounds; round++) {
    const before = { cpu: cpuMicros(), loop: loopMicros(), now: performance.now() };
    await deliver(count);
    results.push({
      cpu: (cpuMicros() - before.cpu) / count,
      loop: (loopMicros() - before.loop) / count,
      wall: (1000 * (performance.now() - before.now)) / count,
    });
  }
  await close();
  return medians(results);
}

/** Write the bytes of one full request of this package to a file. */
async function captureBody(folder) {
  let body;
  const server = http.createServer(async (request, response) => {
    const chunks = await request.toArray();
    const bytes = Buffer.concat(chunks);
    body = body === undefined || bytes.length > body.length ? bytes : body;
    response.end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { onDecision, flush, close } = await connect('ours', {
    serverUrl: `http://127.0.0.1:${server.address().port}/2/httpapi`,
    gzip: false,
  });
  const filler = decideMany(onDecision, 20 * DECISIONS_IN_BODY, 1_000_000);
  await filler;
  await flush();
  await close();
  server.close();
  const decisions = body.toString().split('"$identify"').length - 1;
  const file = path.join(folder, 'body');
  fs.writeFileSync(file, body);
  return { file, decisions, bytes: body.length / decisions };
}

/** Deliver in a process of its own, some times; resolves to the medians of { cpu, loop, wall }, in microseconds. */
async function measureDelivery({ subject, count, ...options }, times) {
  const rounds = subject === 'amplitude' ? 1 : roundsOf(count);
  const run = () => inChild(__filename, { subject, count, rounds, ...options });
  return medians(await repeat(count > 1_000_000 ? 1 : times, run));
}

/** The number of rounds, enough for a measurement to take a while; the result is their median. */
const roundsOf = (count) => Math.max(1, Math.min(10, Math.round(200_000 / count)));

async function run({ serverUrl, quick }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-'));
  const body = await captureBody(folder);
  const sizes = quick ? [10_000, 100_000, 1_000_000] : [10_000, 100_000, 1_000_000, 5_000_000];
  const times = quick ? 1 : 3;
  const measure = async (subject, count, gzip = false) => ({
    subject,
    count,
    gzip,
    ...(await measureDelivery({ subject, count, gzip, serverUrl }, times)),
  });
  const limits = { false: [], true: [] };
  const measureLimit = async () => {
    for (const gzip of [false, true]) {
      limits[gzip].push(runLimit(serverUrl, body, gzip ? 200_000 : 1_000_000, gzip));
    }
  };

  const rows = [];
  for (const count of sizes) {
    await measureLimit();
    for (const gzip of [false, true]) {
      rows.push(await measure('ours', count, gzip));
    }
    if (count <= 1_000_000) {
      rows.push(await measure('wasm', count), await measure('wasm', count, true));
      rows.push(await measure('plain', count), await measure('plain', count, true));
    }
  }
  for (const count of [2000, 20_000]) {
    rows.push(await measure('amplitude', count));
  }
  rows.push(await measure('none', 1_000_000));
  await measureLimit();
  fs.rmSync(folder, { recursive: true });

  const limit = { false: median(limits.false), true: median(limits.true) };
  const find = (subject, count, gzip = false) =>
    rows.find((row) => row.subject === subject && row.count === count && row.gzip === gzip);
  const million = find('ours', 1_000_000);
  const amplitude = find('amplitude', 20_000);
  const order = ['none', 'ours', 'wasm', 'plain', 'amplitude'];
  rows.sort(
    (a, b) =>
      order.indexOf(a.subject) - order.indexOf(b.subject) || a.gzip - b.gzip || a.count - b.count,
  );
  return {
    tables: [
      {
        title: `End to end: microseconds of CPU for one delivered decision (${Math.round(body.bytes)} bytes of JSON)`,
        columns: [
          '',
          'decisions',
          'gzip',
          'CPU',
          'of it on the event loop',
          'elapsed',
          'CPU, times the limit',
        ],
        rows: [
          ...rows.map(({ subject, count, gzip, cpu, loop, wall }) => [
            NAMES[subject],
            count.toLocaleString('en-US'),
            gzip ? 'yes' : 'no',
            cpu,
            loop,
            wall,
            subject === 'none' ? '' : cpu / limit[gzip],
          ]),
          [
            'the limit: a C program sends the same bytes',
            '1,000,000',
            'no',
            limit.false,
            '',
            '',
            1,
          ],
          ['the same, compressing them with zlib', '200,000', 'yes', limit.true, '', '', 1],
        ],
      },
    ],
    bars: [
      {
        what: 'times less than plain JavaScript (1 M)',
        value: find('plain', 1_000_000).cpu / million.cpu,
        least: 10,
      },
      {
        what: 'CPU of one decision with WebAssembly, 1 M',
        unit: 'µs',
        value: find('wasm', 1_000_000).cpu,
        most: 3,
      },
      {
        what: 'event loop, times less than analytics-node',
        value: amplitude.loop / million.loop,
        least: 100,
      },
    ],
  };
}

module.exports = { captureBody, measureDelivery, run };

serveChild(module, child);
