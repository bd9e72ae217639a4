'use strict';

/** The store of exposures without a server: what is sent, what is made of any answer, and when it is left alone. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { describe, it, test } = require('node:test');

const { senderOf } = require('../../lib/store-client.js');
const { createStore } = require('../../lib/store.js');

const OPTIONS = { client: null, prefix: 'oa', buckets: 1, timeoutMillis: 10_000 };
const key = (letter) => letter.repeat(24);

/** A store whose calls are recorded and answered by `answer(argv, routingKey)`. */
function make(answer, options = {}, connectMillis = 0) {
  const calls = [];
  const lines = [];
  const clock = { now: 0 };
  const log = {
    warn: (topic, message) => lines.push(`warn ${topic}: ${message}`),
    error: (topic, message) => lines.push(`error ${topic}: ${message}`),
  };
  const send = (argv, routingKey) => {
    calls.push({ argv, routingKey });
    return answer(argv, routingKey);
  };
  const store = createStore({ ...OPTIONS, send, ...options }, log, {
    now: () => clock.now,
    random: () => 1,
    connectMillis,
  });
  return { store, calls, lines, clock };
}

/** Parts of one pair each, as the core gives them. */
function question(count, bucketOf = () => 0) {
  const each = (make_) => Array.from({ length: count }, (_, i) => make_(i));
  return {
    writes: false,
    keys: each((i) => String(i).padStart(24, '0')),
    buckets: each(bucketOf),
    texts: each(() => key('f')),
    counts: each(() => 1),
    expiries: each(() => 5),
  };
}

const keysOf = ({ argv }) => argv.slice(3, 3 + Number(argv[2]));
/** An answer to each pair of a question of single pairs. */
const answerAll = (token) => (argv) =>
  Promise.resolve(Array(Number(argv[2])).fill(token).join(','));

test('a question is one call of a script by its hash, with a key for each user', async () => {
  const { store, calls } = make(() => Promise.resolve('n,r0,c7'));
  const answers = await store.call({
    writes: false,
    keys: [key('a'), key('b')],
    buckets: [1, 2],
    texts: ['x'.repeat(24), 'y'.repeat(48)],
    counts: [1, 2],
    expiries: [1, 2],
  });
  assert.deepEqual([...answers], [-1, 1, 14]);
  assert.equal(calls.length, 1);
  const [command, sha, ...rest] = calls[0].argv;
  assert.equal(command, 'EVALSHA');
  assert.match(sha, /^[0-9a-f]{40}$/);
  assert.deepEqual(rest, [
    '2',
    `{oa1}:${key('a')}`,
    `{oa1}:${key('b')}`,
    'x'.repeat(24),
    'y'.repeat(48),
  ]);
  assert.equal(calls[0].routingKey, `{oa1}:${key('a')}`);
  assert.deepEqual(store.stats, {
    checks: 1,
    failures: 0,
    skipped: 0,
    state: 'ok',
    lastError: null,
  });
});

test('what is written has the moment at which its key expires', async () => {
  const { store, calls } = make(() => Promise.resolve('k,x3'));
  const answers = await store.call({
    writes: true,
    keys: [key('a'), key('b')],
    buckets: [0, 0],
    texts: ['one', 'two'],
    counts: [1, 1],
    expiries: [1800000000000, 2 ** 63],
  });
  assert.deepEqual([...answers], [-1, 3]);
  assert.deepEqual(calls[0].argv.slice(5), ['1800000000000', 'one', '9007199254740991', 'two']);
  assert.equal(store.stats.checks, 0);
});

test('a call has 250 pairs at most, and one bucket', async () => {
  const { store, calls } = make(answerAll('r4'), { buckets: 4, prefix: 'shop' });
  const answers = await store.call(question(3000, (i) => i * 7));
  assert.ok(answers.every((answer) => answer === 9));
  assert.equal(calls.length, 12);
  for (const call of calls) {
    const keys = keysOf(call);
    assert.ok(keys.length <= 250);
    assert.match(keys[0], /^\{shop1:4\.[0-3]\}:\d{24}$/);
    assert.equal(new Set(keys.map((name) => name.split(':')[1])).size, 1);
    assert.equal(call.routingKey, keys[0]);
  }
});

