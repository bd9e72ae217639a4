'use strict';

/** Processes of one machine, which share a directory: what a webhook changed survives them. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it } = require('node:test');

const { faults, startCohortServer } = require('../support/audiences/server.js');
const { startAudiences } = require('../support/audiences/harness.js');
const { SECRET, messageOf, post, serve } = require('../support/audiences/webhook.js');
const { startChild } = require('../support/process/child.js');
const { makeFolder } = require('../support/util/folder.js');

const COHORTS = { power: 'p', churned: 'c' };
const MEMBER = path.join(__dirname, '..', 'support', 'process', 'audiences-member.js');

const until = async (condition) => {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

/** A server of cohorts, which says nothing after its first lists, and a directory; `create` makes audiences with both. */
async function prepare(t) {
  const directory = makeFolder('machine');
  const server = await startCohortServer(t);
  const { lastModified } = server.set('p', ['ann', 'bob']);
  server.set('c', ['bob']);
  const options = { ...server.options, cohorts: COHORTS, snapshot: { directory } };
  const create = (more) => startAudiences(t, { ...options, ...more });
  const listen = async ({ audiences }) => {
    const url = await serve(t, audiences.webhook({ secret: SECRET }));
    return (users, more) => post(url, messageOf('p', users, more));
  };
  const silence = () =>
    ['p', 'c'].forEach((id) => server.fail(id, faults.silence, { forever: true }));
  const files = () => fs.readdirSync(directory).filter((name) => /\.changes\.\d+$/.test(name));
  return {
    server,
    directory,
    options,
    create,
    listen,
    silence,
    files,
    listed: lastModified / 1000,
  };
}

const has = ({ audiences }, ...users) => users.map((user) => audiences.has(user, 'power'));
const sizeOf = ({ audiences }) => audiences.status().cohorts.power.size;

