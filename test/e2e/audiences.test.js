'use strict';

/** Cohorts of a server that plays Amplitude's, as attributes of real clients of the SDK. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const { describe, it } = require('node:test');

const { SECRET_KEY, faults, startCohortServer } = require('../support/audiences/server.js');
const { startAudiences } = require('../support/audiences/harness.js');
const { certificates } = require('../support/network/certificates.js');
const { MAJORS, createClient } = require('../support/optimizely/sdk.js');

const DATAFILE = fs.readFileSync(
  path.join(__dirname, '..', 'examples', 'audiences-datafile.json'),
  'utf8',
);
const COHORT = '7khm89cz';
const POWER = 'amplitude_power_user';
const LONG_MILLIS = 60_000;

const zipped = (text) => zlib.gzipSync(text);

/** Start a server with one cohort, and audiences of it. */
async function start(t, { members = ['ann', 'bob'], tls, ...options } = {}) {
  const server = await startCohortServer(t, tls);
  if (members !== null) {
    server.set(COHORT, members);
  }
  const started = startAudiences(t, {
    ...server.options,
    cohorts: { [POWER]: COHORT },
    ...options,
  });
  return { server, ...started };
}

/** Create a client of a major of the SDK for one test. */
function clientOf(t, major) {
  const client = createClient(major, DATAFILE);
  t.after(() => client.close());
  return client;
}

/** What the datafile's two flags are for a user: [for power users, for all who are none]. */
function flagsOf(client, userId, attributes) {
  const user = client.createUserContext(userId, attributes);
  return [user.decide('power_tools').enabled, user.decide('guided_tour').enabled];
}

for (const major of MAJORS) {
  describe(`a client of SDK v${major}`, () => {
    it('decides by a cohort and by its negation, and by neither while it is not known', async (t) => {
      const server = await startCohortServer(t);
      server.set(COHORT, ['ann']);
      server.fail(COHORT, faults.status(503), { forever: true });
      const { audiences, changed } = startAudiences(t, {
        ...server.options,
        cohorts: { [POWER]: COHORT },
      });
      const client = clientOf(t, major);
      audiences.attach(client);
      await server.answered(COHORT, 2);
      assert.deepEqual(flagsOf(client, 'ann'), [false, false]);
      assert.deepEqual(flagsOf(client, 'zoe'), [false, false]);
      server.heal(COHORT);
      await changed({ state: 'fresh' });
      assert.deepEqual(flagsOf(client, 'ann'), [true, false]);
      assert.deepEqual(flagsOf(client, 'zoe'), [false, true]);
      server.set(COHORT, []);
      await changed({ size: 0 });
      assert.deepEqual(flagsOf(client, 'ann'), [false, true]);
    });

    it('gets what the application gives, and only what its datafile names', async (t) => {
      const { server, audiences, logger } = await start(t, {
        cohorts: { [POWER]: COHORT, amplitude_unused: 'unused', plan: 'plans' },
      });
      server.set('unused', ['ann']);
      server.set('plans', ['ann']);
      await audiences.ready();
      const client = clientOf(t, major);
      const detach = audiences.attach(client);
      assert.equal(audiences.attach(client), detach);
      const given = Object.freeze({ plan: 'pro' });
      assert.deepEqual(client.createUserContext('ann', given).getAttributes(), {
        [POWER]: true,
        plan: 'pro',
      });
      assert.deepEqual(flagsOf(client, 'ann', { [POWER]: false }), [false, true]);
      const warnings = logger.warnings.filter((line) => /not added/.test(line));
      assert.equal(warnings.length, 2);
      assert.match(warnings[0], /'amplitude_unused' .* it has no such attribute/);
      assert.match(warnings[1], /'plan' .* no audience uses it/);
      assert.deepEqual(audiences.attributes('ann'), {
        [POWER]: true,
        amplitude_unused: true,
        plan: true,
      });
      assert.equal(Object.hasOwn(client, 'createUserContext'), true);
      detach();
      assert.equal(Object.hasOwn(client, 'createUserContext'), false);
      assert.deepEqual(client.createUserContext('ann').getAttributes(), {});
      audiences.attach(client);
      await audiences.close();
      assert.deepEqual(client.createUserContext('ann').getAttributes(), {});
      assert.equal(Object.hasOwn(client, 'createUserContext'), false);
      assert.throws(() => audiences.attach(client), { code: 'ERR_OA_CLOSED' });
    });

    it('refuses what it refuses by itself', async (t) => {
      const { audiences } = await start(t);
      await audiences.ready();
      const invalid = [
        ['ann', 'text'],
        ['ann', 5],
        ['ann', []],
        ['ann', { [POWER]: undefined }],
        [5, {}],
        [undefined, undefined],
      ];
      const results = (client) =>
        invalid.map((args) => {
          try {
            return typeof client.createUserContext(...args)?.decide;
          } catch (error) {
            return error.message;
          }
        });
      const client = clientOf(t, major);
      audiences.attach(client);
      assert.deepEqual(results(client), results(clientOf(t, major)));
    });
  });
}

