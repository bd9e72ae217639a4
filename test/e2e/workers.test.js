'use strict';

/**
 * Workers with dispatchers, in a child process for each case: however a Worker ends, the process goes on and ends
 * normally, and the decisions of a Worker that ends by itself arrive.
 */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, it } = require('node:test');

const { viewed } = require('../support/dispatcher/harness.js');
const { isWasm } = require('../support/dispatcher/engine.js');
const {
  DECISIONS,
  EAGER,
  STATES,
  atOnce,
  countUndelivered,
  startActor,
} = require('../support/process/stage.js');

const ROOT = path.join(__dirname, '..', '..');
const CONCURRENT = { concurrency: 4 };

/**
 * Start a process with Workers, whose parts are `workers`: one with `decisions` and `options` by default. The main
 * thread has the part `main`, and no dispatcher unless it has options.
 */
async function start(t, { fault, options, decisions = DECISIONS, workers = [{}], main = {} } = {}) {
  const part = (serverUrl) => {
    const complete = (own) => ({
      decisions,
      ...own,
      options: { serverUrl, ...options, ...own.options },
    });
    return { ...(main.options ? complete(main) : main), workers: workers.map(complete) };
  };
  return startActor(t, part, { fault });
}

/** The same with one Worker that has decided and is in the state that `reached` waits for. */
async function startIn(t, { reached, ...setting }) {
  const { amplitude, child } = await start(t, setting);
  await child.printed('ready', 2);
  await reached(child, amplitude);
  return { amplitude, child };
}

const countExits = (child, code) =>
  child.stdout.split('\n').filter((line) => line === `worker exited with ${code}`).length;

/** Copy the package to another folder, as when two dependencies bring it. */
function copyPackage(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-copy-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const addon = path.join('build', 'Release', 'optimizely_amplitude.node');
  for (const file of ['package.json', 'lib', addon, ...(isWasm ? ['prebuilds/wasm32'] : [])]) {
    fs.cpSync(path.join(ROOT, file), path.join(folder, file), { recursive: true });
  }
  return folder;
}

describe('a Worker', CONCURRENT, () => {
  const ENDS = [
    { workers: 'terminate', title: 'is terminated', code: 1 },
    { workers: 'exit', title: 'calls process.exit()', code: 7 },
    { workers: 'throw', title: 'meets an uncaught exception', code: 1 },
  ];
  for (const { workers, title, code } of ENDS) {
    for (const [state, setting] of Object.entries(STATES)) {
      it(`${title} while ${state}: at once, and the process ends well`, async (t) => {
        const { amplitude, child } = await startIn(t, setting);
        await atOnce(async () => {
          child.send({ workers });
          await child.endsWith(0);
        });
        assert.equal(countExits(child, code), 1, child.output);
        assert.equal(viewed(amplitude).length, 0);
        const counted = workers !== 'terminate' && state !== 'idle'; // no code runs in a terminated Worker
        assert.equal(countUndelivered(child), counted ? DECISIONS : 0, child.stderr);
      });
    }
  }

  const {
    idle,
    queued,
    'backing off': backingOff,
    parked,
    'in flight to a silent server': inFlight,
  } = STATES;

  for (const [state, setting] of Object.entries({ idle, queued, 'backing off': backingOff })) {
    it(`has nothing left to do while ${state}: all is delivered`, async (t) => {
      const { amplitude, child } = await startIn(t, setting);
      amplitude.setFault(null);
      child.send({ workers: 'nothing' });
      await child.endsWith(0);
      assert.equal(countExits(child, 0), 1, child.output);
      assert.equal(viewed(amplitude).length, setting.decisions ?? DECISIONS);
      assert.equal(countUndelivered(child), 0);
    });
  }

  for (const [state, setting] of Object.entries({
    parked,
    'in flight to a silent server': inFlight,
  })) {
    it(`has nothing left to do while ${state}: it is abandoned in time, and the log counts`, async (t) => {
      const options = { ...setting.options, requestTimeoutMillis: 300, flushTimeoutMillis: 300 };
      const { child } = await startIn(t, { ...setting, options });
      await atOnce(async () => {
        child.send({ workers: 'nothing' });
        await child.endsWith(0);
      });
      assert.equal(countExits(child, 0), 1, child.output);
      assert.equal(countUndelivered(child), DECISIONS);
    });
  }

  it('exits in the continuation of a flush', async (t) => {
    const { amplitude, child } = await startIn(t, queued);
    child.send({ workers: 'exitAfterFlush' });
    await child.endsWith(0);
    assert.equal(countExits(child, 7), 1, child.output);
    assert.equal(viewed(amplitude).length, DECISIONS);
  });

  it('awaits a flush: it goes on at once', async (t) => {
    const { child } = await startIn(t, queued);
    await atOnce(async () => {
      child.send({ workers: 'flush' });
      await child.endsWith(0);
    });
    assert.match(child.stdout, /^delivered 3\nworker exited with 0\n$/m);
  });

  it('forgets its dispatcher, and is terminated', async (t) => {
    const { child } = await start(t, {
      fault: 'silence',
      options: EAGER,
      workers: [{ forget: true }],
    });
    await child.printed('ready', 2);
    await atOnce(async () => {
      child.send({ workers: 'terminate' });
      await child.endsWith(0);
    });
  });
});

