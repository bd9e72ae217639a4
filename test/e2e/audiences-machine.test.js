'use strict';

/** Processes of one machine, which share a directory: what a webhook changed survives them. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, it } = require('node:test');

const { faults, startCohortServer } = require('../support/audiences/server.js');
const { startAudiences } = require('../support/audiences/harness.js');
const { SECRET, messageOf, post, serve } = require('../support/audiences/webhook.js');
const { startChild } = require('../support/process/child.js');

const COHORTS = { power: 'p', churned: 'c' };
const MEMBER = path.join(__dirname, '..', 'support', 'process', 'audiences-member.js');

const until = async (condition) => {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

/** A server of cohorts, which says nothing after its first lists, and a directory; `create` makes audiences with both. */
async function prepare(t) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-machine-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
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
    const saved = () => fs.readFileSync(path.join(options.snapshot.directory, files()[0]));
    await until(() => saved().length >= 50 * 16);
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
    assert.equal(files().length, 3);
    silence();
    const next = create();
    assert.deepEqual(has(next, 'from_0', 'from_1', 'from_2', 'ann'), [true, true, true, true]);
    assert.equal(sizeOf(next), 5);
    const send = await listen(next);
    await send(['another'], { time: listed + 90 });
    await next.audiences.close();
    assert.equal(files().length, 3, 'it has taken one of the files');
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
    await until(() => has(next, 'eve')[0]);
    assert.deepEqual(has(next, 'ann', 'cat', 'dan'), [false, false, true]);
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
    fs.rmSync(directory, { recursive: true });
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
