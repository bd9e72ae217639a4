'use strict';

/** Snapshots: the next process starts with the members of the last one, and never with wrong ones. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it } = require('node:test');

const { faults, startCohortServer } = require('../support/audiences/server.js');
const { startAudiences } = require('../support/audiences/harness.js');
const { startChild } = require('../support/process/child.js');
const { makeFolder } = require('../support/util/folder.js');

const AUDIENCES = path.join(__dirname, '..', '..', 'lib', 'audiences.js');
const COHORTS = { power: 'p', churned: 'c' };

/** Start a server that has the cohorts, and a directory; `create` makes audiences with both. */
async function prepare(t) {
  const server = await startCohortServer(t);
  server.set('p', ['ann', 'bob']);
  server.set('c', ['bob']);
  const directory = path.join(makeFolder('snapshot'), 'made', 'by', 'us');
  const create = (options) =>
    startAudiences(t, { ...server.options, cohorts: COHORTS, snapshot: { directory }, ...options });
  const snapshots = () => fs.readdirSync(directory).filter((name) => name.endsWith('.snapshot'));
  const file = () => path.join(directory, snapshots()[0]);
  return { server, directory, create, file, snapshots };
}

/** The same, after a process that has loaded the members and is over. */
async function prepareSnapshot(t) {
  const prepared = await prepare(t);
  const { audiences } = prepared.create();
  await audiences.ready();
  await audiences.close();
  return prepared;
}

const silence = (server) =>
  ['p', 'c'].forEach((id) => server.fail(id, faults.silence, { forever: true }));

