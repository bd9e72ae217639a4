'use strict';

/** Edge runtimes: what a request decides arrives once, although nothing outlives a request there. */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { before, describe, it } = require('node:test');

const { bundleEdge } = require('../../src/release/edge.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { viewed } = require('../support/dispatcher/harness.js');
const { startEdgeRuntime } = require('../support/edge/edge-runtime.js');
const { WORKER_RUNTIMES } = require('../support/edge/workerd.js');
const { wasmNotTestable } = require('../support/setup/prebuilds.js');

const WORKER = path.join(__dirname, '..', 'support', 'edge', 'worker.mjs');
const DATES = ['2024-01-01', '2025-11-01'];
const AT_ONCE = 20;
const PAIRS = 300;
/** Longer than any flush here takes. */
const FLUSH_MILLIS = 30_000;

const usersOf = (amplitude) => viewed(amplitude).map((event) => event.user_id);

/** Start a Worker and its stand-in for Amplitude. */
async function startWorker(
  t,
  startRuntime,
  compatibilityDate,
  { flushInterval = 50, requestTimeout = 20_000, userAtImport = '' } = {},
) {
  const amplitude = await startAmplitude();
  t.after(() => amplitude.close());
  const { url, said } = await startRuntime(t, {
    entry: WORKER,
    compatibilityDate,
    values: {
      AMPLITUDE_URL: amplitude.httpapi,
      FLUSH_INTERVAL: flushInterval,
      REQUEST_TIMEOUT: requestTimeout,
      USER_AT_IMPORT: userAtImport,
      FLUSH_TIMEOUT: FLUSH_MILLIS,
    },
  });
  return { amplitude, url, said };
}

const decisionOf = (userId) => ({
  type: 'flag',
  userId,
  attributes: {},
  decisionInfo: { flagKey: 'flag', variationKey: 'on', ruleKey: 'rule', enabled: true },
});

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];

/** Ask again until it is so; the runtime tells nothing of what goes on after a response. */
async function eventually(isSo, what) {
  const end = Date.now() + 20_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < end, what());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