describe('a client', () => {
  it('that hides its datafile gets all attributes', async (t) => {
    const { audiences } = await start(t);
    await audiences.ready();
    const client = { createUserContext: (userId, attributes) => ({ userId, attributes }) };
    const own = client.createUserContext;
    const detach = audiences.attach(client);
    assert.deepEqual(client.createUserContext('ann', { plan: 'pro' }), {
      userId: 'ann',
      attributes: { [POWER]: true, plan: 'pro' },
    });
    detach();
    assert.equal(client.createUserContext, own);
  });

  it('that was wrapped again keeps that, and gets nothing more', async (t) => {
    const { audiences } = await start(t);
    await audiences.ready();
    const client = { createUserContext: (userId, attributes) => attributes };
    const detach = audiences.attach(client);
    const ours = client.createUserContext;
    client.createUserContext = (...args) => ours.apply(client, args);
    detach();
    assert.equal(client.createUserContext('ann', undefined), undefined);
    audiences.attach(client);
    assert.deepEqual(client.createUserContext('ann'), { [POWER]: true });
  });

  it('that is none is refused', async (t) => {
    const { audiences } = await start(t);
    for (const value of [null, undefined, {}, 'client', Promise.resolve({})]) {
      assert.throws(() => audiences.attach(value), { code: 'ERR_OA_CLIENT', name: 'TypeError' });
    }
  });
});

