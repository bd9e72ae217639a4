'use strict';

/** Lists of Amplitude's Behavioral Cohorts API, of which few may be had. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it } = require('node:test');
const zlib = require('node:zlib');

const { startAudiences } = require('../support/audiences/harness.js');
const { csvOf, json, startBehavioralServer } = require('../support/audiences/behavioral.js');
const { SECRET, messageOf, post, serve } = require('../support/audiences/webhook.js');
const { makeFolder } = require('../support/util/folder.js');

const COHORT = '7khm89cz';
const POLL_MILLIS = 30; // it is also the first wait for a file
const DAY_MILLIS = 24 * 60 * 60 * 1000;
const month = () => new Date().toISOString().slice(0, 7);

/** Start a server; `create` makes audiences of it. */
async function prepare(t, { members = ['ann', 'bob'], answers = {} } = {}) {
  const server = await startBehavioralServer(t);
  server.cohorts.set(COHORT, members);
  server.answers = answers;
  const create = (more) => {
    const started = startAudiences(t, {
      ...server.options,
      cohorts: { power: COHORT },
      pollIntervalMillis: POLL_MILLIS,
      ...more,
    });
    const { audiences } = started;
    const power = () => audiences.status().cohorts.power;
    const failed = async (message) => {
      while (!message.test(power().lastError?.message)) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    };
    const has = (...users) => users.map((user) => audiences.has(user, 'power'));
    return { ...started, power, failed, has };
  };
  return { server, create };
}

/** The same, with audiences that ask often. */
async function start(t, options) {
  const prepared = await prepare(t, options);
  return { ...prepared, ...prepared.create() };
}

const stages = (server) => server.requests.map(({ stage }) => stage);

