'use strict';

/**
 * Audiences that share their members through a Redis: the memory of the server, and what a process that starts costs, beside
 * a client that only reads the same pieces.
 */

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { Redis } = require('ioredis');

const { Audiences } = require('../../lib/audiences/audiences.js');
const { resolveOptions } = require('../../lib/audiences/options.js');
const { quietLogger } = require('../support/dispatcher/loggers.js');
const { startRedis } = require('../support/store/redis.js');
const { cpuMicros, inChild, medians, repeat, serveChild, sleep } = require('./measure.js');

const LOOK_MILLIS = 20;
/** The server frees nothing while this is going on. */
const SETTLED_MILLIS = 1000;

const create = (file, store) =>
  new Audiences(
    resolveOptions({
      source: 'file',
      secretKey: 'a-secret-of-all-processes',
      cohorts: { power: file },
      pollIntervalMillis: 500,
      store,
      logger: quietLogger,
    }),
  );

/** The version that is there, and the beginning of the names of its pieces; null without one. */
async function versionOf(redis) {
  const [head] = await redis.keys('*:head');
  const state = head === undefined ? null : await redis.hget(head, 'state');
  const version = state === null ? null : JSON.parse(state.slice(1)).version;
  return version === null ? null : { ...version, prefix: head.replace(/head$/, `${version.id}:`) };
}

// ---- what is measured, each in a process of its own -------------------------------------------------

const timed = async (perform) => {
  const started = performance.now();
  const cpu = cpuMicros();
  await perform();
  return { millis: performance.now() - started, cpuMillis: (cpuMicros() - cpu) / 1000 };
};

/** A process that starts, until it has the members. */
async function measureFollower({ port, file, members }) {
  const redis = new Redis(port);
  await redis.ping();
  let audiences;
  const result = await timed(async () => {
    audiences = create(file, redis);
    const { cohorts } = await audiences.ready({ timeoutMillis: 60_000 });
    if (cohorts.power.size !== members || cohorts.power.source !== 'store') {
      throw new Error(`${cohorts.power.size} members came from ${cohorts.power.source}`);
    }
  });
  await audiences.close();
  await redis.quit();
  return result;
}

/** A client that reads the pieces, and does nothing with them. */
async function measureClient({ port }) {
  const redis = new Redis(port);
  const { pieces, prefix } = await versionOf(redis);
  const result = await timed(async () => {
    for (let piece = 0; piece < pieces; piece++) {
      await redis.get(`${prefix}${piece}`);
    }
  });
  await redis.quit();
  return { ...result, pieces };
}

const MEASURES = { follower: measureFollower, client: measureClient };
const child = ({ what, ...options }) => MEASURES[what](options);
const measure = (what, options) => inChild(__filename, { what, ...options });

// ---- all of it --------------------------------------------------------------------------------------

/** Replace a list of ids of 20 bytes. */
function writeIds(file, members, first) {
  const out = fs.openSync(`${file}.new`, 'w');
  for (let at = 0; at < members; at += 10_000) {
    const ids = Array.from({ length: 10_000 }, (_, i) => String(first + at + i).padStart(16, '0'));
    fs.writeSync(out, ids.map((id) => `user${id}\n`).join(''));
  }
  fs.closeSync(out);
  fs.renameSync(`${file}.new`, file);
}

async function run({ quick }) {
  const members = (quick ? 1 : 10) * 1_000_000;
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-bench-'));
  const file = path.join(directory, 'ids.txt');
  const ends = [() => fs.rmSync(directory, { recursive: true })];
  try {
    const { port } = await startRedis({ after: (end) => ends.push(end) });
    const redis = new Redis(port);
    ends.push(() => redis.disconnect());
    const memory = async () => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))[1]);
    const empty = await memory();
    writeIds(file, members, 0);
    const leader = create(file, redis);
    ends.push(() => leader.close());
    /** Resolves when there is another version than `id`; the most memory until then, and a little longer. */
    const published = async (id) => {
      let most = 0;
      for (let since = null; since === null || performance.now() - since < SETTLED_MILLIS;) {
        await sleep(LOOK_MILLIS);
        most = Math.max(most, await memory());
        const version = await versionOf(redis);
        since ??= version !== null && version.id !== id ? performance.now() : null;
      }
      return most - empty;
    };
    const bytes = await published(null);
    const options = { port, file, members };
    const follower = medians(await repeat(5, () => measure('follower', options)));
    const client = medians(await repeat(5, () => measure('client', options)));
    const { id } = await versionOf(redis);
    writeIds(file, members, 1000);
    const both = await published(id);
    return tablesOf({ members, table: leader.status().bytes, bytes, both, follower, client });
  } finally {
    for (const end of ends.reverse()) {
      await end();
    }
  }
}

function tablesOf({ members, table, bytes, both, follower, client }) {
  return {
    tables: [
      {
        title: `${members / 1e6} million members through a Redis, in ${client.pieces} pieces`,
        columns: ['', ''],
        rows: [
          ['the members, MB', table / 1e6],
          ['memory of the server, MB', bytes / 1e6],
          ['while one version replaces another, MB', both / 1e6],
          ['a process that starts, until it has them, ms', follower.millis],
          ['its CPU, ms', follower.cpuMillis],
          ['CPU of a client that only reads them, ms', client.cpuMillis],
          ['of that, a piece, ms', client.cpuMillis / client.pieces],
        ],
      },
    ],
    bars: [],
  };
}

module.exports = { run };

serveChild(module, child);