test('a server that has forgotten the script gets its text', async () => {
  const messages = [
    'NOSCRIPT No matching script. Please use EVAL.',
    'NoScriptError: No matching script.',
  ];
  for (const message of messages) {
    const { store, calls } = make((argv) =>
      argv[0] === 'EVALSHA' ? Promise.reject(new Error(message)) : Promise.resolve('r2'),
    );
    assert.deepEqual([...(await store.call(question(1)))], [5]);
    assert.deepEqual(
      calls.map(({ argv }) => argv[0]),
      ['EVALSHA', 'EVAL'],
    );
    assert.match(calls[1].argv[1], /HMGET/);
    assert.deepEqual(calls[1].argv.slice(2), calls[0].argv.slice(2));
    assert.equal(store.stats.failures, 0);
  }
});

describe('an answer that is none leaves everything unknown', () => {
  const answers = {
    'an error': () => Promise.reject(new Error("READONLY You can't write against a replica")),
    'an exception': () => {
      throw new Error('the client is closed');
    },
    'a rejection with nothing': () => Promise.reject(undefined),
    'nothing at all': () => undefined,
    null: () => Promise.resolve(null),
    'an empty text': () => Promise.resolve(''),
    'too few': () => Promise.resolve('n,n'),
    'too many': () => Promise.resolve('n,n,n,n'),
    'a number': () => Promise.resolve(101),
    'an object': () => Promise.resolve({}),
    'other letters': () => Promise.resolve('n,q,n'),
    'a letter without a version': () => Promise.resolve('n,r,n'),
    'a version that is too large': () => Promise.resolve('n,r99999999999,n'),
    'a negative version': () => Promise.resolve('n,r-1,n'),
    'what is said to a write': () => Promise.resolve('k,k,k'),
  };
  for (const [name, answer] of Object.entries(answers)) {
    it(name, async () => {
      const { store, lines } = make(answer);
      assert.deepEqual([...(await store.call(question(3)))], [-2, -2, -2]);
      assert.equal(store.stats.failures, 1);
      assert.equal(lines.length, 1);
      assert.match(
        lines[0],
        /^warn store: the store of exposures fails \(.+\): decisions are sent/,
      );
      assert.equal(store.isReady(), false);
    });
  }
});

test('a Buffer is an answer', async () => {
  const { store } = make(() => Promise.resolve(Buffer.from('n,r0')));
  assert.deepEqual([...(await store.call(question(2)))], [-1, 1]);
});

test('one bucket that fails leaves its own pairs unknown', async () => {
  const { store } = make(
    (argv) =>
      argv[3].startsWith('{oa1:2.1}') ? Promise.reject(new Error('down')) : answerAll('r0')(argv),
    { buckets: 2 },
  );
  assert.deepEqual([...(await store.call(question(4, (i) => i % 2)))], [1, -2, 1, -2]);
  assert.equal(store.stats.failures, 1);
});

test('what does not answer in time is unknown, and its answer is not waited for', async () => {
  let late;
  const { store, lines } = make(() => new Promise((resolve) => (late = resolve)), {
    timeoutMillis: 20,
  });
  const alive = setInterval(() => {}, 1000); // which a deadline is not
  const answers = await store.call(question(1));
  assert.deepEqual([...answers], [-2]);
  assert.match(
    lines[0],
    /\(the client gave no answer in 20 ms; its own 'error' event may say why\)/,
  );
  late('r0');
  await new Promise(setImmediate);
  assert.deepEqual([...answers], [-2]);
  clearInterval(alive);
});

test('an answer that came while the application held the loop is in time', async () => {
  const { store, lines } = make(
    async () => {
      await fs.promises.access(__filename); // by a thread, as the kernel receives an answer
      return 'r0';
    },
    { timeoutMillis: 20 },
  );
  await store.call(question(1)); // the first one has time to connect
  const asked = store.call(question(1));
  const until = performance.now() + 200;
  while (performance.now() < until) {
    // The application computes something.
  }
  assert.deepEqual([...(await asked)], [1]);
  assert.deepEqual([store.stats.failures, lines.length], [0, 0]);
});