describe('a download', () => {
  it('is asked for as the API wants it, and not again while it is the latest', async (t) => {
    const { server, audiences } = await start(t, { maxMembers: 1000 });
    const status = await audiences.ready();
    await server.answered(COHORT, 3);
    const { lastModified } = status.cohorts[POWER];
    const [first, second] = server.requests;
    assert.equal(first.url, `/sdk/v1/cohort/${COHORT}?maxCohortSize=1000`);
    assert.equal(
      second.url,
      `/sdk/v1/cohort/${COHORT}?maxCohortSize=1000&lastModified=${lastModified}`,
    );
    assert.deepEqual(
      server.requests.slice(0, 3).map((request) => request.status),
      [200, 204, 204],
    );
    assert.match(first.headers['user-agent'], /^optimizely-amplitude\/\d/);
    assert.equal(first.headers['x-amp-exp-library'], first.headers['user-agent']);
    assert.equal(first.headers['accept-encoding'], 'gzip');
    assert.deepEqual(status, {
      cohorts: {
        [POWER]: {
          cohortId: COHORT,
          state: 'fresh',
          size: 2,
          lastModified,
          ageMillis: status.cohorts[POWER].ageMillis,
          source: 'amplitude',
          bytes: status.cohorts[POWER].bytes,
          lastError: null,
        },
      },
      users: 2,
      bytes: status.bytes,
      webhook: null,
      store: null,
      downloads: null,
    });
    assert.ok(status.bytes > 0 && status.cohorts[POWER].bytes > 0);
  });

  it('may be compressed, as an Evaluation Proxy does it, and have a path before it', async (t) => {
    const server = await startCohortServer(t);
    server.gzip = true;
    server.set(COHORT, { count: 100_000, nameOf: (index) => `user_${index}` });
    const { audiences } = startAudiences(t, {
      ...server.options,
      serverUrl: `${server.url}/proxy/`,
      cohorts: { [POWER]: COHORT },
    });
    const status = await audiences.ready();
    assert.match(server.requests[0].url, /^\/proxy\/sdk\/v1\/cohort\//);
    assert.equal(status.cohorts[POWER].size, 100_000);
    for (let index = 0; index < 100_000; index += 7) {
      assert.equal(audiences.has(`user_${index}`, POWER), true);
      assert.equal(audiences.has(`nobody_${index}`, POWER), false);
    }
  });

  it('is verified, and goes through TLS', async (t) => {
    const { good, caFile } = certificates();
    const { audiences } = await start(t, { tls: good, caFile });
    assert.equal((await audiences.ready()).cohorts[POWER].state, 'fresh');
    const { audiences: other, server } = await start(t, { tls: good });
    await server.asked; // its handshake fails, so there is no request
    const { lastError, state } = (await other.ready({ timeoutMillis: 300 })).cohorts[POWER];
    assert.equal(state, 'loading');
    assert.match(lastError.message, /^localhost:\d+: .*certificate/i);
  });

  it('replaces the members, also by none', async (t) => {
    const { server, audiences, changed, changes } = await start(t);
    await audiences.ready();
    server.set(COHORT, ['bob', 'cat', 'dan']);
    await changed({ size: 3 });
    assert.deepEqual(
      ['ann', 'bob', 'cat', 'dan'].map((user) => audiences.has(user, POWER)),
      [false, true, true, true],
    );
    server.set(COHORT, []);
    await changed({ size: 0 });
    assert.equal(audiences.has('bob', POWER), false);
    assert.equal(audiences.status().users, 0);
    assert.deepEqual(
      changes.map(({ state, size, previousSize }) => [state, size, previousSize]),
      [
        ['fresh', 2, null],
        ['fresh', 3, 2],
        ['fresh', 0, 3],
      ],
    );
  });

  it('keeps other cohorts as they are', async (t) => {
    const cohorts = Object.fromEntries(
      Array.from({ length: 40 }, (_, index) => [`cohort_${index}`, `c${index}`]),
    );
    const server = await startCohortServer(t);
    Object.values(cohorts).forEach((id, index) =>
      server.set(id, ['all', `user_${index}`, `even_${index % 2}`]),
    );
    server.delete('c7');
    const { audiences, changed } = startAudiences(t, { ...server.options, cohorts });
    await audiences.ready();
    const expected = (user) =>
      Object.fromEntries(
        Object.keys(cohorts)
          .map((attribute, index) => [
            attribute,
            user === 'all' || user === `user_${index}` || user === `even_${index % 2}`,
          ])
          .filter(([attribute]) => attribute !== 'cohort_7'),
      );
    for (const user of ['all', 'user_3', 'user_39', 'even_0', 'even_1', 'nobody']) {
      assert.deepEqual(audiences.attributes(user), expected(user));
    }
    server.set('c33', ['nobody']);
    await changed({ attribute: 'cohort_33', size: 1 });
    assert.equal(audiences.has('nobody', 'cohort_33'), true);
    assert.deepEqual(audiences.attributes('user_3'), expected('user_3'));
    assert.equal(server.mostActive, 1, 'one at a time');
  });

  it('is one at a time in the whole process', async (t) => {
    const server = await startCohortServer(t);
    server.set(COHORT, { count: 200_000, nameOf: (index) => `user_${index}` });
    const all = Array.from({ length: 4 }, () =>
      startAudiences(t, { ...server.options, cohorts: { [POWER]: COHORT } }),
    );
    for (const { audiences } of all) {
      assert.equal((await audiences.ready()).cohorts[POWER].size, 200_000);
    }
    assert.equal(server.mostActive, 1);
  });
});

describe('an id', () => {
  it('is known by all of its characters', async (t) => {
    const ids = [
      'plain',
      'with "quotes" and \\ and \n and \u0000',
      'größe',
      '日本語',
      '😀',
      'x'.repeat(1024),
      '日'.repeat(1024),
      '\ufffd',
      '\uffff',
      '😀'.repeat(1024),
      `xxx${'😀'.repeat(1023)}`,
      'x'.repeat(4096),
    ];
    const { audiences } = await start(t, { members: ids });
    await audiences.ready();
    for (const id of ids) {
      assert.equal(audiences.has(id, POWER), true, id);
      assert.equal(audiences.has(`${id} `, POWER), false);
      assert.equal(audiences.has(id.slice(0, -1), POWER), false);
    }
    assert.equal(audiences.has('\ud800', POWER), false, 'it is not U+FFFD');
    for (const id of ['', 'x'.repeat(5000), 'x'.repeat(1 << 20), '\udc00', 'a\ud800b']) {
      assert.equal(audiences.has(id, POWER), false, 'no cohort has it');
    }
    for (const more of ['😀', 'x😀', '😀😀😀', '日', 'x']) {
      assert.equal(audiences.has('😀'.repeat(1024) + more, POWER), false, 'it is too long');
      assert.equal(audiences.has('x'.repeat(4096) + more, POWER), false);
    }
    for (const id of [undefined, null, 5, {}]) {
      assert.equal(audiences.has(id, POWER), undefined);
      assert.deepEqual(audiences.attributes(id, { plan: 'pro' }), { plan: 'pro' });
    }
    assert.equal(audiences.has('plain', 'other'), undefined);
  });
});

/** Wait until a refresh has failed. */
async function failed(audiences) {
  while (audiences.status().cohorts[POWER].lastError === null) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Every fault: [its name, the fault, what its message says, the state of what was never loaded]. */
const FAULTS = [
  ['a wrong key', faults.status(401), /keys are refused.*HTTP 401/, 'refused'],
  ['a key that may not', faults.status(403), /keys are refused.*HTTP 403/, 'refused'],
  ['a cohort that is not there', faults.status(404), /no such cohort.*HTTP 404/, 'refused'],
  ['a cohort that is too large', faults.status(413), /maxMembers.*HTTP 413/, 'refused'],
  [
    'a redirect',
    faults.status(302, { Location: '/' }),
    /no answer of this API: check serverUrl \(HTTP 302\)/,
    'refused',
  ],
  ['too many requests', faults.status(429), /asked too often \(HTTP 429\)/, 'loading'],
  ['a server that fails', faults.status(500), /server fails \(HTTP 500\)/, 'loading'],
  ['a server that is not there', faults.status(503), /HTTP 503/, 'loading'],
  ['an unexpected 204', faults.status(204), /no members \(HTTP 204\)/, 'loading'],
  ['a silence', faults.silence, /127\.0\.0\.1:\d+: /, 'loading'],
  ['a connection that ends', faults.reset, /127\.0\.0\.1:\d+: /, 'loading'],
  ['a body that breaks off', faults.broken(0.7), /127\.0\.0\.1:\d+: /, 'loading'],
  ['JSON that is cut off', faults.cut(0.7), /no cohort: /, 'loading'],
  ['JSON that lacks its end', faults.cut(0.999), /no cohort: /, 'loading'],
  ['gzip that is cut off', faults.cutGzip(0.7), /no cohort: .*cut off/, 'loading'],
  ['gzip that is damaged', faults.damagedGzip, /no cohort: .*broken/, 'loading'],
  ['a page', faults.body('<!doctype html><p>Log in</p>'), /no cohort: /, 'loading'],
  [
    'white space without end',
    faults.endless(`{"cohortId":"${COHORT}","memberIds":["zoe"`, ' '.repeat(64 * 1024)),
    /no cohort: .*too many bytes/,
    'loading',
  ],
  [
    'gzip of white space without end',
    faults.endless(zipped('["zoe"'), zipped(' '.repeat(1024 * 1024)), {
      'Content-Encoding': 'gzip',
    }),
    /no cohort: .*too many bytes/,
    'loading',
  ],
  [
    'gzip of nothing without end',
    faults.endless(zipped('["zoe"'), Buffer.concat(Array(4096).fill(zipped('')))),
    /no cohort: .*compression/,
    'loading',
  ],
  ['an empty body', faults.body(''), /no cohort: /, 'loading'],
  ['an empty object', faults.body('{}'), /no cohort: /, 'loading'],
  ['an error as JSON', faults.body('{"error":"try later"}'), /no cohort: /, 'loading'],
  [
    'an error that names the cohort',
    faults.body(`{"cohortId":"${COHORT}","error":"try later"}`),
    /no cohort: .*no memberIds/,
    'loading',
  ],
  [
    'another cohort',
    faults.body('{"cohortId":"other","size":1,"memberIds":["zoe"]}'),
    /another cohort/,
    'loading',
  ],
  [
    'groups',
    faults.body(`{"cohortId":"${COHORT}","groupType":"company","memberIds":["zoe"]}`),
    /groups, not users/,
    'loading',
  ],
];

describe('a fault', () => {
  for (const [name, fault, message, state] of FAULTS) {
    it(`(${name}) makes no wrong answer`, async (t) => {
      const { server, audiences, logger, changed } = await start(t, { members: null });
      server.set(COHORT, ['ann', 'bob']);
      server.fail(COHORT, fault);
      await server.answered(COHORT, 1);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(audiences.has('ann', POWER) ?? 'unknown', 'unknown');
      assert.deepEqual(audiences.attributes('zoe'), {});
      await failed(audiences);
      assert.equal(audiences.status().cohorts[POWER].state, state);
      assert.match(audiences.status().cohorts[POWER].lastError.message, message);
      assert.match(logger.warnings[0], /the attribute is left out until the cohort is loaded$/);
      assert.ok(!logger.warnings.join().includes(SECRET_KEY));
      if (state === 'refused') {
        return; // it is asked again in minutes
      }
      assert.equal((await changed({ state: 'fresh' })).size, 2);
      // Now that there are members, they are kept.
      server.set(COHORT, ['bob', 'cat', 'dan']);
      const before = server.requests.length;
      server.fail(COHORT, fault);
      await server.answered(COHORT, before + 1);
      const seen = ['ann', 'bob', 'zoe'].map((user) => audiences.has(user, POWER));
      assert.ok(
        [
          [true, true, false],
          [false, true, false],
        ].some((right) => right.every((value, index) => value === seen[index])),
        `${seen}`,
      );
      await changed({ size: 3 });
      assert.equal(audiences.has('ann', POWER), false);
      assert.equal(audiences.status().cohorts[POWER].lastError, null);
    });
  }

  it('is told once, and the members that there are stay', async (t) => {
    const { server, audiences, logger } = await start(t);
    await audiences.ready();
    server.fail(COHORT, faults.status(404), { forever: true });
    await server.answered(COHORT, server.requests.length + 1);
    server.delete(COHORT);
    await failed(audiences);
    assert.equal(audiences.has('ann', POWER), true);
    assert.equal(audiences.status().cohorts[POWER].state, 'fresh');
    assert.equal(logger.warnings.length, 1);
    assert.match(logger.warnings[0], /its members of \d+ s ago are used$/);
  });
});

describe('many faults in a row', () => {
  it('never make a wrong answer', async (t) => {
    const { server, audiences, changed } = await start(t, { members: null });
    const always = Array.from({ length: 200 }, (_, index) => `always_${index}`);
    const list = FAULTS.filter(([name, , , state]) => state === 'loading' && name !== 'a silence');
    let wrong = 0;
    let looks = 0;
    let isOver = false;
    const look = () => {
      for (const user of always) {
        wrong += audiences.has(user, POWER) === false;
      }
      wrong += audiences.has(`never_${looks}`, POWER) === true;
      looks++;
      if (!isOver) {
        setImmediate(look);
      }
    };
    server.set(COHORT, always);
    look();
    for (const [index, [, fault]] of list.entries()) {
      server.set(COHORT, [...always, `version_${index}`]);
      server.fail(COHORT, fault);
      const { attribute } = await changed({ attribute: POWER });
      assert.equal(attribute, POWER);
      while (audiences.has(`version_${index}`, POWER) !== true) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    isOver = true;
    assert.equal(wrong, 0);
    assert.ok(looks > list.length);
  });
});

describe('Retry-After', () => {
  it('is respected, for all cohorts', async (t) => {
    const server = await startCohortServer(t);
    server.set('a', ['ann']);
    server.set('b', ['ann']);
    server.fail('a', faults.status(429, { 'Retry-After': '1' }));
    const { audiences, changed } = startAudiences(t, {
      ...server.options,
      cohorts: { first: 'a', second: 'b' },
    });
    const started = Date.now();
    await changed({ attribute: 'second', state: 'fresh' });
    assert.ok(Date.now() - started >= 1000);
    assert.equal(audiences.has('ann', 'second'), true);
  });
});

describe('members', () => {
  it('that are too many are refused', async (t) => {
    const { server, audiences } = await start(t, { members: null, maxMembers: 3 });
    server.set(COHORT, ['a', 'b', 'c', 'd']);
    await audiences.ready();
    assert.equal(audiences.status().cohorts[POWER].state, 'refused');
    assert.equal(server.requests[0].status, 413);
    const { server: careless, audiences: others } = await start(t, {
      members: null,
      maxMembers: 3,
    });
    careless.set(COHORT, ['a', 'b']);
    careless.fail(COHORT, faults.body(`{"cohortId":"${COHORT}","memberIds":["a","b","c","d"]}`));
    await others.ready();
    assert.equal(others.status().cohorts[POWER].state, 'refused');
    assert.match(others.status().cohorts[POWER].lastError.message, /more members than maxMembers/);
    assert.equal(others.has('a', POWER), undefined);
  });

  it('that are old are told, kept, and at last left out', async (t) => {
    const { server, audiences, logger, changed } = await start(t, {
      staleAfterMillis: 50,
      maxStaleMillis: 400,
    });
    await changed({ state: 'fresh' });
    server.fail(COHORT, faults.status(500), { forever: true });
    await changed({ state: 'stale' });
    assert.equal(audiences.has('ann', POWER), true);
    while (audiences.has('ann', POWER) === true) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(audiences.has('ann', POWER), undefined, 'and not false');
    assert.deepEqual(audiences.attributes('ann'), {});
    assert.equal(audiences.status().cohorts[POWER].state, 'expired');
    assert.ok(audiences.status().cohorts[POWER].ageMillis >= 400);
    await changed({ state: 'expired' });
    assert.ok(
      logger.warnings.some((line) => /members are \d+ s old; they are still used/.test(line)),
    );
    server.heal(COHORT);
    await changed({ state: 'fresh', previousState: 'expired' });
    assert.equal(audiences.has('ann', POWER), true);
  });

  it('are held when most of them would be gone', async (t) => {
    const ten = Array.from({ length: 10 }, (_, index) => `user_${index}`);
    const { server, audiences, logger, changed } = await start(t, {
      members: ten,
      holdShrink: true,
      staleAfterMillis: LONG_MILLIS,
    });
    await changed({ state: 'fresh' });
    server.set(COHORT, ten.slice(0, 5));
    await changed({ size: 5 });
    server.set(COHORT, ten.slice(0, 2));
    await changed({ state: 'held' });
    assert.equal(audiences.has('user_4', POWER), true);
    assert.match(logger.warnings[0], /it has 2 members now, and had 5/);
    await server.answered(COHORT, server.requests.length + 3);
    assert.equal(server.requests.at(-2).status, 204, 'it is not downloaded again and again');
    assert.equal(audiences.status().cohorts[POWER].state, 'held');
    server.set(COHORT, ten.slice(0, 4));
    await changed({ state: 'fresh', size: 4 });
    assert.equal(audiences.has('user_4', POWER), false);
  });

  it('are held for staleAfterMillis, and then it is believed', async (t) => {
    const { server, audiences, changed } = await start(t, {
      members: ['ann', 'bob', 'cat', 'dan'],
      holdShrink: 0.3,
      staleAfterMillis: 200,
    });
    await changed({ state: 'fresh' });
    server.set(COHORT, ['ann']);
    await changed({ state: 'held' });
    assert.equal(audiences.has('dan', POWER), true);
    await changed({ state: 'fresh', size: 1 });
    assert.equal(audiences.has('dan', POWER), false);
  });
});

describe('ready()', () => {
  it('resolves with what is there when its time is over', async (t) => {
    const { server, audiences } = await start(t, { cohorts: { first: 'a', second: 'b' } });
    server.set('a', ['ann']);
    server.set('b', ['ann']);
    server.fail('b', faults.silence, { forever: true });
    const status = await audiences.ready({ timeoutMillis: 200 });
    assert.equal(status.cohorts.second.state, 'loading');
    assert.deepEqual(
      await audiences.ready({ timeoutMillis: 0 }).then(() => 'resolved'),
      'resolved',
    );
  });

  it('resolves when the audiences are closed, and when they were', async (t) => {
    const { server, audiences } = await start(t, { members: null });
    server.fail(COHORT, faults.silence, { forever: true });
    const waiting = audiences.ready({ timeoutMillis: LONG_MILLIS });
    await server.asked(COHORT);
    await audiences.close();
    await audiences.close();
    assert.equal((await waiting).cohorts[POWER].state, 'loading');
    assert.equal((await audiences.ready()).cohorts[POWER].state, 'loading');
    assert.equal(audiences.has('ann', POWER), undefined);
  });

  it('never throws', async (t) => {
    const { audiences, logger } = await start(t);
    for (const options of [null, 5, { timeoutMillis: 'long' }, { timeoutMillis: -1 }]) {
      assert.equal((await audiences.ready(options)).cohorts[POWER].state, 'fresh');
    }
    assert.match(logger.warnings.join(), /timeoutMillis: expected milliseconds/);
  });
});

describe('a callback', () => {
  it('that throws or rejects harms nothing', async (t) => {
    let calls = 0;
    const { server, changed, logger } = await start(t, {
      onChange() {
        calls++;
        if (calls === 1) {
          throw new Error('of the application');
        }
        return Promise.reject(new Error('later'));
      },
    });
    await changed({ size: 2 });
    server.set(COHORT, ['ann']);
    await changed({ size: 1 });
    assert.equal(calls, 2);
    assert.deepEqual(logger.warnings, ['onChange threw: of the application']);
  });
});