describe('a list', () => {
  it('is asked for, waited for, and fetched from a storage without the keys', async (t) => {
    const { server, audiences, has } = await start(t);
    const { cohorts, downloads } = await audiences.ready();
    assert.deepEqual(stages(server).slice(0, 5), ['request', 'status', 'status', 'file', 'stored']);
    assert.equal(server.requests[4].headers.authorization, undefined);
    assert.deepEqual(has('ann', 'bob', 'zoe'), [true, true, false]);
    assert.deepEqual([cohorts.power.state, cohorts.power.source], ['fresh', 'behavioral']);
    assert.deepEqual(downloads, { month: month(), used: 1, limit: 500 });
  });

  it('that is small is in the answer', async (t) => {
    const { server, create } = await prepare(t);
    server.isLarge = false;
    server.statusTurns = 0;
    const { audiences, has } = create();
    await audiences.ready();
    assert.deepEqual(has('ann', 'zoe'), [true, false]);
    assert.equal(server.countOf('stored'), 0);
  });

  it('is had once, and changed by messages', async (t) => {
    const { server, create } = await prepare(t);
    server.statusTurns = 0;
    const { audiences, has } = create({ pollIntervalMillis: 2000, staleAfterMillis: 3000 });
    const url = await serve(t, audiences.webhook({ secret: SECRET }));
    await audiences.ready();
    const seen = server.requests.length;
    const later = Math.ceil(Date.now() / 1000) + 1;
    await post(url, messageOf(COHORT, ['bob'], { isIn: false, time: later, id: 'a' }));
    await post(url, messageOf(COHORT, ['cat'], { time: later, id: 'b' }));
    assert.deepEqual(has('ann', 'bob', 'cat'), [true, false, true]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(server.requests.length, seen);
  });

  it('is asked for again after pollIntervalMillis, to repair', async (t) => {
    const { server, audiences, changed } = await start(t);
    await audiences.ready();
    server.cohorts.set(COHORT, ['zoe']);
    await changed({ size: 1 });
    assert.equal(audiences.has('zoe', 'power'), true);
    assert.ok(audiences.status().downloads.used >= 2);
  });
});

describe('downloads', () => {
  it('are counted beside the snapshot, from which the next process starts without one', async (t) => {
    const directory = makeFolder('behavioral');
    const { server, create } = await prepare(t);
    const { audiences } = create({ snapshot: { directory }, pollIntervalMillis: 2000 });
    await audiences.ready();
    await audiences.close();
    const seen = server.countOf('request');
    const { audiences: next, has } = create({
      snapshot: { directory },
      pollIntervalMillis: DAY_MILLIS,
    });
    assert.deepEqual(has('ann', 'zoe'), [true, false]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(server.countOf('request'), seen);
    assert.deepEqual(next.status().downloads, { month: month(), used: 1, limit: 500 });
    const files = fs.readdirSync(directory).map((name) => name.replace(/^cohorts-[0-9a-f]+/, ''));
    const kept = files.filter((name) => !/\.(lock|state)$/.test(name)); // which process asks
    assert.deepEqual(kept.sort(), [`.downloads-${month()}`, '.snapshot']);
  });

  it('end at the limit of a month, with a message, and go on in the next', async (t) => {
    const directory = makeFolder('behavioral');
    const { server, create } = await prepare(t);
    server.statusTurns = 0;
    const first = create({ snapshot: { directory }, pollIntervalMillis: 2000 });
    await first.audiences.ready();
    await first.audiences.close();
    const name = fs.readdirSync(directory).find((each) => each.includes('.downloads-'));
    const file = path.join(directory, name);
    const [line] = fs.readFileSync(file, 'utf8').split('\n');
    fs.writeFileSync(file, `${line}\n`.repeat(500));
    fs.rmSync(path.join(directory, name.replace(/\.downloads-.*/, '.snapshot')));
    const seen = server.requests.length;
    const { audiences, power, has, logger } = create({
      snapshot: { directory },
      pollIntervalMillis: DAY_MILLIS,
    });
    await audiences.ready();
    assert.equal(power().state, 'refused');
    assert.match(power().lastError.message, /^the 500 downloads .* in a month are used up/);
    assert.deepEqual(has('ann'), [undefined]);
    assert.match(
      logger.warnings[0],
      /used up.*the attribute is left out until the cohort is loaded/,
    );
    assert.deepEqual(audiences.status().downloads, { month: month(), used: 500, limit: 500 });
    assert.equal(server.requests.length, seen);
    await audiences.close(); // of a machine's processes one asks
    fs.renameSync(file, file.replace(/-\d{4}-\d\d$/, '-2020-01'));
    const next = create({ snapshot: { directory }, pollIntervalMillis: 2000 });
    await next.audiences.ready();
    assert.deepEqual(next.has('ann'), [true]);
    assert.deepEqual(
      fs.readdirSync(directory).filter((each) => each.includes('.downloads-')),
      [name],
      'those of other months are gone',
    );
  });
});

/** What goes wrong: [its name, answers, the message, the state, whether a download was counted]. */
const status = (code, headers) => (request, response) => response.writeHead(code, headers).end();
const FAULTS = [
  ['wrong keys', { request: status(401) }, /keys are refused.*HTTP 401/, 'refused', 0],
  ['no such cohort', { request: status(404) }, /no such cohort.*HTTP 404/, 'refused', 0],
  ['another server', { request: status(302, { Location: '/' }) }, /check serverUrl/, 'refused', 0],
  ['too many requests', { request: status(429) }, /asked too often/, 'loading', 0],
  ['a server that fails', { request: status(500) }, /server fails/, 'loading', 1],
  [
    'an answer without an id',
    { request: (request, response) => json(response, 202, { request_id: '../../secret' }) },
    /no request_id/,
    'loading',
    1,
  ],
  ['a connection that ends', { request: (request) => request.destroy() }, /^127/, 'loading', 0],
  ['a status that fails', { status: status(503) }, /cannot be had \(HTTP 503\)/, 'loading', 1],
  ['a file that is not there', { file: status(403) }, /cannot be had \(HTTP 403\)/, 'loading', 1],
  ['a storage that refuses', { stored: status(403) }, /cannot be had \(HTTP 403\)/, 'loading', 1],
  ['a second redirect', { stored: status(302, { Location: '/' }) }, /^127/, 'loading', 1],
  [
    'a page',
    { stored: (request, response) => response.end('<html>Log in</html>') },
    /that is no cohort: the header has no column/,
    'loading',
    1,
  ],
  [
    'gzip that is cut off',
    { stored: (request, response) => response.end(zlib.gzipSync(csvOf(['ann'])).subarray(0, -9)) },
    /that is no cohort: .*cut off/,
    'loading',
    1,
  ],
  [
    'a body that breaks off',
    {
      stored(request, response) {
        response.writeHead(200, { 'Content-Length': 100 }).write('amplitude_id,user_id\n1,a');
        setImmediate(() => response.destroy());
      },
    },
    /^127/,
    'loading',
    1,
  ],
];

describe('a fault', () => {
  for (const [name, answers, message, state, used] of FAULTS) {
    it(`(${name}) makes no wrong answer`, async (t) => {
      const { server, failed, power, has, audiences } = await start(t, {
        answers,
      });
      await failed(message);
      assert.equal(power().state, state);
      assert.deepEqual(has('ann', 'zoe'), [undefined, undefined]);
      assert.equal(audiences.status().downloads.used, used);
      if (state === 'refused' || answers.request !== undefined) {
        return; // it is asked again in minutes
      }
      server.answers = {};
      await audiences.ready();
      assert.deepEqual(has('ann', 'zoe'), [true, false]);
      assert.equal(audiences.status().downloads.used, used, 'the same file is fetched again');
    });
  }

  it('that lasts has another file made, not often', async (t) => {
    const { server, failed, audiences, has } = await start(t, {
      answers: { file: status(404) },
    });
    await failed(/cannot be had \(HTTP 404\)/);
    server.answers = {};
    await audiences.ready();
    assert.deepEqual(has('ann', 'zoe'), [true, false]);
    assert.ok(audiences.status().downloads.used >= 2);
  });
});
