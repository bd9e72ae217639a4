'use strict';

/** A directory into which a job copies Amplitude's cohort exports from S3. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it } = require('node:test');
const zlib = require('node:zlib');

const { startAudiences } = require('../support/audiences/harness.js');
const { makeFolder } = require('../support/util/folder.js');

const COHORT = '7khm89cz';
const DAY = '2026-11-26';

const csv = (users) =>
  `amplitudeID,userID,plan\r\n${users.map((user, index) => `${index},${user},pro\r\n`).join('')}`;

/** A directory, and what writes into it. */
function prepare() {
  const folder = makeFolder('exports');
  const nameOf = (time, kind, { cohort = COHORT, ending = '.csv', key = '' } = {}) =>
    path.join(folder, `123456_${cohort}_${DAY}T${time}_${kind}${key}${ending}`);
  /** Write a file of a sync as a job that copies it, long ago unless `isNew`. */
  const put = (time, kind, users, { isNew = false, ...more } = {}) => {
    const file = nameOf(time, kind, more);
    const text = typeof users === 'string' ? users : csv(users);
    fs.writeFileSync(`${file}.part`, file.endsWith('.gz') ? zlib.gzipSync(text) : text);
    if (!isNew) {
      const minuteAgo = Date.now() / 1000 - 60;
      fs.utimesSync(`${file}.part`, minuteAgo, minuteAgo);
    }
    fs.renameSync(`${file}.part`, file);
    return file;
  };
  const putSync = (time, { existing, entering = [], exiting = [] }, more) => {
    put(time, 'exiting', exiting, more);
    put(time, 'existing', existing, more);
    put(time, 'entering', entering, more);
  };
  return { folder, pattern: path.join(folder, `*_${COHORT}_*`), nameOf, put, putSync };
}

