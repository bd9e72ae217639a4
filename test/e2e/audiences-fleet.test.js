'use strict';

/** Members that a fleet shares through a real Redis: one process asks the source, and all have its answer. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it, test } = require('node:test');

const { faults, startCohortServer } = require('../support/audiences/server.js');
const { startAudiences } = require('../support/audiences/harness.js');
const { SECRET, messageOf, post, serve } = require('../support/audiences/webhook.js');
const { startChild } = require('../support/process/child.js');
const { CLIENTS, CLUSTER_CLIENTS } = require('../support/store/clients.js');
const { startCluster, startRedis } = require('../support/store/redis.js');

const COHORTS = { power: 'p', churned: 'c' };
const PACE = { pollMillis: 20, leaseMillis: 1000 };
const MEMBER = path.join(__dirname, '..', 'support', 'process', 'audiences-member.js');

const until = async (condition) => {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

/** Start a Redis and a server of cohorts; `join` makes a process of the fleet, in this one. */
async function prepare(t) {
  const redis = await startRedis(t);
  const server = await startCohortServer(t);
  server.set('p', ['ann', 'bob']);
  server.set('c', ['bob']);
  const clientOf = async (name = 'ioredis') => {
    const { client, end } = await CLIENTS[name](redis);
    t.after(end);
    return client;
  };
  const join = async ({ store, pace, name, ...options } = {}) => {
    const client = store?.client ?? (await clientOf(name));
    return startAudiences(t, {
      ...server.options,
      cohorts: COHORTS,
      pollIntervalMillis: 50,
      store: { client, ...store },
      pace: { ...PACE, ...pace },
      ...options,
    });
  };
  const joinReady = async (options) => {
    const member = await join(options);
    await member.audiences.ready();
    return member;
  };
  /** What others see of the store. */
  const direct = await clientOf();
  const keys = () => direct.keys('*');
  return { redis, server, join, joinReady, direct, keys, clientOf };
}

const attributesOf = ({ audiences }, ...users) => users.map((user) => audiences.attributes(user));
const isLeader = ({ audiences }) => audiences.status().store.isLeader;
const downloads = (server, id) =>
  server.requests.filter((request) => request.id === id && request.status === 200).length;
const published = ({ audiences }) =>
  Object.values(audiences.status().cohorts).every(({ source }) => source === 'store');

