'use strict';

/** A store of exposures in a real Redis: what one process sent, no other sends, and a change anywhere is one everywhere. */

const assert = require('node:assert/strict');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const { describe, it, test } = require('node:test');

const { isWasm } = require('../support/dispatcher/engine.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const {
  assertReconciles,
  start,
  storedEvents,
  viewed,
} = require('../support/dispatcher/harness.js');
const { createNotification, US_PREMIUM } = require('../support/optimizely/sdk.js');
const { CLIENTS, CLUSTER_CLIENTS } = require('../support/store/clients.js');
const { startCluster, startRedis } = require('../support/store/redis.js');
const { seededRandom } = require('../support/util/random.js');

const PROPERTY = '[Optimizely] checkout_flow';
/** A busy machine takes its time; only the tests of the deadline have a short one. */
const PATIENT = 20_000;

const value = (event) => event.event_properties.variation_key;
const propertyOf = (amplitude, userId) => amplitude.store.user(userId).user_properties[PROPERTY];
const sent = (amplitude) =>
  amplitude.requests
    .flatMap(({ body }) => body.events)
    .filter((event) => event.event_type === 'Experiment Viewed');

/** Start `count` dispatchers with a store each and one stand-in for Amplitude. */
async function startFleet(t, stores, options = {}) {
  const members = [];
  for (const store of stores) {
    const serverUrl = members[0]?.amplitude.httpapi;
    members.push(
      await start(t, {
        dedupe: { store: { timeoutMillis: PATIENT, ...store } },
        ...(serverUrl && { serverUrl }),
        ...options,
      }),
    );
  }
  const { amplitude } = members[0];
  return {
    amplitude,
    members,
    dispatchers: members.map(({ dispatcher }) => dispatcher),
    async see(index, variationKey, userId = 'user_1') {
      const { dispatcher } = members[index];
      dispatcher.onDecision(createNotification(userId, { variationKey }));
      const report = await dispatcher.flush({ timeoutMillis: PATIENT });
      assert.equal(report.pending, 0);
      assertReconciles(dispatcher.stats());
      return report;
    },
  };
}

async function changesAreSeen(t, client, options) {
  const { amplitude, dispatchers, see } = await startFleet(t, [
    { client, ...options },
    { client, ...options },
  ]);
  await see(0, 'a');
  assert.deepEqual(
    await see(1, 'a').then(({ delivered, dropped }) => [delivered, dropped]),
    [0, 0],
  );
  await see(1, 'b');
  await see(0, 'a'); // its own last value
  await see(0, 'a');
  await see(1, 'a');
  assert.deepEqual(viewed(amplitude).map(value), ['a', 'b', 'a']);
  assert.equal(sent(amplitude).length, 3);
  assert.equal(propertyOf(amplitude, 'user_1'), 'a');
  // Many users at once, with several flags each, known to one and then to the other.
  for (const dispatcher of dispatchers) {
    for (let i = 0; i < 1200; i++) {
      dispatcher.onDecision(
        createNotification(`many_${i >> 1}`, { flagKey: `flag_${i % 2}`, variationKey: 'x' }),
      );
    }
    assert.equal((await dispatcher.flush({ timeoutMillis: PATIENT })).pending, 0);
  }
  assert.equal(sent(amplitude).length, 3 + 1200);
  const { checks, failures, repeats } = dispatchers[1].stats().store;
  assert.ok(checks > 0);
  assert.equal(failures, 0);
  assert.equal(repeats, 2 + 1200);
}

describe('with each client, a change anywhere is a change everywhere', () => {
  for (const [name, connect] of Object.entries(CLIENTS)) {
    it(name, async (t) => {
      const redis = await startRedis(t);
      const { client, end } = await connect(redis);
      t.after(end);
      await changesAreSeen(t, client);
    });
  }

  it('a function that sends', async (t) => {
    const redis = await startRedis(t);
    const { client, end } = await CLIENTS.redis(redis);
    t.after(end);
    await changesAreSeen(t, undefined, { send: (argv) => client.sendCommand(argv) });
  });
});

