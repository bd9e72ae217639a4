'use strict';

/**
 * Audiences as an application has them: attributes, what a refresh does to the event loop, a snapshot, a webhook, and a
 * cohort of 50 million users from a server that makes up their ids.
 */

const { execFileSync, fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { monitorEventLoopDelay, performance } = require('node:perf_hooks');

const { Audiences } = require('../../lib/audiences/audiences.js');
const { resolveOptions } = require('../../lib/audiences/options.js');
const { snapshotPath } = require('../../lib/audiences/snapshot.js');
const { quietLogger } = require('../support/dispatcher/loggers.js');
const { cpuMicros, inChild, median, medians, repeat, serveChild, sleep } = require('./measure.js');

const PROGRAM = path.join(__dirname, '../../build/bench/cohort');
const KEYS = { apiKey: 'an-api-key', secretKey: 'a-secret-key-of-a-project' };
const EIGHT = Object.fromEntries([...'abcdefgh'].map((id) => [`amplitude_cohort_${id}`, id]));
const NOWHERE = 'http://127.0.0.1:9';
const REFRESHES = 7;
const MESSAGES = 50;
const MESSAGE_USERS = 10_000;

const create = (options) => {
  const resolved = resolveOptions({ ...KEYS, logger: quietLogger, ...options });
  return new Audiences(resolved);
};

/** The options with which audiences find a snapshot in a directory. */
const withSnapshot = (directory) => ({
  serverUrl: NOWHERE,
  cohorts: EIGHT,
  snapshot: { directory },
});

const rss = () => process.memoryUsage.rss();

// ---- what is measured, each in a process of its own -------------------------------------------------

/** CPU of a call for users at random, and for the same users again, in ns. */
function measureAttributes({ directory, idsFile }) {
  const started = performance.now();
  const audiences = create(withSnapshot(directory));
  const readyMillis = performance.now() - started;
  const ids = fs
    .readFileSync(idsFile, 'utf8')
    .trimEnd()
    .split('\n')
    .map((id) => Buffer.from(id).toString());
  const few = ids.map((_, index) => ids[index % 100]);
  let length = 0;
  const nanos = (list, call) => {
    const runs = Array.from({ length: 7 }, () => {
      const before = cpuMicros();
      for (const id of list) {
        length += call(id) === null ? 0 : 1;
      }
      return ((cpuMicros() - before) / list.length) * 1000;
    });
    return median(runs);
  };
  const plan = { plan: 'pro' };
  return {
    readyMillis,
    length,
    none: nanos(ids, (id) => id),
    attributes: nanos(ids, (id) => audiences.attributes(id)),
    withGiven: nanos(ids, (id) => audiences.attributes(id, plan)),
    again: nanos(few, (id) => audiences.attributes(id)),
    has: nanos(ids, (id) => audiences.has(id, 'amplitude_cohort_c')),
  };
}

/**
 * What refreshes of a large cohort do to the loop, and what as much time without one does. No call of ours can hold the
 * loop for longer than it is busy in a whole refresh.
 */
async function measureStall({ files }) {
  const file = path.join(path.dirname(files[0]), 'cohort.json');
  fs.linkSync(files[0], file);
  let wake;
  const audiences = create({
    source: 'file',
    cohorts: { power: file },
    pollIntervalMillis: 50,
    onChange: () => wake?.(),
  });
  const { cohorts } = await audiences.ready({ timeoutMillis: 120_000 });
  const alive = setInterval(() => {}, 1_000_000); // audiences keep no process alive
  /** What the loop does until a promise is settled: how long it was busy in all, and its longest delay, in ms. */
  const watch = async (promise) => {
    const started = performance.now();
    const before = performance.eventLoopUtilization();
    await promise;
    const { active } = performance.eventLoopUtilization(before);
    return { active, millis: performance.now() - started };
  };
  const delay = async (promise) => {
    const delays = monitorEventLoopDelay({ resolution: 1 });
    delays.enable();
    await promise;
    delays.disable();
    return delays.max / 1e6;
  };
  let version = 0;
  const replace = () => {
    version = 1 - version;
    const changed = new Promise((resolve) => {
      wake = resolve;
    });
    fs.linkSync(files[version], `${file}.new`);
    fs.renameSync(`${file}.new`, file);
    return changed;
  };
  const busy = [];
  const idle = [];
  for (let round = 0; round < REFRESHES; round++) {
    const refresh = await watch(replace());
    const control = await watch(sleep(refresh.millis));
    busy.push({ ...refresh, delay: await delay(replace()) });
    idle.push({ ...control, delay: await delay(sleep(refresh.millis)) });
  }
  clearInterval(alive);
  await audiences.close();
  return { members: cohorts.power.size, refresh: medians(busy), idle: medians(idle) };
}

/** Messages of 10,000 users, from the client's first byte to the answer, with the client in the same process. */
async function measureWebhook() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-bench-'));
  const file = path.join(directory, 'cohort.txt');
  fs.writeFileSync(file, 'ann\n');
  fs.utimesSync(file, 1, 1);
  const audiences = create({ source: 'file', cohorts: { power: file } });
  await audiences.ready();
  const secret = 'a-secret-of-a-benchmark';
  const server = http.createServer(audiences.webhook({ secret, cohorts: { power: 'c' } }));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const bodies = Array.from({ length: MESSAGES }, (_, number) =>
    JSON.stringify({
      cohort_name: 'c',
      cohort_id: 'c',
      in_cohort: true,
      computed_time: '1700000000',
      message_id: `m::enter::${number}`,
      users: Array.from({ length: MESSAGE_USERS }, (__, index) => ({
        user_id: `user${String(number * MESSAGE_USERS + index).padStart(16, '0')}`,
      })),
    }),
  );
  const agent = new http.Agent({ keepAlive: true });
  const results = [];
  for (const body of bodies) {
    const started = performance.now();
    const cpu = cpuMicros();
    const request = http.request({
      agent,
      port: server.address().port,
      method: 'POST',
      headers: { 'x-webhook-secret': secret, 'content-length': body.length },
    });
    request.end(body);
    const [response] = await once(request, 'response');
    response.resume();
    await once(response, 'end');
    if (response.statusCode !== 200) {
      throw new Error(`a message was answered with ${response.statusCode}`);
    }
    results.push({ millis: performance.now() - started, cpuMillis: (cpuMicros() - cpu) / 1000 });
  }
  agent.destroy();
  server.close();
  await audiences.close();
  fs.rmSync(directory, { recursive: true });
  return medians(results);
}