describe('what a webhook changed', () => {
  it('is there after a restart, before any list', async (t) => {
    const { create, listen, silence, listed } = await prepare(t);
    const first = create();
    await first.audiences.ready();
    const send = await listen(first);
    await send(['cat'], { time: listed + 60 });
    await send(['ann'], { isIn: false, time: listed + 61 });
    await first.audiences.close();
    silence();
    for (let restart = 0; restart < 2; restart++) {
      const next = create();
      assert.deepEqual(has(next, 'ann', 'bob', 'cat', 'zoe'), [false, true, true, false]);
      assert.equal(sizeOf(next), 2);
      const sendAgain = await listen(next);
      await sendAgain(['cat'], { isIn: false, time: listed + 50 });
      assert.deepEqual(has(next, 'cat'), [true], 'a late message is late after a restart, too');
      await next.audiences.close();
    }
  });

  it('is there after a process was killed', async (t) => {
    const { options, silence, create, files, listed } = await prepare(t);
    const child = startChild(t, [MEMBER, JSON.stringify({ options, webhook: SECRET })]);
    await Promise.all([child.printed('ready'), child.printed('serves')]);
    const [, url] = /serves (\S+)/.exec(child.stdout);
    for (let i = 0; i < 50; i++) {
      await post(url, messageOf('p', [`user_${i}`], { time: listed + 60 + i }));
    }
    await until(() => files().length === 1);
    const saved = () => {
      const bytes = fs.readFileSync(path.join(options.snapshot.directory, files()[0]));
      return bytes.readBigUInt64LE(24) + bytes.readBigUInt64LE(32); // the changes, old and young
    };
    await until(() => saved() === 50n);
    child.kill('SIGKILL');
    await child.ended;
    silence();
    const next = create();
    assert.deepEqual(has(next, 'ann', 'user_0', 'user_49', 'user_50'), [true, true, true, false]);
    assert.equal(sizeOf(next), 52);
  });

  it('in several processes is known to the next one', async (t) => {
    const { create, listen, silence, files, listed } = await prepare(t);
    const all = [create(), create(), create()];
    await Promise.all(all.map(({ audiences }) => audiences.ready()));
    for (const [index, member] of all.entries()) {
      const send = await listen(member);
      await send([`from_${index}`], { time: listed + 60 });
      await send(['ann'], { isIn: index !== 1, time: listed + 70 + index });
    }
    await Promise.all(all.map(({ audiences }) => audiences.close()));
    assert.ok(files().length <= 3);
    silence();
    const next = create();
    assert.deepEqual(has(next, 'from_0', 'from_1', 'from_2', 'ann'), [true, true, true, true]);
    assert.equal(sizeOf(next), 5);
    const send = await listen(next);
    await send(['another'], { time: listed + 90 });
    await next.audiences.close();
    assert.ok(files().length <= 3, 'it has taken one of the files');
    assert.deepEqual(has(create(), 'from_0', 'from_1', 'from_2', 'another'), Array(4).fill(true));
  });

  it('is replaced by a list that is later', async (t) => {
    const { server, create, listen, listed } = await prepare(t);
    const first = create();
    await first.audiences.ready();
    await (
      await listen(first)
    )(['cat'], { time: listed + 60 });
    await (
      await listen(first)
    )(['dan'], { time: listed + 600 });
    await first.audiences.close();
    server.set('p', ['eve'], { lastModified: (listed + 300) * 1000 });
    const next = create();
    assert.deepEqual(has(next, 'cat', 'dan'), [true, true]);
    await next.changed({ attribute: 'power', size: 2 }); // and the snapshot is written
    assert.deepEqual(has(next, 'ann', 'cat', 'dan', 'eve'), [false, false, true, true]);
    await next.audiences.close();
    assert.deepEqual(has(create(), 'cat', 'dan', 'eve'), [false, true, true]);
  });

  it('is not used of other cohorts, another key, or when it is damaged', async (t) => {
    const { directory, create, listen, silence, files, listed } = await prepare(t);
    const first = create();
    await first.audiences.ready();
    await (
      await listen(first)
    )(['cat'], { time: listed + 60 });
    await first.audiences.close();
    silence();
    const swapped = create({ cohorts: { churned: 'c', power: 'p' } });
    assert.deepEqual(has(swapped, 'ann', 'cat'), [true, false]);
    assert.equal(swapped.audiences.has('cat', 'churned'), false);
    const other = create({ secretKey: 'another-secret-key' });
    assert.deepEqual(has(other, 'ann', 'cat'), [undefined, undefined]);
    const file = path.join(directory, files()[0]);
    const good = fs.readFileSync(file);
    for (const bytes of [good.subarray(0, 70), Buffer.alloc(0), Buffer.alloc(9e6)]) {
      fs.writeFileSync(file, bytes);
      const next = create();
      assert.deepEqual(has(next, 'ann', 'cat'), [true, false]);
      assert.match(next.logger.warnings[0], /^changes of the webhook in .* are not used: /);
      await next.audiences.close();
    }
  });

  it('that cannot be kept is told', async (t) => {
    const { directory, create, listen, listed } = await prepare(t);
    const first = create();
    await first.audiences.ready();
    const send = await listen(first);
    // At once: the first list may be on its way into it.
    fs.renameSync(directory, path.join(makeFolder('machine'), 'moved'));
    fs.writeFileSync(directory, '');
    await send(['cat'], { time: listed + 60 });
    await first.audiences.close();
    assert.match(
      first.logger.warnings.at(-1),
      /^what the webhook changed is not kept for the next/,
    );
    fs.rmSync(directory);
    fs.mkdirSync(directory);
  });
});

