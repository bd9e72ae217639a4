'use strict';

/** Other work in the thread pool while the server is slow: fs, dns and crypto, with and without this package. */

const crypto = require('node:crypto');
const dns = require('node:dns/promises');
const fs = require('node:fs/promises');
const { promisify } = require('node:util');
const { createNotification } = require('./decisions.js');
const { inChild, median, quantile, serveChild, startSink } = require('./measure.js');
const { connect } = require('./subjects.js');

const pbkdf2 = promisify(crypto.pbkdf2);

const WORK = {
  'fs.stat': () => fs.stat(__filename),
  'dns.lookup': () => dns.lookup('localhost'),
  'crypto.pbkdf2': () => pbkdf2('password', 'salt', 1000, 32, 'sha256'),
  '4 × pbkdf2 at once': () =>
    Promise.all([1, 2, 3, 4].map(() => pbkdf2('password', 'salt', 1000, 32, 'sha256'))),
};

async function timesOf(work, count) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const started = performance.now();
    await work();
    times.push(performance.now() - started);
  }
  return times;
}

/** Keep `dispatchers` dispatchers busy: each always has a request in flight, or waits for a place. */
async function child({ dispatchers, count, serverUrl }) {
  const all = [];
  for (let i = 0; i < dispatchers; i++) {
    const one = await connect('ours', { serverUrl, requestTimeoutMillis: 600_000 });
    for (let j = 0; j < 5000; j++) {
      one.onDecision(createNotification(`user_${j}`));
    }
    all.push(one);
  }
  const result = {};
  for (const work of Object.values(WORK)) {
    await timesOf(work, 5);
  }
  for (const [name, work] of Object.entries(WORK)) {
    const times = await timesOf(work, count);
    result[name] = { p50: median(times), p99: quantile(times, 0.99) };
  }
  await Promise.all(
    all.map(
      ({ close, dispatcher }) => (
        dispatcher.setOptOut(true),
        dispatcher.close({ timeoutMillis: 0 }),
        close
      ),
    ),
  );
  return result;
}

async function run({ quick }) {
  const sink = await startSink({ delayMillis: 1000 });
  const rows = [];
  let without;
  const factors = [];
  for (const dispatchers of [0, 1, 2, 8]) {
    const result = await inChild(__filename, {
      dispatchers,
      count: quick ? 200 : 500,
      serverUrl: sink.url,
    });
    without ??= result;
    rows.push([
      dispatchers === 0 ? 'without us' : `dispatchers waiting for the server: ${dispatchers}`,
      ...Object.values(result).flatMap(({ p50, p99 }) => [p50, p99]),
    ]);
    factors.push(...Object.keys(WORK).map((name) => result[name].p50 / without[name].p50));
  }
  await sink.stop();
  return {
    tables: [
      {
        title:
          'Fairness: milliseconds (median, 99 %) of work in the thread pool while the server takes a second to answer',
        columns: ['', ...Object.keys(WORK).flatMap((name) => [name, '99 %'])],
        rows,
      },
    ],
    bars: [
      {
        what: 'slow server: slowest other work of the pool, times its time without us',
        value: Math.max(...factors),
        most: 2,
      },
    ],
  };
}

module.exports = { run };

serveChild(module, child);