function start(t, pattern, options) {
  const started = startAudiences(t, { source: 'file', cohorts: { power: pattern }, ...options });
  const { audiences } = started;
  const has = (...users) => users.map((user) => audiences.has(user, 'power'));
  /** Wait until a user is in the cohort, or is not. */
  const until = async (user, isIn = true) => {
    while (audiences.has(user, 'power') !== isIn) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  const failed = async (message) => {
    while (!message.test(audiences.status().cohorts.power.lastError?.message)) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  return { ...started, has, until, failed };
}

describe('a directory of exports', () => {
  it('has the members of its latest sync, whether `existing` is before or after the others', async (t) => {
    for (const existing of [['ann', 'bob', 'cat'], ['ann', 'dan'], ['ann']]) {
      const { pattern, putSync } = prepare();
      putSync('09-00', { existing: ['zoe'], entering: ['zoe'] });
      putSync('10-00', { existing, entering: ['dan'], exiting: ['bob', 'cat'] });
      const { audiences, has } = start(t, pattern);
      const { power } = (await audiences.ready()).cohorts;
      assert.deepEqual(has('ann', 'bob', 'cat', 'dan', 'zoe'), [true, false, false, true, false]);
      assert.deepEqual([power.size, power.source, power.cohortId], [2, 'file', pattern]);
      const time = Date.parse(`${DAY}T10:00Z`);
      assert.ok(power.lastModified === time || (Date.now() < time && power.lastModified < time));
    }
  });

  it('is read again when there is a new sync, in whatever order its files come', async (t) => {
    const { pattern, put, putSync } = prepare();
    putSync('10-00', { existing: ['ann'], entering: ['bob'] });
    const { audiences, has, changed, changes } = start(t, pattern);
    await audiences.ready();
    put('11-00', 'existing', ['ann', 'bob']);
    put('11-00', 'exiting', ['ann']);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(has('ann', 'bob', 'cat'), [true, true, false], 'it is not complete');
    put('11-00', 'entering', ['cat'], { ending: '.csv.gz' });
    await changed({ size: 2, previousSize: 2 });
    assert.deepEqual(has('ann', 'bob', 'cat'), [false, true, true]);
    assert.equal(changes.length, 2, 'once each');
  });

  it('follows syncs that lack `existing`, in their order, up to a gap', async (t) => {
    const { pattern, put, putSync } = prepare();
    putSync('10-00', { existing: ['ann'] });
    const { audiences, has, until } = start(t, pattern);
    await audiences.ready();
    put('12-00', 'entering', ['ann']);
    put('12-00', 'exiting', ['bob']);
    await until('bob', false);
    assert.deepEqual(has('ann', 'bob'), [true, false]);
    // This one was late, and is applied in its place.
    put('11-00', 'exiting', ['ann']);
    put('11-00', 'entering', ['bob', 'cat']);
    await until('cat');
    assert.deepEqual(has('ann', 'bob', 'cat'), [true, false, true]);
    // Behind a gap, nothing is used before it is filled.
    put('13-00', 'entering', ['dan']);
    put('14-00', 'entering', ['eve']);
    put('14-00', 'exiting', ['dan']);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(has('dan', 'eve'), [false, false]);
    put('13-00', 'exiting', []);
    await until('eve');
    assert.deepEqual(has('cat', 'dan', 'eve'), [true, false, true]);
    // And a complete one needs none of them.
    putSync('15-00', { existing: ['zoe'] });
    await until('zoe');
    assert.deepEqual(has('ann', 'cat', 'eve'), [false, false, false]);
  });

  it('may lose its older files, and have other ones beside them', async (t) => {
    const { folder, pattern, put, putSync } = prepare();
    putSync('10-00', { existing: ['ann'] });
    putSync('10-00', { existing: ['zoe'] }, { cohort: 'another' });
    putSync('23-00', { existing: ['zoe'] }, { cohort: `x_${COHORT}` });
    put('23-59', 'existing', ['zoe'], { ending: '.csv.1a2b3c' });
    fs.writeFileSync(path.join(folder, `.123456_${COHORT}_${DAY}T23-59_existing.csv`), 'x');
    fs.writeFileSync(path.join(folder, `123456_${COHORT}_2026-99-99T99-99_existing.csv`), 'x');
    const { audiences, has, until } = start(t, pattern);
    await audiences.ready();
    assert.deepEqual(has('ann', 'zoe'), [true, false]);
    putSync('11:00:30', { existing: ['ann', 'bob'] }, { key: '_routing_key' });
    await until('bob');
    fs.readdirSync(folder)
      .filter((name) => name.includes('T10-00'))
      .forEach((name) => fs.rmSync(path.join(folder, name)));
    putSync('12-00', { existing: ['ann', 'cat'] });
    await until('cat');
    assert.deepEqual(has('ann', 'bob'), [true, false]);
  });

  it('is not used while a file is being written in its place', async (t) => {
    const { pattern, putSync, nameOf } = prepare();
    putSync('10-00', { existing: ['ann'] });
    const { audiences, has, changed } = start(t, pattern, { pollIntervalMillis: 500 });
    await audiences.ready();
    const users = Array.from({ length: 60 }, (_, index) => `user_${index}`);
    const text = csv(users);
    putSync('11-00', { existing: [], exiting: ['ann'] });
    const file = nameOf('11-00', 'entering');
    fs.writeFileSync(nameOf('11-00', 'existing'), csv(['ann']));
    for (let at = 0; at < text.length; at += Math.ceil(text.length / 15)) {
      fs.writeFileSync(file, text.slice(0, at)); // it is cut anywhere
      await new Promise((resolve) => setTimeout(resolve, 10));
      assert.deepEqual(has('ann', 'user_0'), [true, false]);
    }
    fs.writeFileSync(file, text);
    await changed({ size: 60 });
    assert.deepEqual(has('ann', 'user_0', 'user_59'), [false, true, true]);
  });

  it('that has no complete sync is unknown, and says what is missing', async (t) => {
    const { folder, pattern, put, putSync } = prepare();
    const { has, until, failed } = start(t, pattern);
    await failed(/no file of cohort 7khm89cz is in it/);
    put('10-00', 'entering', ['ann']);
    await failed(/no sync in it is complete: of 2026-11-26T10:00 there is no file 'existing'/);
    assert.deepEqual(has('ann'), [undefined]);
    putSync('10-00', { existing: [], entering: ['ann'] });
    await until('ann');
    put('10-00', 'exiting', 'id,name\n1,x\n');
    await failed(/no cohort: the header has no column user_id/);
    assert.deepEqual(has('ann'), [true]);
    fs.rmSync(folder, { recursive: true });
    await failed(/the directory cannot be read \(ENOENT\)/);
    assert.deepEqual(has('ann'), [true]);
    fs.mkdirSync(folder);
  });
});