test('in a cluster the keys are spread over its nodes', async (t) => {
  const nodes = await startCluster(t);
  const { Redis } = require('ioredis');
  for (const [name, connect] of Object.entries(CLUSTER_CLIENTS)) {
    const { client, end } = await connect(nodes);
    t.after(end);
    await changesAreSeen(t, client, { buckets: 16, prefix: name.replaceAll(/\W/g, '') });
  }
  const sizes = [];
  for (const { port } of nodes) {
    const client = new Redis(port);
    sizes.push(await client.dbsize());
    client.disconnect();
  }
  assert.ok(
    sizes.every((size) => size > 0),
    `${sizes}`,
  );
});

test('in each format a change anywhere is a change everywhere', async (t) => {
  const redis = await startRedis(t);
  const { client, end } = await CLIENTS.ioredis(redis);
  t.after(end);
  const formats = [
    'merged',
    'exposure',
    'identify',
    ['exposure', 'identify'],
    ['event', 'exposure'],
  ];
  for (const format of formats) {
    const { amplitude, see } = await startFleet(t, [{ client }, { client }], { format });
    const count = () => storedEvents(amplitude).length;
    await see(0, 'a');
    const each = count();
    await see(1, 'a');
    assert.equal(
      count(),
      each,
      `${format}: no service of another format has sent it, and this one once`,
    );
    await see(1, 'b');
    await see(0, 'a');
    await see(0, 'a');
    assert.equal(count(), 3 * each);
    if (format !== 'exposure') {
      assert.equal(propertyOf(amplitude, 'user_1'), 'a', `${format}`);
    }
  }
});

test("the application's other events are none of the store's business", async (t) => {
  const redis = await startRedis(t);
  const { client, end } = await CLIENTS.ioredis(redis);
  t.after(end);
  const { amplitude, dispatchers, see } = await startFleet(t, [{ client }, { client }]);
  for (const [index, dispatcher] of dispatchers.entries()) {
    for (let i = 0; i < 20; i++) {
      dispatcher.track('Purchase', { i }, { user_id: 'user_1' });
      dispatcher.onDecision(createNotification(`user_${i}`));
      dispatcher.identify({ plan: 'pro' }, { user_id: 'user_1' });
    }
    await see(index, 'one_page');
    assert.equal(dispatcher.stats().tracked.delivered, 40);
  }
  assert.equal(sent(amplitude).length, 20);
  assert.equal(storedEvents(amplitude, { type: 'Purchase' }).length, 40);
  assert.equal(await client.dbsize(), 20);
});

/** Start a child process as replica.js describes. */
function startReplica(part) {
  const child = fork(require.resolve('../support/process/replica.js'), [JSON.stringify(part)]);
  return {
    child,
    ended: once(child, 'exit').then(([code]) => assert.equal(code, 0)),
    async ask(message) {
      child.send(message);
      return (await once(child, 'message'))[0];
    },
  };
}

test('three processes, the real SDK, attributes that alternate: the last decision holds after each flush', async (t) => {
  const redis = await startRedis(t);
  const amplitude = await startAmplitude();
  t.after(() => amplitude.close());
  const replicas = [1, 2, 3].map(() =>
    startReplica({ serverUrl: amplitude.httpapi, port: redis.port }),
  );
  const random = seededRandom(13);
  const changes = {};
  const last = {};
  for (let step = 0; step < 600; step++) {
    const userId = `user_${9 + random(3)}`;
    const attributes = random(2) === 0 ? US_PREMIUM : {};
    const replica = replicas[random(3)];
    const answer = await replica.ask({ userId, attributes });
    assert.equal(answer.pending, 0);
    assert.equal(propertyOf(amplitude, userId), answer.value, `step ${step}`);
    if (last[userId] !== answer.value) {
      last[userId] = answer.value;
      changes[userId] = (changes[userId] ?? 0) + 1;
    }
  }
  for (const { child, ended } of replicas) {
    child.send('end');
    await ended;
  }
  for (const [userId, count] of Object.entries(changes)) {
    assert.ok(count > 50);
    assert.equal(viewed(amplitude, userId).length, count);
  }
  const total = Object.values(changes).reduce((sum, count) => sum + count, 0);
  assert.equal(sent(amplitude).length, total, 'and nothing is sent twice');
});