describe('processes with one directory', () => {
  const downloads = (server, id) =>
    server.requests.filter((request) => request.id === id && request.status === 200).length;

  it('have one that asks, and all have the members', async (t) => {
    const { server, create } = await prepare(t);
    const all = Array.from({ length: 6 }, () => create());
    await Promise.all(all.map(({ audiences }) => audiences.ready()));
    assert.deepEqual([downloads(server, 'p'), downloads(server, 'c')], [1, 1]);
    for (const member of all) {
      assert.deepEqual(has(member, 'ann', 'bob', 'zoe'), [true, true, false]);
      assert.equal(member.audiences.has('bob', 'churned'), true);
      assert.equal(sizeOf(member), 2);
      assert.equal(member.audiences.status().cohorts.power.state, 'fresh');
    }
    assert.equal(all[5].audiences.status().cohorts.power.source, 'snapshot');
    server.set('p', ['zoe', 'eve', 'ann']);
    await Promise.all(all.map(({ changed }) => changed({ attribute: 'power', size: 3 })));
    assert.equal(downloads(server, 'p'), 2);
    assert.deepEqual(has(all[5], 'ann', 'bob', 'zoe'), [true, false, true]);
    assert.deepEqual(
      all.flatMap(({ logger }) => logger.warnings),
      [],
    );
  });

  it('know nothing, and not false, before one has loaded it', async (t) => {
    const { server, create } = await prepare(t);
    server.fail('c', faults.status(503), { forever: true });
    server.delete('p');
    const all = [create(), create()];
    await until(() => all[1].audiences.status().cohorts.power.state === 'refused');
    assert.match(all[1].audiences.status().cohorts.power.lastError.message, /no such cohort/);
    server.heal('c');
    await Promise.all(all.map(({ audiences }) => audiences.ready()));
    for (const { audiences } of all) {
      assert.deepEqual(audiences.attributes('bob'), { churned: true });
    }
  });

  it('go on when the one that asks is killed', async (t) => {
    const { server, options, create } = await prepare(t);
    const config = JSON.stringify({ options: { ...options, pollIntervalMillis: 20 } });
    const child = startChild(t, [MEMBER, config]);
    await child.printed('ready');
    const other = create();
    await other.audiences.ready();
    assert.equal(downloads(server, 'p'), 1);
    child.kill('SIGKILL');
    await child.ended;
    server.set('p', ['zoe']);
    await other.changed({ attribute: 'power', size: 1 });
    assert.deepEqual(has(other, 'ann', 'zoe'), [false, true]);
  });

  it('ask for themselves while the one that should is stopped', async (t) => {
    const { server, options, create } = await prepare(t);
    const config = JSON.stringify({ options: { ...options, pollIntervalMillis: 20 } });
    const child = startChild(t, [MEMBER, config]);
    await child.printed('ready');
    const other = create({ pace: { pollMillis: 10, silenceMillis: 300 } });
    await other.audiences.ready();
    await child.freeze();
    server.set('p', ['zoe']);
    await other.changed({ attribute: 'power', size: 1 });
    assert.match(other.logger.warnings[0], /says nothing: this one asks for itself$/);
    child.thaw();
    server.set('p', ['zoe', 'eve']);
    await until(async () => (await child.ask(['eve'])).attributes[0].power === true);
    await until(() => has(other, 'eve')[0]);
  });

  it('keep what a webhook told one of them when another one has a list', async (t) => {
    const { server, create, listen, listed } = await prepare(t);
    const leader = create();
    await leader.audiences.ready();
    const other = create();
    await other.audiences.ready();
    await (
      await listen(other)
    )(['cat'], { time: listed + 600 });
    await (
      await listen(other)
    )(['dan'], { time: listed + 60 });
    server.set('p', ['eve', 'ann'], { lastModified: (listed + 300) * 1000 });
    await until(() => has(other, 'eve')[0] && sizeOf(other) === 3);
    assert.deepEqual(has(other, 'ann', 'bob', 'cat', 'dan'), [true, false, true, false]);
    assert.deepEqual(has(leader, 'eve', 'cat'), [true, false]);
  });

  it('of which the snapshot is damaged keep what they have', async (t) => {
    const { server, directory, create } = await prepare(t);
    const leader = create();
    await leader.audiences.ready();
    const other = create({ pace: { pollMillis: 10, silenceMillis: 500 } });
    await other.audiences.ready();
    server.set('p', ['zoe']);
    const name = fs.readdirSync(directory).find((each) => each.endsWith('.snapshot'));
    const timer = setInterval(() => {
      fs.writeFileSync(path.join(directory, 'junk'), Buffer.alloc(300, 7));
      fs.renameSync(path.join(directory, 'junk'), path.join(directory, name));
    }, 1);
    await until(() => has(leader, 'zoe')[0]);
    await until(() => has(other, 'zoe')[0] || other.logger.warnings.length > 0);
    clearInterval(timer);
    await until(() => has(other, 'zoe')[0]);
    assert.deepEqual(has(other, 'ann'), [false]);
  });
});
