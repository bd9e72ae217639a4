'use strict';

/** Cohorts from files that something else replaces. */

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it } = require('node:test');
const zlib = require('node:zlib');

const { startAudiences } = require('../support/audiences/harness.js');
const { bodyOf } = require('../support/audiences/server.js');
const { makeFolder } = require('../support/util/folder.js');

const json = (members) => bodyOf({ id: 'any', members, lastModified: 1, groupType: 'User' });
const csv = (members) =>
  `amplitude_id,user_id,"a property"\r\n${members.map((id) => `5,"${id}",x`).join('\r\n')}\r\n`;
const lines = (members) => `${members.join('\n')}\n`;

/** Each kind of file: [its name, what writes it]. */
const KINDS = [
  ['cohort.json', json],
  ['array.json', (members) => JSON.stringify(members)],
  ['cohort.csv', csv],
  ['cohort.txt', lines],
  ['cohort.json.gz', (members) => zlib.gzipSync(json(members))],
  ['cohort.csv.gz', (members) => zlib.gzipSync(csv(members))],
];

/** Replace a file at once, as a job should. */
function replace(file, content) {
  fs.writeFileSync(`${file}.new`, content);
  fs.renameSync(`${file}.new`, file);
}

function start(t, file, options = {}) {
  return startAudiences(t, { source: 'file', cohorts: { power: file }, ...options });
}

/** Wait until a refresh has failed; returns the error. */
async function failed(audiences) {
  while (audiences.status().cohorts.power.lastError === null) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return audiences.status().cohorts.power.lastError;
}

describe('a file', () => {
  for (const [name, write] of KINDS) {
    it(`(${name}) is read, and read again when it was replaced`, async (t) => {
      const file = path.join(makeFolder('cohorts'), name);
      replace(file, write(['ann', 'bob']));
      const { audiences, changed } = start(t, file);
      const status = await audiences.ready();
      assert.equal(status.cohorts.power.state, 'fresh');
      assert.equal(status.cohorts.power.source, 'file');
      assert.equal(status.cohorts.power.cohortId, file);
      assert.equal(status.cohorts.power.lastModified, fs.statSync(file).mtimeMs);
      const has = (users) => users.map((user) => audiences.has(user, 'power'));
      assert.deepEqual(has(['ann', 'bob', 'cat']), [true, true, false]);
      replace(file, write(['bob', 'cat', 'dan']));
      await changed({ size: 3 });
      assert.deepEqual(has(['ann', 'bob', 'cat']), [false, true, true]);
    });
  }

  it('that is not there is unknown, until it is', async (t) => {
    const file = path.join(makeFolder('cohorts'), 'cohort.csv');
    const { audiences, changed, logger } = start(t, file);
    assert.match((await failed(audiences)).message, /the file cannot be read \(ENOENT\)/);
    assert.equal(audiences.has('ann', 'power'), undefined);
    assert.match(logger.warnings[0], /cohort\.csv of attribute 'power': the file cannot be read/);
    replace(file, csv(['ann']));
    await changed({ state: 'fresh' });
    assert.equal(audiences.has('ann', 'power'), true);
    fs.rmSync(file);
    await failed(audiences);
    assert.equal(audiences.has('ann', 'power'), true, 'the members are kept');
  });

  for (const [what, name, content, message] of [
    ['a folder', 'cohort.csv', (file) => fs.mkdirSync(file), /it is not a file/],
    ['a pipe', 'cohort.csv', (file) => execFileSync('mkfifo', [file]), /it is not a file/],
    ['without a column user_id', 'cohort.csv', 'id,name\n1,ann\n', /no cohort: .*user_id/],
    ['that is cut off', 'cohort.json', json(['ann']).slice(0, -3), /no cohort: /],
    [
      'whose compression is cut off',
      'cohort.csv.gz',
      zlib.gzipSync(csv(['ann'])).subarray(0, -4),
      /cut off/,
    ],
    ['that is empty', 'cohort.csv', '', /no cohort: /],
  ]) {
    it(`${what} is refused, and what is known is kept`, async (t) => {
      const file = path.join(makeFolder('cohorts'), name);
      const good = name.endsWith('json') ? json(['ann']) : csv(['ann']);
      replace(file, good);
      const { audiences } = start(t, file);
      await audiences.ready();
      if (typeof content === 'function') {
        fs.rmSync(file);
        content(file);
      } else {
        replace(file, content);
      }
      assert.match((await failed(audiences)).message, message);
      assert.equal(audiences.has('ann', 'power'), true);
      const { audiences: others } = start(t, file);
      await failed(others);
      assert.equal(others.has('ann', 'power'), undefined);
    });
  }

  it('is as old as its last change', async (t) => {
    const file = path.join(makeFolder('cohorts'), 'cohort.txt');
    replace(file, lines(['ann']));
    const hourAgo = Date.now() / 1000 - 3600;
    fs.utimesSync(file, hourAgo, hourAgo);
    const { audiences } = start(t, file, { staleAfterMillis: 30 * 60 * 1000 });
    const { state, ageMillis } = (await audiences.ready()).cohorts.power;
    assert.equal(state, 'stale');
    assert.ok(ageMillis >= 3_600_000);
    assert.equal(audiences.has('ann', 'power'), true);
    const { audiences: strict } = start(t, file, { maxStaleMillis: 30 * 60 * 1000 });
    assert.equal((await strict.ready()).cohorts.power.state, 'expired');
    assert.equal(strict.has('ann', 'power'), undefined);
  });

  it('is read from the folder in which the process was when they were created', async (t) => {
    const folder = makeFolder('cohorts');
    replace(path.join(folder, 'cohort.txt'), lines(['ann']));
    const before = process.cwd();
    t.after(() => process.chdir(before));
    process.chdir(folder);
    const { audiences } = start(t, 'cohort.txt');
    process.chdir(before);
    assert.equal((await audiences.ready()).cohorts.power.state, 'fresh');
  });
});