describe('a fleet', () => {
  it('has one process that downloads, and all have the members', async (t) => {
    const { server, join } = await prepare(t);
    const all = await Promise.all(Array.from({ length: 20 }, () => join()));
    await Promise.all(all.map(({ audiences }) => audiences.ready()));
    assert.deepEqual([downloads(server, 'p'), downloads(server, 'c')], [1, 1]);
    assert.equal(all.filter(isLeader).length, 1);
    for (const member of all) {
      assert.deepEqual(attributesOf(member, 'ann', 'bob', 'zoe'), [
        { power: true, churned: false },
        { power: true, churned: true },
        { power: false, churned: false },
      ]);
      const { power } = member.audiences.status().cohorts;
      assert.equal(power.source, isLeader(member) ? 'amplitude' : 'store');
      assert.deepEqual([power.size, power.state], [2, 'fresh']);
    }
    server.set('p', ['zoe']);
    await Promise.all(all.map(({ changed }) => changed({ attribute: 'power', size: 1 })));
    assert.equal(downloads(server, 'p'), 2);
    assert.deepEqual(attributesOf(all[3], 'ann', 'zoe'), [
      { power: false, churned: false },
      { power: true, churned: false },
    ]);
    assert.deepEqual(
      all.flatMap(({ logger }) => logger.warnings),
      [],
    );
  });

  it('has each version written once, however long that takes', async (t) => {
    const { server, joinReady, clientOf, direct, keys } = await prepare(t);
    server.set('p', { count: 300_000, nameOf: (index) => `user_${index}` });
    const client = await clientOf();
    const begun = new Set();
    const call = async (...argv) => {
      argv.filter((each) => /^w[0-9a-f]+\.\d+$/.test(each)).forEach((each) => begun.add(each));
      await new Promise((resolve) => setTimeout(resolve, PACE.pollMillis));
      return client.call(...argv);
    };
    const leader = await joinReady({ store: { client: { call } }, pace: { leaseMillis: 10_000 } });
    const { audiences } = await joinReady();
    assert.equal(audiences.has('user_299999', 'power'), true);
    const turns = () => new Promise((resolve) => setTimeout(resolve, 20 * PACE.pollMillis));
    await turns();
    assert.equal(begun.size, 1);
    // But not one of which the pieces were removed meanwhile.
    server.set('p', { count: 300_000, nameOf: (index) => `other_${index}` });
    await until(() => begun.size === 2);
    await direct.del((await keys()).filter((key) => !key.endsWith(':lease')));
    await until(() => begun.size === 3);
    await until(() => audiences.has('other_299999', 'power'));
    assert.deepEqual([leader, { audiences }].map(isLeader), [true, false]);
  });

  it('knows that a cohort is empty, and that another one is refused', async (t) => {
    const { server, joinReady } = await prepare(t);
    server.set('p', []);
    server.delete('c');
    await joinReady();
    const { audiences } = await joinReady();
    assert.deepEqual(audiences.attributes('ann'), { power: false });
    const { power, churned } = audiences.status().cohorts;
    assert.deepEqual([power.state, power.size, churned.state], ['fresh', 0, 'refused']);
    assert.match(churned.lastError.message, /no such cohort/);
    assert.equal(churned.lastError.statusCode, 404);
  });

  it('knows nothing, and not false, before anybody has loaded it', async (t) => {
    const { server, join } = await prepare(t);
    server.fail('p', faults.status(503), { forever: true });
    server.fail('c', faults.status(503), { forever: true });
    const all = [await join(), await join()];
    await server.answered('p', 2);
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const member of all) {
      assert.deepEqual(attributesOf(member, 'ann'), [{}]);
      assert.equal(member.audiences.has('ann', 'power'), undefined);
      assert.equal(member.audiences.status().cohorts.power.state, 'loading');
    }
    server.heal('p');
    server.heal('c');
    await Promise.all(all.map(({ audiences }) => audiences.ready()));
    assert.deepEqual(attributesOf(all[1], 'bob'), [{ power: true, churned: true }]);
  });

  it('goes on when the process ends that downloads, without another download', async (t) => {
    const { server, joinReady } = await prepare(t);
    const first = await joinReady();
    const second = await joinReady();
    await until(() => published(second));
    assert.deepEqual([isLeader(first), isLeader(second)], [true, false]);
    await first.audiences.close();
    await until(() => isLeader(second));
    const before = server.requests.length;
    await until(() => server.requests.length > before + 2);
    assert.equal(downloads(server, 'p'), 1, 'what it has is the latest');
    server.set('c', ['ann']);
    const third = await joinReady();
    await third.changed({ attribute: 'churned', size: 1 });
    await until(() => third.audiences.has('ann', 'churned'));
    assert.deepEqual(attributesOf(second, 'ann'), [{ power: true, churned: true }]);
  });

  it('writes no user id, and every key ends by itself', async (t) => {
    const { server, joinReady, direct, keys } = await prepare(t);
    const users = Array.from({ length: 1000 }, (_, index) => `somebody_${index}@example.com`);
    server.set('p', users);
    const { audiences } = await joinReady();
    const url = await serve(t, audiences.webhook({ secret: SECRET }));
    await post(url, messageOf('p', ['a-new-member'], { time: Math.ceil(Date.now() / 1000) }));
    await until(async () => (await keys()).length >= 4);
    for (const key of await keys()) {
      assert.match(key, /^\{oa:cohorts1:[0-9a-f]{16}\}:/);
      assert.ok((await direct.pttl(key)) > 0, key);
      const text = String(await direct.call('DUMP', key));
      const decoded = Buffer.from(text, 'base64').toString('latin1');
      assert.ok(![text, decoded].some((each) => /somebody|a-new-member/.test(each)), key);
    }
  });

  it('of another key, or other cohorts, is another fleet', async (t) => {
    const { server, joinReady, keys } = await prepare(t);
    await joinReady();
    const other = await joinReady({ cohorts: { power: 'p' } });
    assert.deepEqual(attributesOf(other, 'ann'), [{ power: true }]);
    assert.equal(downloads(server, 'p'), 2);
    const groups = new Set((await keys()).map((key) => /:([0-9a-f]{16})\}/.exec(key)[1]));
    assert.equal(groups.size, 2);
  });

  it('leaves no old versions', async (t) => {
    const { server, joinReady, direct, keys } = await prepare(t);
    const { changed } = await joinReady();
    for (let size = 3; size < 8; size++) {
      server.set(
        'p',
        Array.from({ length: size }, (_, index) => `user_${index}`),
      );
      await changed({ attribute: 'power', size });
    }
    const pieces = async () => (await keys()).filter((key) => /:\d+$/.test(key));
    await until(async () => {
      const ends = await Promise.all((await pieces()).map((key) => direct.pttl(key)));
      return ends.filter((millis) => millis > 150_000).length === 1;
    });
  });

  for (const name of Object.keys(CLIENTS)) {
    it(`shares its members through ${name}`, async (t) => {
      const { server, joinReady } = await prepare(t);
      server.set('p', { count: 120_000, nameOf: (index) => `user_${index}` });
      await joinReady({ name });
      const { audiences } = await joinReady({ name });
      assert.equal(audiences.has('user_119999', 'power'), true);
      assert.equal(audiences.has('user_120000', 'power'), false);
      assert.equal(downloads(server, 'p'), 1);
      const url = await serve(t, audiences.webhook({ secret: SECRET }));
      const time = Math.ceil(Date.now() / 1000);
      const users = Array.from({ length: 9000 }, (_, index) => `new_${index}`);
      assert.equal((await post(url, messageOf('p', users, { time }))).status, 200);
      assert.equal(audiences.status().cohorts.power.size, 129_000);
    });
  }

  it('takes a function that sends', async (t) => {
    const { join, clientOf } = await prepare(t);
    const client = await clientOf();
    const send = (argv) => client.call(...argv);
    for (const store of [
      { client: undefined, send },
      { client: undefined, send },
    ]) {
      const { audiences } = await join({ store });
      await audiences.ready();
      assert.equal(audiences.has('ann', 'power'), true);
    }
  });
});