/*
 * As containers of a function are: a process each, with the same users. OA_CONTAINERS=100 takes two minutes on two cores;
 * a dozen show the same. The first one runs alone, since processes at the same time may send the same exposure,
 * under one id.
 */
test('short processes with the same users: each exposure is sent once with a store, and counted once without', async (t) => {
  const PROCESSES = Number(process.env.OA_CONTAINERS ?? 12);
  const USERS = 1000;
  const redis = await startRedis(t);
  for (const port of [redis.port, null]) {
    const amplitude = await startAmplitude();
    t.after(() => amplitude.close());
    const run = () => startReplica({ serverUrl: amplitude.httpapi, port, users: USERS }).ended;
    await run();
    for (let left = PROCESSES - 1; left > 0; left -= 2) {
      await Promise.all([run(), left > 1 ? run() : null]);
    }
    assert.equal(sent(amplitude).length, port === null ? PROCESSES * USERS : USERS);
    assert.equal(viewed(amplitude).length, USERS);
  }
});

test('a server that is killed, frozen and started again costs no decision, and none waits for it for a second', async (t) => {
  const redis = await startRedis(t);
  const { client, end } = await CLIENTS.ioredis(redis);
  client.on('error', () => {});
  t.after(end);
  const { amplitude, members, dispatchers } = await startFleet(t, [{ client, timeoutMillis: 50 }]);
  const [dispatcher] = dispatchers;
  let count = 0;
  const decideSome = async (rounds) => {
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 20; i++) {
        dispatcher.onDecision(createNotification(`user_${count++}`));
      }
      // Whatever the store does, this is enough.
      const report = await dispatcher.flush({ timeoutMillis: 1000 });
      assert.deepEqual([report.delivered, report.pending], [20, 0]);
    }
  };
  const untilChecked = async () => {
    const { checks } = dispatcher.stats().store;
    while (dispatcher.stats().store.checks === checks) {
      await decideSome(1);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await decideSome(10);
  assert.equal(dispatcher.stats().store.failures, 0);
  await redis.kill();
  await decideSome(30);
  const { failures, skipped } = dispatcher.stats().store;
  assert.ok(failures > 0 && skipped > failures, `${failures} ${skipped}`);
  assert.equal(dispatcher.stats().store.state, 'failing');
  assert.match(members[0].logger.warnings[0], /fails \(.+\)/);
  await redis.start();
  await untilChecked();
  redis.signal('SIGSTOP');
  await decideSome(30);
  redis.signal('SIGCONT');
  await untilChecked();
  while (dispatcher.stats().store.state === 'failing') {
    await decideSome(1); // until something is written, too
  }
  assert.equal(viewed(amplitude).length, count);
  assertReconciles(dispatcher.stats());
  const { warnings } = members[0].logger;
  assert.ok(warnings.length >= 2 && warnings.length < 10, `${warnings}`);
});

/** By why it takes no writes: the arguments of its server, and the command that mends it. */
const UNWRITABLE = {
  OOM: [
    ['--maxmemory', '100kb'],
    ['CONFIG', 'SET', 'maxmemory', '0'],
  ],
  READONLY: [
    ['--replicaof', '127.0.0.1', '1'],
    ['REPLICAOF', 'NO', 'ONE'],
  ],
};

const notWritten =
  'a store that can be read and not written to: each process goes by what it sent itself';