test('what the client says after the deadline is the last error', async () => {
  let reject;
  const { store } = make(() => new Promise((_, reject_) => (reject = reject_)), {
    timeoutMillis: 20,
  });
  const alive = setInterval(() => {}, 1000);
  const before = Date.now();
  await store.call(question(1));
  clearInterval(alive);
  assert.equal(store.stats.state, 'failing');
  assert.match(store.stats.lastError.message, /no answer in 20 ms/);
  reject(new Error(`connect ECONNREFUSED 127.0.0.1:6379 ${'.'.repeat(10_000)}`));
  await new Promise(setImmediate);
  const { message, time } = store.stats.lastError;
  assert.match(message, /^connect ECONNREFUSED/);
  assert.equal(message.length, 400);
  assert.ok(time >= before && time <= Date.now());
  assert.equal(store.stats.failures, 1);
});

test('the first answer may take longer, since the client may still connect', async () => {
  const delayed = () => new Promise((resolve) => setTimeout(resolve, 50, 'r0'));
  const { store } = make(delayed, { timeoutMillis: 5 }, 10_000);
  assert.deepEqual([...(await store.call(question(1)))], [1]);
  const alive = setInterval(() => {}, 1000);
  assert.deepEqual([...(await store.call(question(1)))], [-2]);
  clearInterval(alive);
});

test('with several lanes, so do all calls that begin before that answer', async () => {
  const delayed = () => new Promise((resolve) => setTimeout(resolve, 50, 'r0'));
  const { store } = make(delayed, { timeoutMillis: 5 }, 10_000);
  const asked = await Promise.all([1, 2, 3, 4].map(() => store.call(question(1))));
  assert.deepEqual(
    asked.map(([answer]) => answer),
    [1, 1, 1, 1],
  );
  assert.equal(store.stats.failures, 0);
});

test('calls of several lanes that fail together are one failure', async () => {
  const { store, clock, lines } = make(() => Promise.reject(new Error('down')));
  for (const seconds of [2, 4]) {
    await Promise.all([1, 2, 3, 4].map(() => store.call(question(1))));
    clock.now += seconds * 1000 - 1;
    assert.equal(store.isReady(), false);
    clock.now += 1;
    assert.equal(store.isReady(), true);
  }
  assert.equal(lines.length, 1);
});

test('after failures it is left alone for 2, 4, 8, 16, 30, 30 seconds, and both ends are logged once', async () => {
  let isDown = true;
  const { store, clock, lines, calls } = make((argv) =>
    isDown ? Promise.reject(new Error('down')) : answerAll('n')(argv),
  );
  for (const seconds of [2, 4, 8, 16, 30, 30]) {
    await store.call(question(1));
    clock.now += seconds * 1000 - 1;
    assert.equal(store.isReady(), false);
    clock.now += 1;
    assert.equal(store.isReady(), true);
  }
  isDown = false;
  await store.call(question(1));
  await store.call(question(1));
  assert.equal(calls.length, 8);
  const { checks, failures, skipped, state, lastError } = store.stats;
  assert.deepEqual([checks, failures, skipped], [2, 6, 6]);
  assert.equal(state, 'ok');
  assert.equal(lastError.message, 'down', 'which stays after the next success');
  assert.deepEqual(lines.slice(1), [
    'warn store-back: the store of exposures works again, after 90 s',
  ]);
  assert.equal(store.isReady(), true);
});

test('one that can be read and not written to fails until it is written to', async () => {
  const OOM = "OOM command not allowed when used memory > 'maxmemory'.";
  let isFull = true;
  const { store, clock, lines } = make((argv) =>
    argv.length === 5
      ? Promise.resolve('n')
      : isFull
        ? Promise.reject(new Error(OOM))
        : Promise.resolve('k'),
  );
  const write = { ...question(1), writes: true };
  for (const seconds of [2, 4, 8, 16, 30, 30]) {
    await store.call(question(1));
    await store.call(write);
    await store.call(question(1));
    clock.now += seconds * 1000 - 1;
    assert.equal(store.isReady(), false);
    clock.now += 1;
    assert.equal(store.isReady(), true);
    assert.equal(store.stats.state, 'failing');
  }
  assert.equal(store.stats.lastError.message, OOM);
  assert.equal(lines.length, 1);
  assert.match(lines[0], /^warn store: the store of exposures cannot be written to \(OOM .+\): /);
  isFull = false;
  await store.call(question(1));
  assert.equal(lines.length, 1);
  await store.call(write);
  assert.equal(store.stats.state, 'ok');
  assert.deepEqual(lines.slice(1), [
    'warn store-back: the store of exposures works again, after 90 s',
  ]);
});

