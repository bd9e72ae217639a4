'use strict';

/**
 * Common parts of the benchmarks: the sink, processes to measure in, medians, and tables.
 *
 * Each benchmark is a module with `run(context)`, which returns { tables, bars }, and usually
 * `child(options)`, which runs in a process of its own.
 */

const { execFileSync, fork, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');

const BUILD = path.join(__dirname, '../../build/bench');

/**
 * Start the sink; resolves to { url, port, stop }. `certificates` make it speak TLS; with `closes` each connection ends
 * with its first answer.
 */
async function startSink({ port = 0, delayMillis = 0, certificates, closes = false } = {}) {
  const args = ['--port', port, '--delay-ms', delayMillis].map(String);
  if (certificates !== undefined) {
    args.push('--cert', certificates.cert, '--key', certificates.key);
  }
  if (closes) {
    args.push('--closes', '1');
  }
  const origin = certificates === undefined ? 'http://127.0.0.1' : 'https://localhost';
  const sink = spawn(path.join(BUILD, 'sink'), args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const [text] = await once(sink.stdout, 'data');
  const stop = async () => {
    sink.stdin.end();
    await once(sink, 'exit');
  };
  return {
    url: `${origin}:${parseInt(text, 10)}/2/httpapi`,
    port: parseInt(text, 10),
    stop,
  };
}

/** A closed port of loopback, which stays closed for a moment at least. */
async function freePort() {
  const sink = await startSink();
  await sink.stop();
  return sink.port;
}

/** CPU of one decision sent by the C program, in microseconds. */
function runLimit(url, { file, decisions }, count, gzip, caFile) {
  const more = [...(gzip ? ['gzip'] : []), ...(caFile === undefined ? [] : [caFile])];
  const args = [url, file, decisions, count, ...more].map(String);
  return Number(execFileSync(path.join(BUILD, 'limit'), args, { encoding: 'utf8' }));
}

/** Run child(options) of a benchmark in a process of its own, and resolve to what that resolves to. */
async function inChild(file, options, execArgv = []) {
  const child = fork(file, ['--child'], {
    execArgv,
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const result = new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code, signal) =>
      reject(
        new Error(
          `${path.basename(file)} ended with ${signal ?? code}: ${JSON.stringify(options)}`,
        ),
      ),
    );
  });
  child.send(options);
  try {
    return await result;
  } finally {
    child.kill();
  }
}

/** Called at the end of a benchmark's module: runs child(options) when this process is the child. */
function serveChild(module, child) {
  if (require.main === module && process.argv[2] === '--child') {
    process.once('message', async (options) => {
      process.send(await child(options));
    });
  }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value below which `fraction` of them are. */
function quantile(values, fraction) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))];
}

/** The median of each property over several results. */
function medians(results) {
  return Object.fromEntries(
    Object.keys(results[0]).map((key) => [key, median(results.map((result) => result[key]))]),
  );
}

async function repeat(times, measure) {
  const results = [];
  for (let i = 0; i < times; i++) {
    results.push(await measure(i));
  }
  return results;
}

/** CPU time of the whole process since it started, in microseconds: all its threads. */
function cpuMicros() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** CPU time of the thread that runs the event loop, in microseconds; NaN where the system does not provide it. */
function loopMicros() {
  try {
    return Number(fs.readFileSync('/proc/self/schedstat', 'utf8').split(' ', 1)[0]) / 1000;
  } catch {
    return NaN;
  }
}

const nextTurn = () =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

const sleep = (millis) =>
  new Promise((resolve) => {
    setTimeout(resolve, millis);
  });

/** A number with three significant digits, and no more than it needs. */
function format(value) {
  if (typeof value !== 'number') {
    return value ?? '';
  }
  if (!Number.isFinite(value)) {
    return '–';
  }
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en-US', {
    minimumFractionDigits: Math.min(digits, 2),
    maximumFractionDigits: Math.min(digits, 2),
  });
}

function markdown({ title, columns, rows }) {
  const line = (cells) => `| ${cells.join(' | ')} |`.replace(/ {2}(?=\|)/g, ' ');
  return [
    `**${title}**`,
    '',
    line(columns),
    line(columns.map((_, i) => (i === 0 ? '---' : '---:'))),
    ...rows.map((row) => line(row.map(format))),
    '',
  ].join('\n');
}

module.exports = {
  cpuMicros,
  format,
  freePort,
  inChild,
  loopMicros,
  markdown,
  median,
  medians,
  nextTurn,
  quantile,
  repeat,
  runLimit,
  serveChild,
  sleep,
  startSink,
};