describe('many Workers', () => {
  const parts = (count, more) =>
    Array.from({ length: count }, (_, i) => ({ user: `worker_${i}`, ...more }));

  it('that live only briefly: nothing is lost, and nothing is sent twice', async (t) => {
    const { amplitude, child } = await start(t, { workers: parts(50, { end: 'nothing' }) });
    await child.printed('ready');
    child.send({});
    await child.endsWith(0);
    assert.equal(countExits(child, 0), 50, child.output);
    assert.equal(child.stderr, '');
    assert.equal(viewed(amplitude).length, 50 * DECISIONS);
    assert.equal(amplitude.requests.flatMap(({ body }) => body.events).length, 2 * 50 * DECISIONS);
  });

  it('that are terminated while some wait for a silent server, and some for a place in the thread pool', async (t) => {
    const { amplitude, child } = await start(t, {
      fault: 'silence',
      options: EAGER,
      workers: parts(10),
    });
    await child.printed('ready', 11);
    await amplitude.nextRequest();
    await atOnce(async () => {
      child.send({ workers: 'terminate' });
      await child.endsWith(0);
    });
    assert.equal(countExits(child, 1), 10, child.output);
  });

  for (const [main, code] of [
    ['exit', 7],
    ['throw', 1],
  ]) {
    it(`and a main thread that comes to "${main}" while requests of both are in flight to a silent server`, async (t) => {
      const { amplitude, child } = await start(t, {
        fault: 'silence',
        options: EAGER,
        workers: parts(1),
        main: { options: {} },
      });
      await child.printed('ready', 2);
      await amplitude.nextRequest();
      await amplitude.nextRequest();
      await atOnce(async () => {
        child.send({ main });
        await child.endsWith(code);
      });
      assert.equal(countUndelivered(child), DECISIONS);
    });
  }

  it('and a main thread, of which one Worker is terminated: what the others decide arrives', async (t) => {
    const { amplitude, child } = await start(t, {
      workers: [...parts(3, { end: 'nothing' }), { user: 'terminated' }],
      main: { user: 'main', options: {} },
    });
    await child.printed('worker exited with 0', 3);
    await child.printed('ready', 2);
    child.send({ workers: 'terminate' });
    await child.endsWith(0);
    const users = viewed(amplitude).map(({ user_id: userId }) => userId);
    assert.equal(users.length, 4 * DECISIONS);
    assert.ok(!users.some((userId) => userId.startsWith('terminated')));
  });
});

describe('two copies of the package', CONCURRENT, () => {
  it('in one process: both deliver', async (t) => {
    const { amplitude, child } = await start(t, {
      workers: [],
      main: { package: [ROOT, copyPackage(t)], options: {} },
    });
    await child.printed('ready');
    child.send({});
    await child.endsWith(0);
    assert.equal(child.stderr, '');
    assert.equal(viewed(amplitude).length, 2 * DECISIONS);
  });

  it('one in the main thread, and both in Workers: all deliver', async (t) => {
    const copy = copyPackage(t);
    const { amplitude, child } = await start(t, {
      workers: [
        { user: 'both', package: [ROOT, copy] },
        { user: 'one', package: copy },
      ],
      main: { user: 'main', options: {} },
    });
    await child.printed('ready', 3);
    child.send({ main: 'nothing', workers: 'nothing' });
    await child.endsWith(0);
    assert.equal(child.stderr, '');
    assert.equal(viewed(amplitude).length, 4 * DECISIONS);
  });

  it('in flight to a silent server when their Worker is terminated', async (t) => {
    const { amplitude, child } = await start(t, {
      fault: 'silence',
      options: EAGER,
      workers: [{ package: [ROOT, copyPackage(t)] }],
    });
    await child.printed('ready', 2);
    await amplitude.nextRequest();
    await amplitude.nextRequest();
    await atOnce(async () => {
      child.send({ workers: 'terminate' });
      await child.endsWith(0);
    });
    assert.equal(countExits(child, 1), 1, child.output);
  });
});