/** Loads a cohort of a server; the memory that it takes once it is loaded. */
async function measureLoad({ members, ...options }) {
  const before = rss();
  const audiences = create({ cohorts: { power: 'c' }, ...options });
  const cpu = cpuMicros();
  const { cohorts, bytes } = await audiences.ready({ timeoutMillis: 600_000 });
  const result = {
    cpuSeconds: (cpuMicros() - cpu) / 1e6,
    size: cohorts.power.size,
    bytes,
    residentBytes: rss() - before,
  };
  if (result.size !== members) {
    throw new Error(`${result.size} members were loaded`);
  }
  await audiences.close();
  return result;
}

const MEASURES = {
  attributes: measureAttributes,
  stall: measureStall,
  webhook: measureWebhook,
  load: measureLoad,
};

const child = ({ what, ...options }) => MEASURES[what](options);
const measure = (what, options = {}) => inChild(__filename, { what, ...options });

// ---- what it is measured with -----------------------------------------------------------------------

/** Write the JSON of a cohort of which one member in ten is another than in the file before. */
async function writeCohort(file, members, version) {
  const stream = fs.createWriteStream(file);
  stream.write(
    `{"cohortId":"c","groupType":"User","lastModified":${version},"size":${members},"memberIds":[`,
  );
  for (let at = 0; at < members; at += 10_000) {
    const part = Array.from(
      { length: 10_000 },
      (_, index) =>
        `"user${String((at + index) * 10 + (index % 10 === 0 ? version : 0)).padStart(16, '0')}"`,
    );
    if (!stream.write((at === 0 ? '' : ',') + part.join(','))) {
      await once(stream, 'drain');
    }
  }
  stream.end(']}');
  await once(stream, 'close');
}

