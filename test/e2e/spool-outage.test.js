'use strict';

/**
 * A spool that holds much: an outage with a small memory, and processes that take it over, which are killed, too.
 *
 *   OA_SPOOL_OUTAGE=3600000 OA_SPOOL_LEFT=1000000 node --test test/e2e/spool-outage.test.js
 *
 * is an outage of an hour at 1,000 decisions a second, and a million that wait at the start.
 */

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');

const {
  MIB,
  deliverAll,
  makeDirectory,
  quick,
  readProgress,
  startLife,
  startServer,
} = require('../support/process/lives.js');
const { seededRandom } = require('../support/util/random.js');

const OUTAGE = Number(process.env.OA_SPOOL_OUTAGE ?? 200_000);
const LEFT = Number(process.env.OA_SPOOL_LEFT ?? 100_000);
const SLICE = 5000; // far fewer than the files that are ready take
const LONG = { timeoutMillis: 20 * 60_000 };

/** Leave so many decisions, of a process that is killed. */
async function leave(t, directory, life, count) {
  const down = await startServer(t);
  down.fault = () => 'down';
  const options = quick(down.url, directory, { maxQueueBytes: MIB });
  const child = await startLife(t, { options, life, count: 0 }, LONG);
  for (let left = count; left > 0; left -= SLICE) {
    await child.ask({ do: 'decide', many: Math.min(left, SLICE) });
  }
  const { decisions, spool } = await child.ask({ do: 'stats' });
  assert.equal(decisions.pending, count);
  child.kill('SIGKILL');
  await child.ended;
  return count - spool.unwritten;
}

const least = (numbers) => Math.min(...numbers);

