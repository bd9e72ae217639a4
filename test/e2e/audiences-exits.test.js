'use strict';

/** However a process or a Worker with audiences ends, it ends at once, and normally. */

const assert = require('node:assert/strict');
const path = require('node:path');
const { describe, it } = require('node:test');

const { faults, startCohortServer } = require('../support/audiences/server.js');
const { startChild } = require('../support/process/child.js');

const AUDIENCES = path.join(__dirname, '..', '..', 'lib', 'audiences.js');
const LARGE = { count: 3_000_000, nameOf: (index) => `user_${index}` };

/** A program with audiences of the cohorts `small` and `large`. */
const program = (server, code) => `
  const { createAudiences } = require(${JSON.stringify(AUDIENCES)});
  const start = () => createAudiences({
    ...${JSON.stringify(server.options)},
    cohorts: { small: 'small', large: 'large' },
    pollIntervalMillis: 50,
  });
  ${code}
`;

/** Run a program to its end; `fault` answers for the large cohort. */
async function run(t, code, { fault, whenAsked } = {}) {
  const server = await startCohortServer(t);
  server.set('small', ['ann']);
  server.set('large', LARGE);
  if (fault !== undefined) {
    server.fail('large', fault, { forever: true });
  }
  const child = startChild(t, ['-e', program(server, code)]);
  if (whenAsked !== undefined) {
    await server.asked('large');
    whenAsked(child);
  }
  const ended = await child.ended;
  return { ...ended, stdout: child.stdout, stderr: child.stderr };
}

const NORMAL = { code: 0, signal: null, stderr: '' };

describe('a process', () => {
  it('is not kept alive by audiences', async (t) => {
    const { stdout, ...end } = await run(t, 'start(); console.log("started");');
    assert.deepEqual({ ...end, stdout }, { ...NORMAL, stdout: 'started\n' });
  });

  it('is kept alive by ready()', async (t) => {
    const code =
      'start().ready({ timeoutMillis: 300 }).then(({ cohorts }) => console.log(cohorts.small.state, cohorts.large.state));';
    const { stdout, ...end } = await run(t, code, { fault: faults.silence });
    assert.deepEqual({ ...end, stdout }, { ...NORMAL, stdout: 'fresh loading\n' });
  });

  for (const [name, fault] of [
    ['says nothing', faults.silence],
    ['sends', undefined],
  ]) {
    it(`exits while a server ${name}`, async (t) => {
      const code = `start(); setInterval(() => {}, 1000); process.on('message', () => process.exit(7));`;
      const { stdout, ...end } = await run(t, code, { fault, whenAsked: (child) => child.send(1) });
      assert.deepEqual({ ...end, stdout }, { ...NORMAL, code: 7, stdout: '' });
    });

    it(`ends after close() while a server ${name}`, async (t) => {
      const code = `
        const audiences = start();
        process.once('message', async () => {
          await audiences.close();
          console.log(process.listenerCount('exit'), audiences.has('ann', 'small'));
          process.disconnect();
        });`;
      const { stdout, ...end } = await run(t, code, { fault, whenAsked: (child) => child.send(1) });
      assert.deepEqual({ ...end, stdout }, { ...NORMAL, stdout: '0 undefined\n' });
    });

    it(`goes on when a Worker is terminated, or exits, while a server ${name}`, async (t) => {
      const server = await startCohortServer(t);
      server.set('small', ['ann']);
      server.set('large', LARGE);
      if (fault !== undefined) {
        server.fail('large', fault, { forever: true });
      }
      const inWorker = program(
        server,
        `start();
        const { parentPort } = require('node:worker_threads');
        parentPort.on('message', () => process.exit(3));
        parentPort.postMessage('started');`,
      );
      const code = `
        const { Worker } = require('node:worker_threads');
        const workers = [1, 2, 3].map(() => new Worker(${JSON.stringify(inWorker)}, { eval: true }));
        Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))))
          .then(() => console.log('started'));
        process.once('message', async () => {
          const exits = workers.map((worker) => new Promise((resolve) => worker.on('exit', resolve)));
          workers[0].postMessage('exit');
          workers[1].terminate();
          workers[2].terminate();
          console.log(...(await Promise.all(exits)));
          process.disconnect();
        });`;
      const child = startChild(t, ['-e', code]);
      await child.printed('started');
      await server.asked('large');
      child.send(1);
      const end = await child.ended;
      assert.deepEqual(
        { ...end, stdout: child.stdout, stderr: child.stderr },
        { ...NORMAL, stdout: 'started\n3 1 1\n' },
      );
    });
  }

  it('ends by a signal', async (t) => {
    const code = 'start(); setInterval(() => {}, 1000);';
    const { signal, stderr } = await run(t, code, { whenAsked: (child) => child.kill('SIGTERM') });
    assert.deepEqual({ signal, stderr }, { signal: 'SIGTERM', stderr: '' });
  });

  it('may forget its audiences', async (t) => {
    const code = `
      (async () => {
        for (let round = 0; round < 20; round++) {
          const audiences = start();
          if (round % 2) {
            await audiences.close();
          }
        }
        global.gc?.();
        console.log('over');
        process.exit();
      })();`;
    const { stdout, ...end } = await run(t, code);
    assert.deepEqual({ ...end, stdout }, { ...NORMAL, stdout: 'over\n' });
  });
});