test('one that fails in both ways fails until both work', async () => {
  let isDown = true;
  const { store, lines } = make((argv) =>
    isDown ? Promise.reject(new Error('down')) : Promise.resolve(argv.length === 5 ? 'n' : 'k'),
  );
  const write = { ...question(1), writes: true };
  await store.call(write);
  await store.call(question(1));
  isDown = false;
  await store.call(write);
  assert.equal(store.stats.state, 'failing');
  await store.call(question(1));
  assert.equal(store.stats.state, 'ok');
  assert.equal(lines.length, 2);
});

test('an error of the configuration is told once, with what is refused and what helps', async () => {
  const cases = {
    "NOPERM this user has no permissions to run the 'evalsha' command":
      /refuses its scripts .+: allow its user/,
    "CROSSSLOT Keys in request don't hash to the same slot": /dedupe\.store\.buckets/,
    'WRONGTYPE Operation against a key holding the wrong kind of value': /dedupe\.store\.prefix/,
    'NOAUTH Authentication required.':
      /refuses the client's credentials .+: check the user name and password/,
    'WRONGPASS invalid username-password pair or user is disabled.':
      /refuses the client's credentials .+: check the user name and password/,
    "ERR unknown command 'EVALSHA'": /refuses its scripts .+ runs scripts/,
  };
  for (const [message, advice] of Object.entries(cases)) {
    const { store, clock, lines } = make(() => Promise.reject(new Error(message)));
    await store.call(question(1));
    clock.now += 59_999;
    assert.equal(store.isReady(), false);
    clock.now += 1;
    await store.call(question(1));
    assert.equal(lines.length, 1);
    assert.match(lines[0], /^error store-refuses: /);
    assert.match(lines[0], advice);
  }
});

test('it is told, too, when a server that was down is back and refuses the client', async () => {
  let message = 'down';
  const { store, lines } = make(() => Promise.reject(new Error(message)));
  await store.call(question(1));
  message = 'WRONGPASS invalid username-password pair or user is disabled.';
  await store.call(question(1));
  await store.call(question(1));
  assert.equal(lines.length, 2);
  assert.match(lines[0], /^warn store: .+ fails \(down\)/);
  assert.match(lines[1], /^error store-refuses: .+credentials/);
});

describe('clients are known by their methods', () => {
  const resolved = (value) => Promise.resolve(value);

  it('valkey-glide, ioredis and iovalkey, redis', async () => {
    const argv = ['EVALSHA', 'sha', '1', 'k', 'a'];
    assert.deepEqual(await senderOf({ customCommand: resolved })(argv, 'k'), argv);
    assert.deepEqual(
      await senderOf({ call: (...args) => resolved(args), sendCommand: () => assert.fail() })(argv),
      argv,
    );
    assert.deepEqual(await senderOf({ sendCommand: resolved })(argv, 'k'), argv);
  });

  it('a cluster of redis is given the key by which it chooses the node', async () => {
    const client = { masters: [], sendCommand: (...args) => resolved(args) };
    assert.deepEqual(await senderOf(client)(['EVAL'], 'k'), ['k', false, ['EVAL']]);
  });

  it('@upstash/redis', async () => {
    const client = {
      evalsha: (...args) => resolved(['evalsha', ...args]),
      eval: (...args) => resolved(['eval', ...args]),
    };
    const send = senderOf(client);
    assert.deepEqual(await send(['EVALSHA', 'sha', '2', 'k', 'l', 'a', 'b']), [
      'evalsha',
      'sha',
      ['k', 'l'],
      ['a', 'b'],
    ]);
    assert.equal((await send(['EVAL', 'text', '1', 'k', 'a']))[0], 'eval');
  });

  it('and nothing else is one', () => {
    for (const value of [null, undefined, 5, 'redis://x', {}, [], () => {}, { get() {} }]) {
      assert.equal(senderOf(value), null);
    }
  });
});