for (const { name, skip, start } of WORKER_RUNTIMES) {
  const options = { skip: wasmNotTestable() || skip, concurrency: 2 };
  describe(`Cloudflare Workers by ${name}`, options, () => {
    before(() => bundleEdge());

    for (const date of DATES) {
      it(`${date}: each decision of 1000 requests arrives once, some of them abandoned or failing`, async (t) => {
        const { amplitude, url, said } = await startWorker(t, start, date);
        const answered = new Set();
        let next = 0;
        const ask = async () => {
          while (next < 1000) {
            const i = next++;
            const user = `user-${i}`;
            const kind = i % 10 === 3 ? '&throw=1' : i % 10 === 7 ? '&stay=30' : '';
            const controller = new AbortController();
            const asked = fetch(`${url}/?user=${user}${kind}`, { signal: controller.signal });
            if (i % 10 === 7) {
              setTimeout(() => controller.abort(), 15);
              await asked.catch(() => {});
              continue;
            }
            const response = await asked;
            await response.arrayBuffer();
            assert.equal(response.status, kind === '' ? 200 : 500);
            answered.add(user);
          }
        };
        await Promise.all(Array.from({ length: AT_ONCE }, ask));
        assert.equal(answered.size, 900);
        // One that is abandoned early may not have reached the Worker.
        let stats;
        await eventually(
          async () => {
            stats = await (await fetch(`${url}/stats`)).json();
            return stats.decisions.pending === 0;
          },
          () => JSON.stringify(stats.decisions),
        );
        const users = usersOf(amplitude);
        assert.equal(users.length, stats.decisions.accepted);
        assert.equal(new Set(users).size, users.length, 'each once');
        assert.deepEqual(
          [...answered].filter((user) => !users.includes(user)),
          [],
        );
        assert.ok(amplitude.requests.length < 500, 'requests share what is sent');
        const lines = said()
          .split('\n')
          .filter(
            (line) => line !== '' && !/the handler throws|^\s+at |stack:|kj\/|jsg\./.test(line),
          );
        assert.deepEqual(lines, []);
        assert.equal(stats.health, 'ok');
      });

      it(`${date}: a later request takes over from one that ended with its fetch under way`, async (t) => {
        const { amplitude, url } = await startWorker(t, start, date, { requestTimeout: 1000 });
        let release;
        const held = new Promise((resolve) => {
          release = resolve;
        });
        t.after(() => release());
        amplitude.setFault(() => held, 1);
        await (await fetch(`${url}/?user=user-dead&lost=1&stay=300`)).arrayBuffer();
        await eventually(
          () => amplitude.requests.length === 1,
          () => 'the first request has not sent',
        );
        await (await fetch(`${url}/?user=user-alive`)).arrayBuffer();
        await eventually(
          () => usersOf(amplitude).length === 2,
          () => JSON.stringify(usersOf(amplitude)),
        );
        assert.deepEqual(usersOf(amplitude).sort(), ['user-alive', 'user-dead']);
        let stats;
        await eventually(
          async () => {
            stats = await (await fetch(`${url}/stats`)).json();
            return stats.decisions.pending === 0;
          },
          () => JSON.stringify(stats.decisions),
        );
        assert.equal(stats.decisions.delivered, 2);
      });

      it(`${date}: what a request left behind goes with the next one; repeats are sent once; flush() awaits`, async (t) => {
        const { amplitude, url } = await startWorker(t, start, date, { flushInterval: 60_000 });
        await (await fetch(`${url}/?user=user-first&lost=1`)).arrayBuffer();
        await (await fetch(`${url}/?user=user-first&lost=1`)).arrayBuffer();
        await (await fetch(`${url}/?user=user-second&lost=1`)).arrayBuffer();
        assert.equal(amplitude.requests.length, 0);
        const report = await (await fetch(`${url}/flush`)).json();
        assert.deepEqual([report.delivered, report.dropped, report.pending], [2, 0, 0]);
        assert.deepEqual(usersOf(amplitude).sort(), ['user-first', 'user-second']);
        const stats = await (await fetch(`${url}/stats`)).json();
        assert.equal(stats.decisions.deduplicated, 1);
      });

      it(`${date}: a flush does not wait for its deadline when nothing can happen before`, async (t) => {
        const { amplitude, url } = await startWorker(t, start, date, { flushInterval: 60_000 });
        amplitude.setFault(amplitude.faults.invalidApiKey());
        await (await fetch(`${url}/?user=user-kept&lost=1`)).arrayBuffer();
        const report = await (await fetch(`${url}/flush`)).json();
        assert.deepEqual([report.delivered, report.dropped, report.pending], [0, 0, 1]);
        assert.ok(report.durationMillis < FLUSH_MILLIS, `${report.durationMillis} ms`);
      });

      it(`${date}: a response is not later than one without a dispatcher`, async (t) => {
        const { url } = await startWorker(t, start, date, { flushInterval: 200 });
        const taken = { control: [], '': [] };
        for (let i = 0; i < PAIRS; i++) {
          for (const [path, times] of Object.entries(taken)) {
            const began = performance.now();
            const response = await fetch(`${url}/${path}?user=user-${i}`);
            await response.arrayBuffer();
            times.push(performance.now() - began);
          }
        }
        const [control, ours] = Object.values(taken).map(median);
        t.diagnostic(`${(ours - control).toFixed(2)} ms later than ${control.toFixed(2)} ms`);
        assert.ok(ours < 2 * control, `${ours} ms, and ${control} without a dispatcher`);
      });

      it(`${date}: what is decided at module scope, where the clock is 0, is of the first request`, async (t) => {
        const began = Date.now();
        const { amplitude, url, said } = await startWorker(t, start, date, {
          userAtImport: 'user-of-import',
        });
        await (await fetch(`${url}/?user=user-first`)).arrayBuffer();
        await eventually(() => viewed(amplitude).length === 2, said);
        assert.deepEqual(usersOf(amplitude), ['user-of-import', 'user-first']);
        for (const { time } of viewed(amplitude)) {
          assert.ok(time >= began && time <= Date.now(), `${time}`);
        }
        assert.equal(said(), '');
      });
    }
  });
}

describe("Vercel's Edge runtime", { skip: wasmNotTestable() }, () => {
  before(() => bundleEdge());

  it('delivers what requests decide, each once', async (t) => {
    const amplitude = await startAmplitude();
    t.after(() => amplitude.close());
    const entry = path.join(__dirname, '..', 'support', 'edge', 'vercel.mjs');
    const runtime = await startEdgeRuntime(entry, { AMPLITUDE_URL: amplitude.httpapi });
    for (let i = 0; i < 100; i++) {
      const response = await runtime.dispatchFetch(`https://example.com/?user=user-${i % 50}`);
      assert.deepEqual(await response.json(), { enabled: true });
      await response.waitUntil();
    }
    assert.equal(usersOf(amplitude).length, 50);
    assert.equal(new Set(usersOf(amplitude)).size, 50);
  });
});

