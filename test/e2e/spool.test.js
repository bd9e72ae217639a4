'use strict';

/**
 * A spool in real processes, which are killed: each decision whose listener has returned arrives, is counted once, and
 * in the order of its user.
 *
 *   OA_SPOOL_KILLS=200 node --test test/e2e/spool.test.js   for longer
 *   OA_SPOOL_SEED=7                                         at other moments
 */

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');

const { createDispatcher } = require('../../lib/index.js');
const { quietLogger, recordingLogger } = require('../support/dispatcher/loggers.js');
const { createNotification } = require('../support/optimizely/sdk.js');
const { startChild } = require('../support/process/child.js');
const {
  API_KEY,
  MIB,
  SPOOLER,
  deliverAll,
  makeDirectory,
  notMountable,
  quick,
  readProgress,
  seesNoOthers,
  startLife,
  startServer,
} = require('../support/process/lives.js');
const { wasmNotTestable } = require('../support/setup/prebuilds.js');
const { seededRandom } = require('../support/util/random.js');

const KILLS = Number(process.env.OA_SPOOL_KILLS ?? 12);
const SEED = Number(process.env.OA_SPOOL_SEED ?? 1);

/** A test with files that are mapped, if they can be, and one with files that are written to. */
function inBothKinds(title, ...rest) {
  const body = rest.pop();
  it(title, ...rest, body);
  it(`${title}, where no file is mapped`, ...rest, async (t) => {
    process.env.OA_SPOOL_APPENDS = '1';
    t.after(() => delete process.env.OA_SPOOL_APPENDS);
    await body(t);
  });
}

/** A directory in a file system of its own, of a type that is not mapped; or null, and the test is skipped. */
function makeDisk(t, type) {
  const directory = makeDirectory(t, true);
  const image = path.join(path.dirname(directory), 'image');
  fs.mkdirSync(directory, { mode: 0o700 });
  try {
    fs.closeSync(fs.openSync(image, 'w'));
    fs.truncateSync(image, 128 * MIB);
    execFileSync(`mkfs.${type}`, ['-q', image], { stdio: 'ignore' });
    execFileSync('mount', ['-o', 'loop', image, directory], { stdio: 'ignore' });
  } catch {
    t.skip(`${type} cannot be mounted here`);
    return null;
  }
  fs.chmodSync(directory, 0o700);
  return directory;
}