/** A server, in a process of its own, of a cohort whose ids are made as they are sent. */
async function startServer(members) {
  const server = fork(__filename, ['--server', String(members)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [options] = await once(server, 'message');
  return { options, stop: () => server.kill() };
}

async function serve(members) {
  const { CohortServer } = require('../support/audiences/server.js');
  process.once('disconnect', () => process.exit());
  const server = await new CohortServer().listen();
  server.set('c', { count: members, nameOf: (index) => `user${String(index).padStart(16, '0')}` });
  process.send(server.options);
}

// ---- all of it --------------------------------------------------------------------------------------

async function run({ quick }) {
  const millions = quick ? 1 : 10;
  const most = quick ? 2 : 50;
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-bench-'));
  try {
    const options = resolveOptions({ ...KEYS, ...withSnapshot(directory) });
    const snapshot = snapshotPath(options, null);
    execFileSync(PROGRAM, ['snapshot', snapshot, KEYS.secretKey, String(millions)]);
    const calls = medians(
      await repeat(3, () => measure('attributes', { directory, idsFile: `${snapshot}.ids` })),
    );
    const files = [1, 2].map((version) => path.join(directory, `version-${version}.json`));
    await Promise.all(
      files.map((file, index) => writeCohort(file, millions * 1_000_000, index + 1)),
    );
    const stall = await measure('stall', { files });
    files.forEach((file) => fs.rmSync(file));
    const webhook = await measure('webhook');
    const server = await startServer(most * 1_000_000);
    const load = await measure('load', { members: most * 1_000_000, ...server.options });
    server.stop();
    return tablesOf({ millions, most, calls, stall, webhook, load });
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

function tablesOf({ millions, most, calls, stall, webhook, load }) {
  const attributes = (calls.attributes - calls.none) / 1000;
  return {
    tables: [
      {
        title: `Audiences: 8 cohorts, ${millions} million users, each in four of them; ns of CPU`,
        columns: ['', 'ns'],
        rows: [
          ['attributes(id), users at random', calls.attributes],
          ["attributes(id, { plan: 'pro' })", calls.withGiven],
          ['attributes(id), the same 100 users again', calls.again],
          ['has(id, attribute), users at random', calls.has],
          ['a loop over the ids alone', calls.none],
        ],
      },
      {
        title: `The event loop while ${millions} million members are refreshed, and in as much time in which only a file is looked at, each 50 ms; ms`,
        columns: ['', 'a refresh', 'without'],
        rows: [
          ['it takes', stall.refresh.millis, stall.idle.millis],
          ['the loop is busy, in all its turns together', stall.refresh.active, stall.idle.active],
          ['the longest delay of a timer of 1 ms', stall.refresh.delay, stall.idle.delay],
        ],
      },
      {
        title: `A cohort of ${most} million users from a server`,
        columns: ['', ''],
        rows: [
          ['memory, MB', load.residentBytes / 1e6],
          ['of that, the table, MB', load.bytes / 1e6],
          ['bytes a member', load.residentBytes / load.size],
          ['CPU, s', load.cpuSeconds],
        ],
      },
      {
        title: 'A message of a webhook with 10,000 users, with its sender; ms',
        columns: ['', ''],
        rows: [
          ['from the first byte to the answer', webhook.millis],
          ['CPU', webhook.cpuMillis],
        ],
      },
    ],
    bars: [
      { what: 'attributes() with 8 cohorts', unit: 'µs', value: attributes, most: 0.5 },
      {
        what: 'the loop is busy, for a whole refresh',
        unit: 'ms',
        value: stall.refresh.active,
        most: 2,
      },
      { what: 'from a snapshot to ready', unit: 'ms', value: calls.readyMillis, most: 50 },
      { what: 'a message of 10,000 users', unit: 'ms', value: webhook.millis, most: 50 },
      {
        what: `a member of ${most} million`,
        unit: 'bytes',
        value: load.residentBytes / load.size,
        most: 12,
      },
    ],
  };
}

module.exports = { run };

serveChild(module, child);
if (require.main === module && process.argv[2] === '--server') {
  serve(Number(process.argv[3]));
}