describe(notWritten, { skip: isWasm && 'the same for both engines' }, () => {
  for (const [reason, [args, mend]] of Object.entries(UNWRITABLE)) {
    it(reason, async (t) => {
      const redis = await startRedis(t, ...args);
      const { client, end } = await CLIENTS.ioredis(redis);
      t.after(end);
      const { amplitude, members, dispatchers } = await startFleet(t, [{ client }]);
      const [dispatcher] = dispatchers;
      const { logger } = members[0];
      const store = () => dispatcher.stats().store;
      let users = 20;
      /** The same decisions each time, and one that is new: with it there is something to write. */
      const decide = async () => {
        users++;
        for (let i = 0; i < users; i++) {
          dispatcher.onDecision(createNotification(`user_${i}`));
        }
        await dispatcher.flush({ timeoutMillis: PATIENT });
        await new Promise((resolve) => setTimeout(resolve, 20));
      };
      // It is tried again after 1 to 2 seconds; what it answers then are questions, and no writes.
      while (store().failures < 2) {
        await decide();
      }
      assert.ok(store().checks >= 2);
      assert.equal(sent(amplitude).length, users);
      assert.equal(dispatcher.stats().decisions.delivered, users);
      assert.equal(store().state, 'failing');
      assert.match(store().lastError.message, new RegExp(`^${reason}`));
      assert.equal(logger.warnings.length, 1, `${logger.warnings}`);
      assert.match(logger.warnings[0], new RegExp(`cannot be written to \\(${reason}`));
      await client.call(...mend);
      while (store().state === 'failing') {
        await decide();
      }
      await decide();
      assert.equal(sent(amplitude).length, users, 'nothing was sent twice');
      assert.ok((await client.dbsize()) > 0);
      assert.equal(logger.warnings.length, 2, `${logger.warnings}`);
      assert.match(logger.warnings[1], /works again/);
      assertReconciles(dispatcher.stats());
    });
  }

  it('also when it knows older values', async (t) => {
    const redis = await startRedis(t);
    const { client, end } = await CLIENTS.ioredis(redis);
    t.after(end);
    const { amplitude, dispatchers, see } = await startFleet(t, [{ client }]);
    await see(0, 'a');
    await client.call('CONFIG', 'SET', 'maxmemory', '100kb');
    const store = () => dispatchers[0].stats().store;
    const expected = ['a'];
    for (const variationKey of ['b', 'a']) {
      expected.push(variationKey);
      const { checks } = store();
      // Until it is asked again: it answers with what it had at first.
      do {
        await see(0, variationKey);
        assert.equal(propertyOf(amplitude, 'user_1'), variationKey);
        await new Promise((resolve) => setTimeout(resolve, 20));
      } while (store().checks < checks + 2);
    }
    assert.ok(store().failures > 0);
    assert.deepEqual(viewed(amplitude).map(value), expected);
    assert.equal(sent(amplitude).length, expected.length);
  });
});

test('a password that is wrong is told as that', async (t) => {
  const redis = await startRedis(t, '--requirepass', 'secret');
  const { Redis } = require('ioredis');
  const client = new Redis(redis.port, { password: 'wrong' });
  client.on('error', () => {});
  t.after(() => client.disconnect());
  const { members, see } = await startFleet(t, [{ client }]);
  assert.equal((await see(0, 'a')).delivered, 1);
  const { warnings } = members[0].logger;
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /refuses the client's credentials \((NOAUTH|WRONGPASS).+password/);
  assert.equal(members[0].dispatcher.stats().store.state, 'failing');
});

test('a client that hangs holds up neither a flush with abort, nor a close, nor what is sent', async (t) => {
  const hanging = { send: () => new Promise(() => {}), timeoutMillis: 2 ** 31 - 1 };
  const { amplitude, dispatchers } = await startFleet(t, [hanging]);
  const [dispatcher] = dispatchers;
  dispatcher.onDecision(createNotification('user_1'));
  const aborted = await dispatcher.flush({ timeoutMillis: 20, abort: true });
  assert.deepEqual([aborted.delivered, aborted.dropped, aborted.pending], [0, 0, 1]);
  assert.equal(amplitude.requests.length, 0);
  const closed = await dispatcher.close({ timeoutMillis: 20 });
  assert.deepEqual([closed.delivered, closed.dropped, closed.pending], [0, 1, 0]);
});