describe('a spool', () => {
  inBothKinds(
    `loses nothing in ${KILLS} kills, and each decision is counted once, in order`,
    async (t) => {
      const random = seededRandom(SEED);
      const tally = await startServer(t);
      const directory = makeDirectory(t);
      const options = quick(tally.url, directory, { maxQueueBytes: MIB });
      const lives = [];
      let millis = 0;
      for (let life = 0; life < KILLS; life++) {
        const isDown = random(3) === 0;
        tally.fault = () => (isDown ? 'down' : [null, null, 'down', 'lost'][random(4)]);
        const progress = path.join(path.dirname(directory), `progress-${life}`);
        const child = await startLife(t, { options, life, progress });
        const since = performance.now();
        await wait(random(250));
        child.kill('SIGKILL');
        millis += performance.now() - since;
        await child.ended;
        lives.push(readProgress(progress));
      }
      tally.fault = () => null;
      await deliverAll(options);
      assert.equal(tally.error, undefined);
      lives.forEach(({ returned, unwritten }, life) => {
        const count = tally.count(life);
        assert.ok(count >= returned - unwritten, `life ${life}: ${count} of ${returned}`);
      });
      const sum = (name) => lives.reduce((total, life) => total + life[name], 0);
      const total = sum('returned');
      assert.ok(total > KILLS * 100);
      assert.deepEqual(fs.readdirSync(directory), []);
      t.diagnostic(
        `${total} decisions, ${Math.round(total / (millis / 1000))}/s, ${tally.repeats} repeats, ${sum('unwritten')} that no file had room for in time`,
      );
    },
  );

  inBothKinds(
    'is shared: eight processes are killed, and the one that comes next delivers for all',
    async (t) => {
      const tally = await startServer(t);
      tally.inOrder = false; // each process has a time of its own
      const directory = makeDirectory(t);
      // Another server, since a request of a process that is killed may arrive later.
      const down = await startServer(t);
      down.fault = () => 'down';
      const options = quick(tally.url, directory);
      const lives = Array.from({ length: 8 }, (_, life) => life);
      const children = await Promise.all(
        lives.map((life) =>
          startLife(t, { options: quick(down.url, directory), life, count: 500 }),
        ),
      );
      children.forEach((child) => child.kill('SIGKILL'));
      await Promise.all(children.map((child) => child.ended));
      const heirs = await Promise.all(
        [8, 9].map((life) => startLife(t, { options, life, count: 100 })),
      );
      await deliverAll(options, heirs.length);
      for (const heir of heirs) {
        const report = await heir.ask({ do: 'close', timeoutMillis: 60_000 });
        assert.equal(report.pending, 0);
      }
      assert.equal(tally.error, undefined);
      assert.deepEqual(
        [...lives, 8, 9].map((life) => tally.count(life)),
        [...lives.map(() => 500), 100, 100],
      );
      assert.equal(tally.repeats, 0);
      assert.deepEqual(fs.readdirSync(directory), []);
    },
  );

  it('keeps what close() could not deliver, which the next process does', async (t) => {
    const tally = await startServer(t);
    const directory = makeDirectory(t);
    const options = quick(tally.url, directory);
    tally.fault = () => 'down';
    const child = await startLife(t, { options, life: 0, count: 1000 });
    const report = await child.ask({ do: 'close', timeoutMillis: 300 });
    assert.equal(report.pending, 1000);
    assert.equal(report.dropped, 0);
    const { decisions } = await child.ask({ do: 'stats' });
    assert.equal(decisions.pending, 1000);
    child.kill('SIGKILL');
    await child.ended;
    tally.fault = () => null;
    const stats = await deliverAll(options);
    assert.equal(stats.spool.found, 1000);
    const { seen, accepted, delivered } = stats.decisions;
    assert.deepEqual(
      { seen, accepted, delivered },
      { seen: 1000, accepted: 1000, delivered: 1000 },
    );
    assert.equal(tally.count(0), 1000);
    assert.equal(tally.error, undefined);
  });

  it('delivers what an exit left, and the log speaks of no loss', async (t) => {
    const tally = await startServer(t);
    const directory = makeDirectory(t);
    const options = quick(tally.url, directory);
    tally.fault = () => 'down';
    const child = startChild(t, [
      '-e',
      `process.argv[2] = ${JSON.stringify(JSON.stringify({ options, life: 0, count: 300 }))};
       require(${JSON.stringify(SPOOLER)}); process.exit(0);`,
    ]);
    await child.endsWith(0);
    assert.doesNotMatch(child.output, /undelivered/);
    tally.fault = () => null;
    await deliverAll(options);
    assert.equal(tally.count(0), 300);
  });

  inBothKinds(
    'takes what does not fit into memory in an outage, and memory stays as it is',
    async (t) => {
      const tally = await startServer(t);
      const directory = makeDirectory(t);
      const options = quick(tally.url, directory, { maxQueueBytes: MIB });
      tally.fault = () => 'down';
      const child = await startLife(t, { options, life: 0, count: 20_000 });
      const before = await child.ask({ do: 'stats' });
      for (let i = 0; i < 10; i++) {
        await child.ask({ do: 'decide', many: 10_000 });
      }
      const { decisions, queue, spool, rss } = await child.ask({ do: 'stats' });
      assert.equal(decisions.pending, 120_000);
      assert.equal(decisions.dropped.total, 0);
      assert.ok(spool.diskOnly > 90_000 && spool.unwritten === 0);
      assert.ok(queue.highWaterBytes <= 1.5 * MIB);
      t.diagnostic(`rss ${before.rss / MIB} -> ${rss / MIB} MiB, ${spool.bytes / MIB} MiB on disk`);
      tally.fault = () => null;
      const report = await child.ask({ do: 'flush', timeoutMillis: 60_000 });
      assert.equal(report.delivered, 120_000);
      assert.equal(tally.count(0), 120_000);
      assert.equal(tally.error, undefined);
    },
  );

  it('is full at maxBytes: then memory takes the rest, and what that has no room for is dropped', async (t) => {
    const tally = await startServer(t);
    const directory = makeDirectory(t);
    const options = quick(tally.url, directory, { maxQueueBytes: MIB });
    options.spool.maxBytes = 4 * MIB;
    tally.fault = () => 'down';
    const child = await startLife(t, { options, life: 0, count: 60_000 });
    const { decisions, spool } = await child.ask({ do: 'stats' });
    assert.match(spool.error, /maxBytes/);
    assert.ok(decisions.dropped.queue_full > 0);
    assert.equal(decisions.accepted, decisions.pending + decisions.dropped.total);
    tally.fault = () => null;
    await child.ask({ do: 'flush', timeoutMillis: 60_000 });
    assert.equal(tally.count(0), decisions.pending);
  });

  inBothKinds('goes on in memory on a disk that is full', { skip: notMountable() }, async (t) => {
    const tally = await startServer(t);
    const directory = makeDirectory(t, true);
    fs.mkdirSync(directory);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m,mode=700', 'tmpfs', directory]);
    tally.fault = () => 'down';
    const options = quick(tally.url, directory, { maxQueueBytes: MIB });
    const child = await startLife(t, { options, life: 0, count: 100_000 });
    const { decisions, spool } = await child.ask({ do: 'stats' });
    assert.match(spool.error, /5 % of the disk|No space left/);
    assert.equal(decisions.accepted, decisions.pending + decisions.dropped.queue_full);
    tally.fault = () => null;
    await child.ask({ do: 'flush', timeoutMillis: 60_000 });
    assert.equal(tally.count(0), decisions.pending);
    assert.equal(tally.error, undefined);
  });

  it('is kept on btrfs, where a mapping could end the process: full, killed, delivered', async (t) => {
    const tally = await startServer(t);
    const directory = makeDisk(t, 'btrfs');
    if (directory === null) {
      return;
    }
    tally.fault = () => 'down';
    const options = quick(tally.url, directory, { maxQueueBytes: MIB });
    const child = await startLife(t, { options, life: 0, count: 40_000 });
    assert.doesNotMatch(fs.readFileSync(`/proc/${child.pid}/maps`, 'utf8'), /\.journal/);
    const filler = fs.openSync(path.join(directory, 'filler'), 'w');
    assert.throws(() => {
      for (;;) {
        fs.writeSync(filler, Buffer.alloc(MIB, 1));
      }
    }, /ENOSPC/);
    fs.closeSync(filler);
    await child.ask({ do: 'decide', many: 40_000 });
    const { decisions, spool } = await child.ask({ do: 'stats' });
    assert.match(spool.error, /5 % of the disk|No space left/);
    assert.equal(decisions.accepted, decisions.pending + decisions.dropped.queue_full);
    child.kill('SIGKILL');
    await child.ended;
    fs.rmSync(path.join(directory, 'filler'));
    const free = () => fs.statfsSync(directory).bavail * fs.statfsSync(directory).bsize;
    for (let i = 0; i < 2000 && free() < 32 * MIB; i++) {
      execFileSync('sync', ['-f', directory]); // btrfs gives room back with its next transaction
      await wait(5);
    }
    tally.fault = () => null;
    await deliverAll(options);
    assert.ok(tally.count(0) >= 40_000, `${tally.count(0)}`);
    assert.equal(tally.error, undefined);
    assert.deepEqual(fs.readdirSync(directory), []);
  });

  it("has flush() wait for the disk with syncIntervalMillis: 'always'", async (t) => {
    const tally = await startServer(t);
    const directory = makeDirectory(t);
    const options = quick(tally.url, directory);
    options.spool.syncIntervalMillis = 'always';
    tally.fault = () => 'down';
    const child = await startLife(t, { options, life: 0, count: 1000 });
    const report = await child.ask({ do: 'flush', timeoutMillis: 100 });
    assert.equal(report.pending, 1000);
    child.kill('SIGKILL');
    await child.ended;
    tally.fault = () => null;
    await deliverAll(options);
    assert.equal(tally.count(0), 1000);
  });

  it('is deleted by setOptOut(true, { purge: true })', async (t) => {
    const tally = await startServer(t);
    const directory = makeDirectory(t);
    const options = quick(tally.url, directory);
    tally.fault = () => 'down';
    const child = await startLife(t, { options, life: 0, count: 500 });
    child.kill('SIGKILL');
    await child.ended;
    tally.fault = () => null;
    const logger = recordingLogger();
    const dispatcher = createDispatcher({ apiKey: API_KEY, logger, optOut: true, ...options });
    dispatcher.setOptOut(true, { purge: true });
    for (let i = 0; i < 2000 && !seesNoOthers(dispatcher, directory); i++) {
      await wait(5);
    }
    assert.equal(dispatcher.stats().decisions.dropped.opted_out, 500);
    await dispatcher.close();
    assert.deepEqual(logger.warnings, [], 'it is what was asked for');
    assert.equal(tally.count(0), 0);
    assert.deepEqual(fs.readdirSync(directory), []);
    assert.throws(() => dispatcher.setOptOut(true, { purges: true }), /did you mean 'purge'/);
  });

  it('is what bounds an outage, as the log says', async (t) => {
    const tally = await startServer(t);
    tally.fault = () => 'down';
    const logger = recordingLogger();
    const options = quick(tally.url, makeDirectory(t));
    const dispatcher = createDispatcher({ apiKey: API_KEY, logger, ...options });
    dispatcher.onDecision(createNotification('user_1'));
    await dispatcher.close({ timeoutMillis: 500 });
    const outage = logger.warnings.find((line) => /does not take decisions/.test(line));
    assert.match(outage, /kept for 24 hours, as far as the maxBytes of the spool holds them/);
  });

  it('is made for this user alone', async (t) => {
    const tally = await startServer(t);
    const directory = makeDirectory(t);
    const dispatcher = createDispatcher({
      apiKey: API_KEY,
      logger: quietLogger,
      serverUrl: tally.url,
      spool: { directory },
    });
    dispatcher.onDecision(createNotification('user'));
    assert.equal(fs.statSync(directory).mode & 0o777, 0o700);
    for (const name of fs.readdirSync(directory)) {
      assert.equal(fs.statSync(path.join(directory, name)).mode & 0o777, 0o600);
      assert.ok(!name.includes(API_KEY));
    }
    await dispatcher.close();
  });

  it('refuses a directory that is no good, and says what to do', (t) => {
    const directory = makeDirectory(t);
    const create = (more) => () =>
      createDispatcher({ apiKey: API_KEY, logger: quietLogger, spool: { directory }, ...more });
    fs.mkdirSync(directory, { mode: 0o755 });
    assert.throws(create(), { code: 'ERR_OA_OPTION', message: /chmod 700/ });
    fs.rmdirSync(directory);
    fs.writeFileSync(directory, '');
    assert.throws(create(), { code: 'ERR_OA_OPTION', message: /Not a directory/ });
    assert.throws(create({ spool: { directory: '/proc/oa' } }), {
      code: 'ERR_OA_OPTION',
      message: /cannot be made/,
    });
  });

  it('is refused with WebAssembly', { skip: wasmNotTestable() }, () => {
    const options = { apiKey: API_KEY, engine: 'wasm', spool: { directory: '/tmp/oa-never' } };
    assert.throws(() => createDispatcher(options), {
      code: 'ERR_OA_OPTION',
      message: /native addon/,
    });
  });
});