describe('the entries', { skip: wasmNotTestable() }, () => {
  before(() => bundleEdge());

  const load = () => import('../../build/edge/default.mjs');

  it('have the same names as that of Node.js', async () => {
    const names = Object.keys(await load()).sort();
    assert.deepEqual(names, Object.keys(require('../../lib/index.js')).sort());
  });

  it('import nothing of Node.js for an edge runtime', () => {
    for (const [name, imports] of [
      ['workerd', ['cloudflare:workers', './core.wasm']],
      ['edge-light', ['./core.wasm?module']],
    ]) {
      const folder = path.join(__dirname, '..', '..', 'build', 'edge');
      const textOf = (file) => fs.readFileSync(path.join(folder, file), 'utf8');
      const importsOf = (text) =>
        [...text.matchAll(/\b(?:from|import)\s*"([^"]+)"/g)].map(([, from]) => from);
      const text = textOf(`${name}.mjs`);
      const [shared] = importsOf(text).filter((from) => from.startsWith('./shared-'));
      assert.deepEqual(importsOf(text), [shared, ...imports]);
      assert.deepEqual(importsOf(textOf(shared)), []);
      const used = `${text}${textOf(shared)}`.match(
        /\brequire\("[^"]*|\bprocess\.\w+|\bBuffer\.\w+/g,
      );
      assert.deepEqual(used, ['process.env'], 'a default that is not used');
    }
  });

  it('refuse what an edge runtime does not have, by name', async () => {
    const { createDispatcher } = await load();
    const refusal = (options) => {
      try {
        createDispatcher({ apiKey: 'a-key', ...options });
      } catch (error) {
        assert.equal(error.code, 'ERR_OA_OPTION');
        return error.message;
      }
      return assert.fail('it is accepted');
    };
    assert.match(refusal({ proxy: 'http://proxy.example' }), /^option 'proxy': .*leave it out/);
    assert.match(
      refusal({ spool: { directory: '/tmp/oa' } }),
      /^option 'spool': there are no files/,
    );
    assert.match(refusal({ caFile: '/a' }), /^option 'caFile': /);
    assert.match(refusal({ engine: 'wasm' }), /^option 'engine': /);
    assert.match(refusal({ dedupe: { store: () => {} } }), /^option 'dedupe\.store': /);
    assert.match(refusal({ waitUntil: 1 }), /^option 'waitUntil': /);
    assert.match(refusal({ flushInterval: 1 }), /did you mean 'flushIntervalMillis'/);
    assert.throws(() => createDispatcher(), /^TypeError: createDispatcher\(\) expects its options/);
  });

  it('take an option that is undefined for one that is left out', async () => {
    const { createDispatcher } = await load();
    const unset = { maxQueueBytes: undefined, dedupe: { maxEntries: undefined } };
    const dispatcher = createDispatcher({ apiKey: 'a-key', ...unset, logLevel: 'none' });
    const userId = 'x'.repeat(1000);
    for (let i = 0; dispatcher.stats().decisions.dropped.queue_full === 0 && i < 6000; i++) {
      dispatcher.onDecision(decisionOf(`${i}${userId}`));
    }
    const { accepted } = dispatcher.stats().decisions;
    assert.ok(accepted < 5000, `4 MiB hold ${accepted} decisions`);
    await dispatcher.close({ timeoutMillis: 0 });
    assert.throws(() => createDispatcher({ apiKey: 'a-key', dedupe: null }), /option 'dedupe': /);
  });

  it('flush to a report whatever the deadline is, and where there are no timers', async (t) => {
    const { createDispatcher } = await load();
    const serverUrl = 'http://127.0.0.1:1/2/httpapi';
    const options = { apiKey: 'a-key', serverUrl, logLevel: 'none', flushTimeoutMillis: 50 };
    const dispatcher = createDispatcher({ ...options, requestTimeoutMillis: 50 });
    t.after(() => dispatcher.close({ timeoutMillis: 0 }));
    dispatcher.onDecision(decisionOf('user-1'));
    for (const timeoutMillis of [-1, NaN, 'soon', undefined]) {
      assert.equal((await dispatcher.flush({ timeoutMillis })).pending, 1);
    }
    const { setTimeout } = globalThis;
    globalThis.setTimeout = () => {
      throw new Error('Disallowed operation called within global scope');
    };
    const report = dispatcher.flush();
    globalThis.setTimeout = setTimeout;
    assert.equal((await report).pending, 1);
  });

  it('close once, and each call waits for it', async (t) => {
    const { createDispatcher } = await load();
    const silent = http.createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    t.after(() => silent.close().closeAllConnections());
    const serverUrl = `http://127.0.0.1:${silent.address().port}/2/httpapi`;
    const dispatcher = createDispatcher({ apiKey: 'a-key', serverUrl, logLevel: 'none' });
    dispatcher.onDecision(decisionOf('user-1'));
    const options = { timeoutMillis: 50 };
    const reports = await Promise.all([dispatcher.close(options), dispatcher.close(options)]);
    assert.deepEqual(
      reports.map(({ dropped, pending }) => [dropped, pending]),
      [
        [1, 0],
        [1, 0],
      ],
    );
    assert.equal((await dispatcher.close()).pending, 0);
  });

  it('work in a clone, too, where they are no bundles, beside a dispatcher of Node.js', async (t) => {
    const amplitude = await startAmplitude();
    t.after(() => amplitude.close());
    const edge = await import('../../lib/edge/default.mjs');
    const node = require('../../lib/index.js');
    const options = { apiKey: 'a-key', serverUrl: amplitude.httpapi };
    for (const { createDispatcher, info } of [edge, node]) {
      const dispatcher = createDispatcher(options);
      dispatcher.onDecision(decisionOf(`user-of-${info().engine}`));
      assert.equal((await dispatcher.close()).delivered, 1);
    }
    assert.deepEqual(usersOf(amplitude), ['user-of-wasm', `user-of-${node.info().engine}`]);
  });
});