test('a process, or a Worker, that ends while the store hangs ends at once', async (t) => {
  const { Worker } = require('node:worker_threads');
  const redis = await startRedis(t);
  redis.signal('SIGSTOP');
  const source = (root) => `
    const { createDispatcher } = require(${JSON.stringify(root)});
    const dispatcher = createDispatcher({
      apiKey: 'fleet-key', serverUrl: 'http://127.0.0.1:1/2/httpapi', flushIntervalMillis: 0,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      dedupe: { store: { send: () => { process.exit(7); }, timeoutMillis: 60000 } },
    });
    dispatcher.onDecision({ type: 'flag', userId: 'user_1', decisionInfo: { flagKey: 'f', variationKey: 'a', ruleKey: null, enabled: true } });
    setInterval(() => {}, 1000);`;
  const root = require.resolve('../../lib/index.js');
  const [workerCode] = await once(new Worker(source(root), { eval: true }), 'exit');
  assert.equal(workerCode, 7);
  const { spawn } = require('node:child_process');
  const [code, signal] = await once(spawn(process.execPath, ['-e', source(root)]), 'exit');
  assert.deepEqual([code, signal], [7, null]);
});

test('the ACL of docs/fleet.md is enough, and one without scripts is said once', async (t) => {
  const redis = await startRedis(t);
  const admin = await CLIENTS.ioredis(redis);
  t.after(admin.end);
  const fs = require('node:fs');
  const path = require('node:path');
  const page = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'fleet.md'), 'utf8');
  const rule = /^ACL SETUSER .+$/m.exec(page)[0].replace('<password>', 'secret').split(' ');
  await admin.client.call(rule[0], ...rule.slice(1));
  await admin.client.call(
    'ACL',
    'SETUSER',
    'weak',
    'on',
    '>secret',
    '~*',
    '+@read',
    '+@connection',
  );
  const { Redis } = require('ioredis');
  const clientOf = (username) => {
    const client = new Redis(redis.port, { username, password: 'secret', enableReadyCheck: false });
    t.after(() => client.disconnect());
    return client;
  };
  await changesAreSeen(t, clientOf(rule[2]));
  const { members, see } = await startFleet(t, [{ client: clientOf('weak') }]);
  await see(0, 'a');
  await see(0, 'b');
  const { failures, skipped } = members[0].dispatcher.stats().store;
  assert.equal(failures, 1);
  assert.ok(skipped > 0);
  assert.equal(members[0].logger.warnings.length, 1);
  assert.match(members[0].logger.warnings[0], /NOPERM.+docs\/fleet\.md/);
});

test('two values at once: what Amplitude has in the end is what the store has', async (t) => {
  const redis = await startRedis(t);
  const { client, end } = await CLIENTS.ioredis(redis);
  t.after(end);
  const { amplitude, dispatchers, see } = await startFleet(t, [{ client }, { client }, { client }]);
  const random = seededRandom(99);
  const USERS = 40;
  for (let round = 0; round < 30; round++) {
    for (const dispatcher of dispatchers) {
      for (let i = 0; i < USERS; i++) {
        dispatcher.onDecision(createNotification(`user_${i}`, { variationKey: 'abc'[random(3)] }));
      }
    }
    await Promise.all(
      dispatchers.map((dispatcher) => dispatcher.flush({ timeoutMillis: PATIENT })),
    );
  }
  const conflicts = dispatchers.reduce(
    (sum, dispatcher) => sum + dispatcher.stats().store.conflicts,
    0,
  );
  assert.ok(conflicts > 0, 'there were some');
  dispatchers.forEach((dispatcher) => assertReconciles(dispatcher.stats()));
  const before = storedEvents(amplitude).length;
  for (let i = 0; i < USERS; i++) {
    await see(i % 3, propertyOf(amplitude, `user_${i}`), `user_${i}`);
  }
  assert.equal(storedEvents(amplitude).length, before, 'the store knows each of them');
});