test('a cluster', async (t) => {
  const nodes = await startCluster(t);
  const server = await startCohortServer(t);
  server.set('p', ['ann']);
  for (const [name, create] of Object.entries(CLUSTER_CLIENTS)) {
    const { client, end } = await create(nodes);
    t.after(end);
    const cohorts = { [`power_${name.length}`]: 'p' };
    const options = { ...server.options, cohorts, store: { client, prefix: `oa${name.length}` } };
    const first = startAudiences(t, { ...options, pace: PACE });
    await first.audiences.ready();
    const second = startAudiences(t, { ...options, pace: PACE });
    await second.audiences.ready();
    assert.deepEqual(attributesOf(second, 'ann'), [{ [Object.keys(cohorts)[0]]: true }], name);
    await until(() => published(second));
    await Promise.all([first.audiences.close(), second.audiences.close()]);
  }
});

describe('a store', () => {
  const keeps = (member) =>
    assert.deepEqual(attributesOf(member, 'ann', 'zoe'), [
      { power: true, churned: false },
      { power: false, churned: false },
    ]);

  it('that dies and comes back empty costs nothing but news', async (t) => {
    const { redis, server, joinReady, keys } = await prepare(t);
    const all = [await joinReady(), await joinReady()];
    await until(() => published(all[1]));
    await redis.kill();
    const downs = all.map(
      ({ logger }) =>
        () =>
          logger.warnings.length > 0,
    );
    await until(() => downs.some((isDown) => isDown()) || server.requests.length > 1000);
    all.forEach(keeps);
    await redis.start();
    await until(() => all.every(({ audiences }) => audiences.status().store.state === 'ok'));
    await until(() => all.some(isLeader));
    await until(async () => (await keys()).length >= 3);
    all.forEach(keeps);
    assert.equal(downloads(server, 'p'), 1, 'a process that has the members gives them to others');
    server.set('p', ['ann', 'zoe']);
    await Promise.all(all.map(({ audiences }) => until(() => audiences.has('zoe', 'power'))));
    const third = await joinReady();
    assert.equal(third.audiences.has('zoe', 'power'), true);
    assert.equal(downloads(server, 'p'), 2);
  });

  it('that is emptied is filled again', async (t) => {
    const { server, joinReady, direct, keys } = await prepare(t);
    const all = [await joinReady(), await joinReady()];
    await until(() => published(all[1]));
    for (let round = 0; round < 3; round++) {
      await direct.flushall();
      all.forEach(keeps);
      await until(async () => (await keys()).some((key) => key.endsWith(':0')));
      const late = await joinReady();
      keeps(late);
      await late.audiences.close();
    }
    assert.equal(downloads(server, 'p'), 1);
    server.set('p', ['zoe']);
    await Promise.all(all.map(({ audiences }) => until(() => audiences.has('zoe', 'power'))));
    assert.deepEqual(attributesOf(all[0], 'ann'), [{ power: false, churned: false }]);
  });

  it('that does not answer leaves what is there, and unknown what is not', async (t) => {
    const { redis, server, join, joinReady } = await prepare(t);
    const first = await joinReady();
    redis.signal('SIGSTOP');
    const second = await join();
    await new Promise((resolve) => setTimeout(resolve, 300));
    keeps(first);
    assert.deepEqual(attributesOf(second, 'ann'), [{}]);
    assert.equal(downloads(server, 'p'), 1);
    redis.signal('SIGCONT');
    await second.audiences.ready();
    keeps(second);
  });

  it('that never answers does not hold close()', async (t) => {
    const { redis, joinReady } = await prepare(t);
    const member = await joinReady();
    redis.signal('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 100));
    await member.audiences.close();
    redis.signal('SIGCONT');
    assert.deepEqual(attributesOf(member, 'ann'), [{}]);
  });

  for (const name of ['lease', 'head', 'log']) {
    it(`whose key '${name}' is of another kind is told once, and everything stays`, async (t) => {
      const { joinReady, direct, keys, server } = await prepare(t);
      const member = await joinReady();
      await until(async () => (await keys()).some((key) => key.endsWith(':head')));
      const tag = (await keys())[0].replace(/\}:.*/, '}');
      await direct.multi().del(`${tag}:${name}`).lpush(`${tag}:${name}`, 'junk').exec();
      if (name === 'log') {
        const url = await serve(t, member.audiences.webhook({ secret: SECRET }));
        await post(url, messageOf('p', ['bob'], { time: Math.floor(Date.now() / 1000) }));
        await direct.multi().del(`${tag}:log`).lpush(`${tag}:log`, 'junk').exec();
        const answer = await post(
          url,
          messageOf('p', ['zoe'], { time: Math.floor(Date.now() / 1000) }),
        );
        assert.equal(answer.status, 503);
        assert.equal(member.audiences.has('zoe', 'power'), true, 'this process knows');
        return;
      }
      await until(() => member.logger.warnings.length > 0);
      assert.match(
        member.logger.warnings[0],
        /^the store of cohorts fails \(.*WRONGTYPE.*: another program uses its keys: set store.prefix; each process keeps/,
      );
      await new Promise((resolve) => setTimeout(resolve, 200));
      assert.equal(member.logger.warnings.length, 1);
      keeps(member);
      assert.equal(member.audiences.status().store.state, 'failing');
      await direct.del(`${tag}:${name}`);
      await until(() => member.audiences.status().store.state === 'ok');
      server.set('p', ['zoe']);
      await until(() => member.audiences.has('zoe', 'power'));
    });
  }

  it('with a state that nobody of us wrote is told, and everything stays', async (t) => {
    const { joinReady, direct, keys } = await prepare(t);
    const all = [await joinReady(), await joinReady()];
    await until(() => published(all[1]));
    const head = (await keys()).find((key) => key.endsWith(':head'));
    await direct.set(head.replace(/head$/, 'lease'), 'somebody', 'PX', 60_000);
    const junk = [
      's{"version":{"id":"ff","table":1e99}}',
      's',
      'x[]',
      's{"cohorts":[]}',
      's{"version":null,"cohorts":[null,null]}',
      's{"version":null,"cohorts":[{"confirmedAt":"now"},{}]}',
    ];
    for (const text of junk) {
      await direct.hset(head, 'state', text, 'rev', `junk${text.length}`);
      await until(() => all[1].audiences.status().store.state === 'failing');
      all.forEach(keeps);
      assert.match(
        all[1].audiences.status().store.lastError.message,
        /not written by this version/,
      );
      await direct.hdel(head, 'state', 'rev');
      await until(() => all[1].audiences.status().store.state === 'ok');
    }
  });

  it('with a damaged piece, or without one, is written again', async (t) => {
    const { server, joinReady, direct, keys } = await prepare(t);
    const leader = await joinReady();
    await until(async () => (await keys()).some((key) => /:0$/.test(key)));
    for (const damage of [
      (key) => direct.del(key),
      (key) => direct.set(key, 'pAAAA'),
      (key) => direct.set(key, 'p####'),
      async (key) => {
        const text = await direct.get(key);
        const other = text.at(-20) === 'A' ? 'B' : 'A';
        await direct.set(key, text.slice(0, -20) + other + text.slice(-19));
      },
    ]) {
      const before = await keys();
      const state = await direct.hget(
        before.find((key) => key.endsWith(':head')),
        'state',
      );
      const { id } = JSON.parse(state.slice(1)).version;
      await damage(before.find((key) => key.endsWith(`:${id}:0`)));
      const late = await joinReady();
      keeps(late);
      assert.match(late.logger.warnings[0], /^the members in the store of cohorts are damaged/);
      await late.audiences.close();
    }
    keeps(leader);
    assert.equal(downloads(server, 'p'), 1);
  });

  it('of which the client reads from a replica is told', async (t) => {
    const { redis, joinReady, clientOf } = await prepare(t);
    const member = await joinReady();
    const replica = await startRedis(t, '--replicaof', '127.0.0.1', redis.port);
    const { client, end } = await CLIENTS.ioredis(replica);
    t.after(end);
    await until(async () => (await client.info('replication')).includes('master_link_status:up'));
    await member.audiences.close();
    const direct = await clientOf();
    await direct.wait(1, 1000);
    const { logger, audiences } = startAudiences(t, {
      apiKey: 'api-key',
      secretKey: 'secret-key-of-a-project',
      serverUrl: 'http://127.0.0.1:1',
      cohorts: { other: 'p' },
      store: { client },
      pace: PACE,
    });
    await until(() => logger.warnings.length > 0);
    assert.match(
      logger.warnings[0],
      /READONLY.*: the client has to write, so it needs the primary/,
    );
    assert.deepEqual(audiences.attributes('ann'), {});
  });

  it('that has no memory left is told, and gets the members when it has', async (t) => {
    const { server, joinReady, direct } = await prepare(t);
    const leader = await joinReady();
    const follower = await joinReady();
    await until(() => published(follower));
    await direct.config('SET', 'maxmemory', '1');
    server.set('p', ['zoe']);
    await until(() => leader.audiences.has('zoe', 'power'));
    await until(() => leader.audiences.status().store.state === 'failing');
    assert.match(leader.logger.warnings[0], /OOM.*: the server has no memory left/);
    keeps(follower);
    await direct.config('SET', 'maxmemory', '0');
    await until(() => follower.audiences.has('zoe', 'power'));
    await until(() => leader.audiences.status().store.state === 'ok');
  });
});

describe('processes', () => {
  const start = (t, { server, redis }, pace = PACE) =>
    startChild(t, [
      MEMBER,
      JSON.stringify({
        options: { ...server.options, cohorts: COHORTS, pollIntervalMillis: 20 },
        port: redis.port,
        pace,
      }),
    ]);

  it('twenty of them make one download', async (t) => {
    const prepared = await prepare(t);
    const { server } = prepared;
    server.set('p', { count: 50_000, nameOf: (index) => `user_${index}` });
    const children = Array.from({ length: 20 }, () => start(t, prepared));
    await Promise.all(children.map((child) => child.printed('ready')));
    assert.deepEqual([downloads(server, 'p'), downloads(server, 'c')], [1, 1]);
    for (const child of children) {
      const { attributes } = await child.ask(['user_49999', 'user_50000']);
      assert.deepEqual(attributes, [
        { power: true, churned: false },
        { power: false, churned: false },
      ]);
    }
  });

  it('killed while they write leave whole versions, and nothing for long', async (t) => {
    const prepared = await prepare(t);
    const { server, joinReady, direct, keys } = prepared;
    const size = 300_000;
    let version = 0;
    const next = () => {
      version++;
      const prefix = `v${version}_`;
      server.set('p', { count: size, nameOf: (index) => prefix + index });
    };
    next();
    let killed = 0;
    for (let round = 0; round < 4; round++) {
      const child = start(t, prepared);
      await child.printed('ready');
      next();
      await until(async () => {
        const head = (await keys()).find((key) => key.endsWith(':head'));
        return head !== undefined && (await direct.hexists(head, 'writing')) === 1;
      });
      child.kill('SIGKILL');
      await child.ended;
      killed++;
    }
    assert.equal(killed, 4);
    const { audiences } = await joinReady();
    await until(() => audiences.has(`v${version}_${size - 1}`, 'power'));
    assert.equal(audiences.has(`v${version}_0`, 'power'), true);
    assert.equal(audiences.has(`v${version - 1}_0`, 'power'), false);
    // What was begun and not published ends within minutes, and not with the day.
    await until(async () => {
      const head = (await keys()).find((key) => key.endsWith(':head'));
      const [state, writing] = await direct.hmget(head, 'state', 'writing');
      const id = JSON.parse(state.slice(1)).version?.id;
      const others = (await keys()).filter((key) => /:\d+$/.test(key) && !key.includes(`:${id}:`));
      const ends = await Promise.all(others.map((key) => direct.pttl(key)));
      return id !== undefined && writing === null && ends.every((millis) => millis <= 120_000);
    });
  });

  it('stopped for longer than the lease changes nothing when it goes on', async (t) => {
    const prepared = await prepare(t);
    const { server, joinReady } = prepared;
    const child = start(t, prepared);
    await child.printed('ready');
    await child.freeze();
    const { audiences } = await joinReady();
    await until(() => audiences.status().store.isLeader);
    server.set('p', ['zoe']);
    await until(() => audiences.has('zoe', 'power'));
    child.thaw();
    await until(async () => (await child.ask(['zoe'])).attributes[0].power === true);
    const { status } = await child.ask([]);
    assert.deepEqual([status.store.isLeader, status.store.state], [false, 'ok']);
    assert.equal(audiences.status().store.isLeader, true);
  });
});

describe('a message of the webhook', () => {
  /** A fleet of which the last member gets the messages. */
  async function startFleet(t, { count = 3, ...options } = {}) {
    const prepared = await prepare(t);
    const list = prepared.server.set('p', ['ann', 'bob']);
    const all = [];
    for (let i = 0; i < count; i++) {
      all.push(await prepared.joinReady(options));
    }
    await until(() => all.slice(1).every(published));
    const listed = list.lastModified / 1000;
    const url = await serve(t, all.at(-1).audiences.webhook({ secret: SECRET }));
    const send = (users, more) => post(url, messageOf('p', users, more));
    const has = (user) => all.map(({ audiences }) => audiences.has(user, 'power'));
    const reaches = (user, isIn) => until(() => has(user).every((each) => each === isIn));
    return { ...prepared, all, listed, url, send, has, reaches };
  }

  it('reaches all of them', async (t) => {
    const { all, listed, send, reaches } = await startFleet(t);
    const { status } = await send(['cat', 'dan'], { time: listed + 60 });
    assert.equal(status, 200);
    assert.equal(all[2].audiences.has('cat', 'power'), true, 'this one at once');
    await reaches('cat', true);
    await send(['ann'], { isIn: false, time: listed + 61 });
    await reaches('ann', false);
    for (const { audiences } of all) {
      assert.equal(audiences.status().cohorts.power.size, 3);
      assert.equal(audiences.status().store.messages, 2);
    }
    assert.equal(all[2].audiences.status().webhook.messages, 2);
    assert.equal(all[0].audiences.status().webhook, null);
    assert.ok(!all[2].logger.lines.some(({ message }) => /this process only/.test(message)));
  });

  it('is applied in the order of its time, whenever it comes', async (t) => {
    const { listed, send, reaches, joinReady } = await startFleet(t);
    await send(['cat'], { time: listed + 60 });
    await send(['cat'], { isIn: false, time: listed + 50 });
    await send(['dan'], { isIn: false, time: listed + 70 });
    await send(['dan'], { time: listed + 65 });
    await send(['end'], { time: listed + 80 });
    await reaches('end', true);
    await reaches('cat', true);
    await reaches('dan', false);
    const late = await joinReady();
    await until(() => late.audiences.has('end', 'power'));
    assert.deepEqual(attributesOf(late, 'cat', 'dan'), [
      { power: true, churned: false },
      { power: false, churned: false },
    ]);
    assert.equal(late.audiences.status().cohorts.power.size, 4);
  });

  it('of which many came is known to one that comes later, with a list between them', async (t) => {
    const { server, all, send, reaches, joinReady } = await startFleet(t);
    const list = server.set('p', ['ann', 'eve']);
    await Promise.all(all.map(({ audiences }) => until(() => audiences.has('eve', 'power'))));
    const time = list.lastModified / 1000;
    for (let i = 0; i < 150; i++) {
      await send([`user_${i}`], { time: time + i });
    }
    await reaches('user_149', true);
    const late = await joinReady();
    assert.equal(
      late.audiences.status().cohorts.power.size,
      2 + 149,
      'the first is as old as the list',
    );
    assert.equal(late.audiences.has('user_1', 'power'), true);
    assert.equal(late.audiences.has('user_0', 'power'), false);
    const next = server.set('p', ['bob'], { lastModified: list.lastModified + 140_500 });
    assert.ok(next.lastModified > list.lastModified);
    // Members are looked up from the moment at which they are there; the report with their number comes a little later.
    const sizeOf = ({ audiences }) => audiences.status().cohorts.power.size;
    await Promise.all([...all, late].map((each) => until(() => sizeOf(each) === 1 + 9)));
    for (const { audiences } of [...all, late]) {
      assert.equal(audiences.has('bob', 'power'), true);
      assert.equal(audiences.has('user_140', 'power'), false);
      assert.equal(audiences.has('user_141', 'power'), true, 'later than the list');
    }
  });

  it('survives all processes', async (t) => {
    const { all, listed, send, joinReady } = await startFleet(t);
    await send(['cat'], { time: listed + 60 });
    await Promise.all(all.map(({ audiences }) => audiences.close()));
    const next = await joinReady();
    assert.equal(next.audiences.has('cat', 'power'), true);
    assert.equal(next.audiences.status().cohorts.power.size, 3);
  });

  it('is asked for again while the store is down, and this process knows it', async (t) => {
    const { redis, all, listed, send, has, reaches } = await startFleet(t);
    await redis.kill();
    const { status, message } = await send(['cat'], { time: listed + 60, id: 'x::enter::0' });
    assert.deepEqual(
      [status, message],
      [503, 'the store does not take it: only this process has it'],
    );
    assert.deepEqual(has('cat'), [false, false, true]);
    await redis.start();
    await until(() => all.every(({ audiences }) => audiences.status().store.state === 'ok'));
    await until(
      async () => (await send(['cat'], { time: listed + 60, id: 'x::enter::0' })).status === 200,
    );
    await reaches('cat', true);
  });

  it('comes in the order of the store, after it was emptied, too', async (t) => {
    const { direct, listed, send, reaches } = await startFleet(t);
    await send(['cat'], { time: listed + 60 });
    await reaches('cat', true);
    await direct.flushall();
    await send(['dan'], { time: listed + 61 });
    await reaches('dan', true);
    await reaches('cat', true);
    await direct.flushall();
    await send(['cat'], { isIn: false, time: listed + 62 });
    await reaches('cat', false);
  });

  it('of more users than an overlay holds is merged', async (t) => {
    const { all, listed, send, reaches, server } = await startFleet(t, { count: 2 });
    server.fail('p', faults.status(204), { forever: true });
    for (let part = 0; part < 5; part++) {
      const users = Array.from({ length: 40_000 }, (_, index) => `many_${part}_${index}`);
      await send(users, { time: listed + 60 + part });
    }
    await send(['end'], { time: listed + 90 });
    await reaches('end', true);
    await reaches('many_4_39999', true);
    await reaches('many_0_0', true);
    for (const { audiences } of all) {
      await until(() => audiences.status().cohorts.power.size === 200_003);
    }
  });
});

test('the ACL of docs/audiences.md is enough', async (t) => {
  const { redis, server, join, direct } = await prepare(t);
  const page = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'audiences.md'), 'utf8');
  const rule = /^ACL SETUSER .+$/m.exec(page)[0].replace('<password>', 'secret').split(' ');
  await direct.call(rule[0], ...rule.slice(1));
  const { Redis } = require('ioredis');
  const clientOf = (username) => {
    const client = new Redis(redis.port, { username, password: 'secret', enableReadyCheck: false });
    t.after(() => client.disconnect());
    return { client };
  };
  const all = [await join({ store: clientOf(rule[2]) }), await join({ store: clientOf(rule[2]) })];
  const url = await serve(t, all[1].audiences.webhook({ secret: SECRET }));
  await Promise.all(all.map(({ audiences }) => audiences.ready()));
  await post(url, messageOf('p', ['zoe'], { time: Math.floor(Date.now() / 1000) }));
  await until(() => all.every(({ audiences }) => audiences.has('zoe', 'power')));
  server.set('c', ['zoe']);
  await until(() => all.every(({ audiences }) => audiences.has('zoe', 'churned')));
  assert.deepEqual(
    all.flatMap(({ logger }) => logger.warnings),
    [],
  );
  await direct.call('ACL', 'SETUSER', 'weak', 'on', '>secret', '~*', '+@read', '+@connection');
  const weak = await join({ store: clientOf('weak'), cohorts: { other: 'c' } });
  await until(() => weak.logger.warnings.length > 0);
  assert.match(weak.logger.warnings[0], /NOPERM.+docs\/audiences\.md/);
});

test('a snapshot is there before the store is', async (t) => {
  const { redis, server, join, joinReady } = await prepare(t);
  const directory = fs.mkdtempSync(path.join(redis.dir, 'snapshot-'));
  const first = await joinReady({ snapshot: { directory } });
  await first.audiences.close();
  await redis.kill();
  const second = await join({ snapshot: { directory } });
  assert.deepEqual(attributesOf(second, 'bob'), [{ power: true, churned: true }]);
  assert.equal(second.audiences.status().cohorts.power.source, 'snapshot');
  assert.equal(downloads(server, 'p'), 1);
});