describe('a spool that holds much', () => {
  it(`takes an outage of ${OUTAGE} decisions with 1 MiB of memory, and delivers all in order`, async (t) => {
    const tally = await startServer(t);
    tally.keepsIds = false;
    tally.fault = () => 'down';
    const directory = makeDirectory(t);
    const options = quick(tally.url, directory, { maxQueueBytes: MIB });
    const child = await startLife(t, { options, life: 0, count: 0 }, LONG);
    const rss = [];
    const started = performance.now();
    for (let made = 0; made < OUTAGE; made += SLICE) {
      await child.ask({ do: 'decide', many: Math.min(OUTAGE - made, SLICE) });
      rss.push((await child.ask({ do: 'stats' })).rss);
    }
    const decidedMillis = performance.now() - started;
    const before = await child.ask({ do: 'stats' });
    const { pending: waiting, dropped } = before.decisions;
    assert.deepEqual({ waiting, dropped: dropped.total }, { waiting: OUTAGE, dropped: 0 });
    assert.equal(before.spool.unwritten, 0);
    const warm = rss[Math.floor(rss.length / 5)];
    const most = Math.max(...rss);
    assert.ok(most < 1.25 * warm, `rss ${warm} -> ${most}`);
    tally.fault = () => null;
    const back = performance.now();
    const { delivered, pending } = await child.ask({ do: 'flush', ...LONG });
    const drainedMillis = performance.now() - back;
    assert.deepEqual({ delivered, pending }, { delivered: OUTAGE, pending: 0 });
    const after = await child.ask({ do: 'stats' });
    assert.ok(after.rss < 1.5 * warm, `rss ${warm} -> ${after.rss}`);
    assert.equal(tally.error, undefined);
    assert.equal(tally.count(0), OUTAGE);
    const mib = (bytes) => Math.round(bytes / MIB);
    t.diagnostic(
      `decided in ${Math.round(decidedMillis)} ms; rss ${mib(rss[0])}, ${mib(warm)} after a fifth, ` +
        `${mib(most)} at most, ${mib(after.rss)} at the end; ${mib(before.spool.bytes)} MiB on disk; ` +
        `drained in ${Math.round(drainedMillis)} ms`,
    );
  });

  it(`starts at once with ${LEFT} decisions of others, delivers them first, and does not hold the loop`, async (t) => {
    const tally = await startServer(t);
    const directory = makeDirectory(t);
    const empty = makeDirectory(t);
    const left = await leave(t, directory, 0, LEFT);
    const down = await startServer(t);
    down.fault = () => 'down';
    const starts = { empty: [], full: [] };
    for (let i = 0; i < 4; i++) {
      for (const [name, place] of Object.entries({ empty, full: directory })) {
        const options = quick(down.url, place, { maxQueueBytes: MIB });
        const child = await startLife(t, { options, life: 1 + i, count: 0 });
        starts[name].push((await child.ask({ do: 'stats' })).createMillis);
        child.kill('SIGKILL'); // while it adopts
        await child.ended;
      }
    }
    t.diagnostic(`createDispatcher(): ${least(starts.empty)} ms, ${least(starts.full)} ms`);
    assert.ok(least(starts.full) < 5 * least(starts.empty));
    const measure = async (place, life) => {
      const options = quick(tally.url, place, { maxQueueBytes: MIB });
      const child = await startLife(t, { options, life, count: 0 }, LONG);
      const heir = life === 8;
      const decided = heir ? 1000 : LEFT; // the one that has nothing to adopt has as many of its own
      await child.ask({ do: 'decide', many: 1000 });
      for (let made = 1000; made < decided; made += 1000) {
        await child.ask({ do: 'decide', many: 1000 });
      }
      for (let expected = heir ? left : LEFT; tally.count(heir ? 0 : life) < expected;) {
        await child.ask({ do: 'flush', timeoutMillis: 1000 });
      }
      const report = await child.ask({ do: 'flush', ...LONG });
      assert.equal(report.pending, 0);
      const stats = await child.ask({ do: 'stats' });
      child.kill('SIGKILL');
      await child.ended;
      return stats;
    };
    const heir = await measure(directory, 8);
    assert.equal(heir.spool.found, left);
    assert.equal(tally.count(8), 1000);
    const control = await measure(empty, 9);
    t.diagnostic(
      `longest delay of the loop: ${heir.delayMillis} ms, ${control.delayMillis} without adopting`,
    );
    assert.ok(heir.delayMillis < 5 * control.delayMillis);
    assert.equal(tally.error, undefined);
  });

  it('loses nothing when processes that take it over, eight at a time, are killed', async (t) => {
    const random = seededRandom(3);
    const tally = await startServer(t);
    tally.inOrder = false; // a request of a process that was killed may arrive later
    const directory = makeDirectory(t);
    const left = await leave(t, directory, 0, LEFT);
    const options = quick(tally.url, directory, { maxQueueBytes: MIB });
    const lives = [left];
    for (let round = 0; round < 3; round++) {
      tally.fault = () => [null, 'down', 'lost'][random(3)];
      const progresses = Array.from({ length: 8 }, (_, i) =>
        path.join(path.dirname(directory), `progress-${round}-${i}`),
      );
      const children = await Promise.all(
        progresses.map((progress, i) =>
          startLife(t, { options, life: 1 + round * 8 + i, progress, perTurn: 5 }),
        ),
      );
      await wait(random(400));
      for (const child of children) {
        child.kill('SIGKILL');
        await wait(random(20));
      }
      await Promise.all(children.map((child) => child.ended));
      for (const progress of progresses) {
        const { returned, unwritten } = readProgress(progress);
        lives.push(returned - unwritten);
      }
    }
    tally.fault = () => null;
    await deliverAll(options);
    assert.equal(tally.error, undefined);
    lives.forEach((count, life) => {
      assert.ok(tally.count(life) >= count, `life ${life}: ${tally.count(life)} of ${count}`);
    });
    assert.equal(tally.count(0), left);
    assert.deepEqual(fs.readdirSync(directory), []);
    t.diagnostic(`${lives.reduce((a, b) => a + b)} decisions, ${tally.repeats} repeats`);
  });

  it('loses nothing when it is killed while files are used again and deleted', async (t) => {
    const random = seededRandom(4);
    const tally = await startServer(t);
    const directory = makeDirectory(t);
    const options = quick(tally.url, directory, { maxQueueBytes: MIB, flushQueueSize: 1000 });
    const lives = [];
    for (let life = 0; life < 4; life++) {
      const progress = path.join(path.dirname(directory), `progress-${life}`);
      const child = await startLife(t, { options, life, progress, perTurn: 40, slow: true });
      // Two files of it are done.
      while (tally.count(life) < 24_000 && tally.error === undefined) {
        await wait(1);
      }
      await wait(random(100));
      child.kill('SIGKILL');
      await child.ended;
      const { returned, unwritten } = readProgress(progress);
      lives.push(returned - unwritten);
    }
    await deliverAll(options);
    assert.equal(tally.error, undefined);
    lives.forEach((count, life) => {
      assert.ok(tally.count(life) >= count, `life ${life}: ${tally.count(life)} of ${count}`);
    });
    assert.deepEqual(fs.readdirSync(directory), []);
    t.diagnostic(`${lives.reduce((a, b) => a + b)} decisions, ${tally.repeats} repeats`);
  });

  it('goes on in memory when files may not grow any more, and SIGXFSZ does not end it', async (t) => {
    const tally = await startServer(t);
    tally.fault = () => 'down';
    const directory = makeDirectory(t);
    const options = quick(tally.url, directory);
    const child = await startLife(t, { options, life: 0, count: 1000 });
    execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=4096']);
    await child.ask({ do: 'decide', many: 60_000 });
    const { decisions, spool } = await child.ask({ do: 'stats' });
    assert.match(spool.error, /File too large/);
    assert.ok(spool.unwritten > 0);
    assert.equal(decisions.pending, 61_000);
    tally.fault = () => null;
    const report = await child.ask({ do: 'flush', timeoutMillis: 60_000 });
    assert.equal(report.delivered, 61_000);
    assert.equal(tally.error, undefined);
  });
});
