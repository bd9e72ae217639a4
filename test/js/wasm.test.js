'use strict';

/** The core as WebAssembly: its module, how that is built, and its host in JavaScript. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, it, test } = require('node:test');
const zlib = require('node:zlib');

const { createLog } = require('../../lib/log.js');
const { nativeOptions } = require('../../lib/native.js');
const { resolveOptions } = require('../../lib/options.js');
const STATUSES = require('../../lib/statuses.js');
const { buildWasm, obstacle, sourcesOf, toScript } = require('../../src/release/wasm.js');
const { fetchSources } = require('../../src/release/sources.js');
const { wasmNotTestable } = require('../support/setup/prebuilds.js');

const ROOT = path.join(__dirname, '..', '..');
const MODULE = path.join(ROOT, 'prebuilds', 'wasm32', 'core.wasm');
const SOURCES = path.join(ROOT, 'build', 'prebuild', 'sources');
const MAX_COMPRESSED_BYTES = 52_000;
const PAGE_BYTES = 64 * 1024;
const USERS = 200_000;

const skip = wasmNotTestable();
const given = (options = {}) =>
  nativeOptions(
    resolveOptions({ apiKey: 'key', serverUrl: 'http://127.0.0.1:9/x', ...options }),
    createLog(null),
  );

test('the statuses are those of both engines', { skip }, () => {
  for (const engine of [require('../../lib/binding.js'), require('../../lib/wasm/node.js')]) {
    assert.deepEqual([...engine.statusNames], Object.keys(STATUSES));
    assert.deepEqual([...engine.statusMessages], Object.values(STATUSES));
  }
});

test('the formats of messages are those that the module knows', () => {
  const formats = sourcesOf()
    .filter((file) => file.includes(`${path.sep}core${path.sep}`))
    .flatMap((file) =>
      // PRIu64 and its like end a literal, which goes on behind them.
      [
        ...fs
          .readFileSync(file, 'utf8')
          .matchAll(/%(?:"\s*PRI([a-z])(?:32|64)|(\.\*s|z?[a-zA-Z]|[^%\s"]))/g),
      ].map(([, macro, plain]) => macro ?? plain),
    );
  assert.ok(formats.includes('.*s') && formats.includes('zu') && formats.includes('u'));
  assert.deepEqual(
    [...new Set(formats)].filter((format) => !['s', '.*s', 'd', 'i', 'u', 'zu'].includes(format)),
    [],
  );
});

describe('the module', { skip }, () => {
  const bytes = skip ? null : fs.readFileSync(MODULE);

  it('imports nothing', () => {
    assert.deepEqual(WebAssembly.Module.imports(new WebAssembly.Module(bytes)), []);
  });

  it('is small, and the same in the JavaScript file beside it', () => {
    const script = path.join(ROOT, 'prebuilds', 'wasm32', 'core.js');
    assert.equal(fs.readFileSync(script, 'utf8'), toScript(bytes));
    const compressed = Buffer.from(require(script), 'base64');
    assert.ok(compressed.length < MAX_COMPRESSED_BYTES, compressed.length);
    assert.ok(zlib.brotliDecompressSync(compressed).equals(bytes));
  });

  const cannotBuild = obstacle() ?? (fs.existsSync(SOURCES) ? null : 'there are no sources here');
  it(
    'is the same bytes from the same sources, wherever it is built',
    { skip: cannotBuild ?? false },
    (t) => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-wasm-'));
      t.after(() => fs.rmSync(folder, { recursive: true }));
      assert.ok(buildWasm(fetchSources(SOURCES), folder).equals(bytes));
    },
  );

  it('reads exactly the keys that it is given, and names one that is missing', () => {
    const { Dispatcher, configKeys } = require('../../lib/wasm/node.js');
    const keys = Object.keys(given()).filter((key) => !/^spool[A-Z]/.test(key)); // of files, which it has not
    assert.deepEqual([...configKeys].sort(), keys.sort());
    for (const key of configKeys) {
      const { [key]: left, ...others } = given();
      void left;
      assert.throws(() => new Dispatcher(others, {}), {
        name: 'TypeError',
        message: `the module's options lack ${key}`,
      });
    }
  });
});

describe('a dispatcher', { skip }, () => {
  /** A dispatcher whose server is `answer()`, and whose loop turns by itself. */
  function create(options, answer) {
    const { WasmDispatcher } = require('../../lib/wasm/dispatcher.js');
    const { Core } = require('../../lib/wasm/core.js');
    const module = new WebAssembly.Module(fs.readFileSync(MODULE));
    const told = [];
    const platform = {
      module,
      monotonic: () => performance.now(),
      random: () => [1, 2],
      hold: (object) => ({ deref: () => object }),
      openTransport: () => ({
        needsTrust: false,
        post(request, done) {
          const immediate = setImmediate(() => done(answer(request)));
          return { stop: () => clearImmediate(immediate) };
        },
        close() {},
      }),
      startTimer(call, millis) {
        const timer = setTimeout(call, millis);
        return { unref: () => timer.unref(), stop: () => clearTimeout(timer) };
      },
      createContext: () => ({ run: (call) => call(), end() {} }),
    };
    const handlers = { log: (level, topic, message) => told.push(message) };
    const dispatcher = new WasmDispatcher(
      { ...given(options), dedupeWindowMillis: 2 ** 52 }, // in which no user's window turns over
      handlers,
      platform,
      new Core(module).describe(),
    );
    return { dispatcher, told };
  }

  const ACCEPTED = { statusCode: 200, body: Buffer.from('{"code":200}') };

  it('takes less memory again after an outage, and remembers what it sent', async () => {
    let isDown = true;
    const { dispatcher } = create({ flushQueueSize: 1e6 }, () =>
      isDown ? { error: 'down' } : ACCEPTED,
    );
    const on = dispatcher.addVariant('flag', 'on', 'rule', true);
    const off = dispatcher.addVariant('flag', 'off', 'rule', false);
    const decide = (variant, texts = []) => {
      for (let i = 0; i < USERS; i++) {
        dispatcher.record(variant, `user-${i}`, `device-${i}`, ...texts);
      }
    };
    decide(on);
    isDown = false;
    await dispatcher.flush(60_000, false);
    const before = dispatcher.memoryBytes; // with the memory of exposures, which stays
    isDown = true;
    decide(off, ['"a":"of some length, so that the queue is long"', undefined, undefined, false]);
    const during = dispatcher.memoryBytes;
    isDown = false;
    await dispatcher.flush(60_000, false);
    const after = dispatcher.memoryBytes;
    assert.equal(after % PAGE_BYTES, 0);
    assert.ok(during - before > 5e6, `${before}, ${during}, ${after}`);
    assert.ok(after - before < (during - before) / 4, `${before}, ${during}, ${after}`);
    decide(off);
    const { pending, deduplicated } = dispatcher.stats();
    assert.deepEqual({ pending, deduplicated }, { pending: 0, deduplicated: USERS });
    await dispatcher.close(1000);
  });

  it('keeps its memory where there is none for a smaller copy, and goes on', async (t) => {
    const { dispatcher, told } = create({ flushQueueSize: 1e6, dedupe: false }, () => ACCEPTED);
    const id = dispatcher.addVariant('flag', 'on', 'rule', true);
    const decide = (count) => {
      for (let i = 0; i < count; i++) {
        dispatcher.record(id, `user-${i}`);
      }
    };
    decide(10_000); // what a full request needs lies below the queue then
    await dispatcher.flush(60_000, false);
    decide(USERS);
    const during = dispatcher.memoryBytes;
    const { Instance } = WebAssembly;
    t.after(() => (WebAssembly.Instance = Instance));
    let refused = 0;
    WebAssembly.Instance = function refuse() {
      refused++;
      throw new RangeError('could not allocate memory');
    };
    assert.equal((await dispatcher.flush(60_000, false)).delivered, USERS);
    assert.ok(refused > 0);
    assert.ok(dispatcher.memoryBytes >= during);
    WebAssembly.Instance = Instance;
    decide(1);
    assert.equal((await dispatcher.flush(60_000, false)).delivered, 1);
    assert.ok(dispatcher.memoryBytes < during / 2, `${dispatcher.memoryBytes}`);
    assert.deepEqual(told, []);
    await dispatcher.close(1000);
  });

  it('holds no more than maxQueueBytes', async () => {
    const { dispatcher } = create({ maxQueueBytes: 4e6, dedupe: false }, () => ({ error: 'down' }));
    const id = dispatcher.addVariant('flag', 'on', 'rule', true);
    for (let i = 0; i < 500_000; i++) {
      dispatcher.record(id, `user-${i % 1000}`, `device-${i}`, `"a":${i}`);
    }
    assert.ok(dispatcher.stats().dropped.queue_full > 0);
    assert.ok(dispatcher.memoryBytes < 2 * 4e6, dispatcher.memoryBytes);
    await dispatcher.close(0);
  });

  it('outlives a fault of its transport, says so, and ends what waits', async () => {
    const { dispatcher, told } = create({}, () => ({ statusCode: 200 })); // without a body: a bug
    dispatcher.record(dispatcher.addVariant('flag', 'on', null, true), 'user-1');
    await assert.rejects(dispatcher.flush(60_000, false), TypeError);
    assert.match(told.join('\n'), /the WebAssembly module failed/);
    dispatcher.record(dispatcher.addVariant('flag', 'off', null, false), 'user-1');
    await assert.rejects(dispatcher.flush(60_000, false), TypeError);
    assert.equal(dispatcher.stats().pending, 2);
    dispatcher.abort();
  });

  it('reports ids as the addon does', () => {
    const { dispatcher } = create({ minIdLength: 5 }, () => ACCEPTED);
    const names = Object.keys(STATUSES);
    const id = dispatcher.addVariant('flag', 'on', 'rule', true);
    const cases = {
      'user-1': 'ok',
      'user-\u00e9': 'ok',
      '\u{1F600}\u{1F600}\u{1F600}\u{1F600}\u{1F600}': 'ok',
      four: 'id_too_short',
      anonymous: 'id_forbidden',
      'half \ud800 of a pair': 'id_malformed',
      [`${'x'.repeat(1024)}`]: 'ok',
      [`${'x'.repeat(1025)}`]: 'id_too_long',
      [`${'\u20ac'.repeat(2000)}`]: 'id_too_long',
    };
    for (const [userId, expected] of Object.entries(cases)) {
      assert.equal(names[dispatcher.record(id, userId)], expected, userId.slice(0, 20));
    }
    assert.equal(names[dispatcher.record(id, 42)], 'id_missing');
    assert.equal(names[dispatcher.record(id, '')], 'id_missing');
    dispatcher.abort();
  });
});