describe('a snapshot', () => {
  it('is there at once, also while the server says nothing, and is confirmed later', async (t) => {
    const { server, create, snapshots } = await prepareSnapshot(t);
    assert.equal(snapshots().length, 1);
    silence(server);
    const { audiences, changes, changed } = create();
    assert.deepEqual(audiences.attributes('ann'), { power: true, churned: false });
    assert.deepEqual(audiences.attributes('bob'), { power: true, churned: true });
    assert.deepEqual(audiences.attributes('zoe'), { power: false, churned: false });
    const { power } = audiences.status().cohorts;
    assert.deepEqual([power.state, power.source, power.size], ['fresh', 'snapshot', 2]);
    assert.equal((await audiences.ready()).cohorts.churned.size, 1);
    await changed({ attribute: 'churned', state: 'fresh' });
    assert.equal(changes.length, 2);
    const before = server.requests.length;
    server.heal('p');
    server.heal('c');
    while (audiences.status().cohorts.power.source === 'snapshot') {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const request = server.requests.slice(before).find(({ id }) => id === 'p');
    assert.equal(request.status, 204, 'it is not downloaded again');
    assert.equal(changes.length, 2);
    server.set('p', ['zoe']);
    await changed({ size: 1, attribute: 'power' });
    assert.deepEqual(audiences.attributes('bob'), { power: false, churned: true });
  });

  it('is as old as its download', async (t) => {
    const { server, create } = await prepareSnapshot(t);
    silence(server);
    await new Promise((resolve) => setTimeout(resolve, 60));
    const { audiences } = create({ pollIntervalMillis: 5, maxStaleMillis: 50 });
    assert.equal(audiences.status().cohorts.power.state, 'expired');
    assert.deepEqual(audiences.attributes('ann'), {});
    assert.equal(create({ staleAfterMillis: 50 }).audiences.status().cohorts.power.state, 'stale');
  });

  it('keeps what is still asked for when the cohorts are others', async (t) => {
    const { server, create } = await prepareSnapshot(t);
    silence(server);
    server.fail('n', faults.silence, { forever: true });
    const { audiences } = create({ cohorts: { fresh: 'n', renamed: 'p' } });
    assert.deepEqual(audiences.attributes('ann'), { renamed: true });
    assert.deepEqual(audiences.attributes('zoe'), { renamed: false });
    assert.equal(audiences.has('ann', 'fresh'), undefined);
    assert.equal(audiences.status().cohorts.fresh.state, 'loading');
  });

  it('of another key is not used', async (t) => {
    const { server, create } = await prepareSnapshot(t);
    silence(server);
    const { audiences, logger } = create({ secretKey: 'the-key-of-somebody-else' });
    assert.deepEqual(audiences.attributes('ann'), {});
    assert.match(
      logger.warnings[0],
      /^the snapshot of cohorts is not used: it was made with another key/,
    );
  });

  it('that is damaged is not used', async (t) => {
    const { server, create, file } = await prepareSnapshot(t);
    silence(server);
    const name = file();
    const good = fs.readFileSync(name);
    const use = (bytes) => {
      fs.rmSync(name);
      fs.writeFileSync(name, bytes);
      const { audiences, logger } = create();
      const users = ['ann', 'bob', 'zoe'].map((user) => audiences.attributes(user));
      return audiences.close().then(() => ({ users, warnings: logger.warnings }));
    };
    const right = (await use(good)).users;
    assert.deepEqual(right[0], { power: true, churned: false });
    for (let at = 0; at < good.length; at += Math.ceil(good.length / 40)) {
      const flipped = Buffer.from(good);
      flipped[at] ^= 4;
      for (const bytes of [flipped, good.subarray(0, at)]) {
        const { users, warnings } = await use(bytes);
        if (JSON.stringify(users) !== JSON.stringify(right)) {
          assert.deepEqual(users, [{}, {}, {}], `byte ${at}`);
          assert.equal(warnings.length, bytes.length === 0 ? 0 : 1);
        }
      }
    }
    const { users } = await use(Buffer.concat([good, good]));
    assert.ok([JSON.stringify(right), '[{},{},{}]'].includes(JSON.stringify(users)));
  });

  it('that cannot be written is told, and nothing else suffers', async (t) => {
    const { server, directory, create } = await prepare(t);
    fs.mkdirSync(path.dirname(directory), { recursive: true });
    fs.writeFileSync(directory, 'a file where the directory should be');
    const { audiences, logger, changed } = create();
    await audiences.ready();
    assert.deepEqual(audiences.attributes('ann'), { power: true, churned: false });
    assert.match(logger.warnings[0], /^no snapshot can be kept in .*ENOTDIR/);
    server.set('p', ['zoe']);
    await changed({ attribute: 'power', size: 1 });
    assert.match(logger.warnings.at(-1), /^the snapshot cannot be written: Not a directory/);
  });

  it(
    'whose directory cannot be made is told',
    { skip: process.platform !== 'linux' },
    async (t) => {
      const { create } = await prepare(t);
      const { audiences, logger } = create({ snapshot: { directory: '/proc/snapshots/cohorts' } });
      await audiences.ready();
      assert.equal(audiences.has('ann', 'power'), true);
      assert.match(logger.warnings[0], /^no snapshot can be kept in .*ENOENT/);
    },
  );

  it('is read and written by several at once', async (t) => {
    const { server, create } = await prepare(t);
    const all = [create(), create(), create()];
    for (let round = 0; round < 5; round++) {
      const members = Array.from({ length: 1000 }, (_, index) => `user_${round}_${index}`);
      server.set('p', members);
      await Promise.all(
        all.map(async ({ audiences }) => {
          while (audiences.has(members[0], 'power') !== true) {
            await new Promise((resolve) => setTimeout(resolve, 1));
          }
        }),
      );
      const { audiences } = create();
      assert.equal(audiences.has('nobody', 'power'), false, 'there is one at any moment');
      await audiences.close();
    }
  });

  it('left half written by a process that is killed is never used', async (t) => {
    const { server, directory, create } = await prepareSnapshot(t);
    const size = 300_000;
    let version = 0;
    const next = () => {
      version++;
      const prefix = `v${version}_`;
      server.set('p', { count: size, nameOf: (index) => prefix + index });
    };
    const code = `
      const { createAudiences } = require(${JSON.stringify(AUDIENCES)});
      createAudiences({
        ...${JSON.stringify(server.options)},
        cohorts: ${JSON.stringify(COHORTS)},
        snapshot: { directory: ${JSON.stringify(directory)} },
        pollIntervalMillis: 5,
      });
      setInterval(() => {}, 1000);`;
    for (let round = 0; round < 4; round++) {
      const child = startChild(t, ['-e', code]);
      const before = version;
      const timer = setInterval(next, 40);
      while (version < before + 4 + round) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      child.kill('SIGKILL');
      await child.ended;
      clearInterval(timer);
      silence(server);
      const { audiences, logger } = create();
      assert.deepEqual(logger.warnings, []);
      const { state, source } = audiences.status().cohorts.power;
      assert.deepEqual([state, source], ['fresh', 'snapshot']);
      const seen = ['ann', ...Array.from({ length: version }, (_, index) => `v${index + 1}_0`)];
      const members = seen.filter((user) => audiences.has(user, 'power'));
      assert.equal(members.length, 1, `one version as a whole: ${members}`);
      const last = members[0].replace(/_0$/, `_${size - 1}`);
      assert.equal(audiences.has(last, 'power'), true);
      await audiences.close();
      server.heal('p');
      server.heal('c');
    }
  });
});
