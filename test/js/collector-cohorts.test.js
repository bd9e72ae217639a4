'use strict';

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');

const { createCohorts, parseCohorts } = require('../../lib/cli/collector/cohorts.js');
const { createCollector } = require('../../lib/cli/collector/index.js');
const { Store } = require('../../lib/cli/collector/store.js');
const { request } = require('../support/network/request.js');

const DAY = 24 * 60 * 60 * 1000;
const START = 1_800_000_000_000;
const POWER_USERS = { id: 'power_users', eventType: 'Purchase', count: 2, days: 30 };
const KEYS = `Basic ${Buffer.from('api-key:secret-key').toString('base64')}`;

/** A store with a clock, and a cohort of it: `did(user, type, time)` is an event that arrives now. */
function createWorld(definition = POWER_USERS, limits = {}) {
  const clock = { now: START };
  const store = new Store({ ...limits, now: () => clock.now });
  const cohort = createCohorts([definition], store).get(definition.id);
  const did = (user, type = 'Purchase', time = clock.now) =>
    store.ingest('key', [
      { event_type: type, time, ...(typeof user === 'string' ? { user_id: user } : user) },
    ]);
  return { clock, cohort, did, members: () => [...cohort.members()] };
}

describe('the definition of a cohort', () => {
  it('is an id, an event, how often, and within how many days', () => {
    assert.deepEqual(parseCohorts(['power_users=Purchase:2/30d']), [POWER_USERS]);
    assert.deepEqual(parseCohorts(['a-1=[Shop] a=b:c/d, é:1/365d', 'b=x:1000/1d']), [
      { id: 'a-1', eventType: '[Shop] a=b:c/d, é', count: 1, days: 365 },
      { id: 'b', eventType: 'x', count: 1000, days: 1 },
    ]);
    assert.deepEqual(parseCohorts([]), []);
  });

  const mistakes = {
    '': /expected a cohort such as power_users=Purchase:2\/30d .*, not ''/,
    power_users: /expected a cohort such as .*, not 'power_users'/,
    'power_users=Purchase': /expected a cohort such as .*, not 'power_users=Purchase'/,
    'power_users=Purchase:2': /expected a cohort such as/,
    'power_users=Purchase:two/30d': /expected a cohort such as/,
    'power_users=Purchase:2/30': /expected a cohort such as/,
    'power_users=:2/30d': /expected a cohort such as/,
    'power users=Purchase:2/30d': /unlike 'power users'/,
    '=Purchase:2/30d': /the id of a cohort has 1 to 64/,
    'p=Purchase:0/30d': /1 to 1000 events, not 0/,
    'p=Purchase:1001/30d': /1 to 1000 events, not 1001/,
    'p=Purchase:1/0d': /1 to 365 days, not 0/,
    'p=Purchase:1/366d': /1 to 365 days, not 366/,
  };
  for (const [text, message] of Object.entries(mistakes)) {
    it(`is not '${text}'`, () => {
      assert.throws(() => parseCohorts([text]), { name: 'TypeError', message });
    });
  }

  it('has an id of its own', () => {
    assert.throws(() => parseCohorts(['p=a:1/1d', 'q=a:1/1d', 'p=b:1/1d']), /two cohorts 'p'/);
  });
});

describe('the members of a cohort', () => {
  it('did it often enough', () => {
    const { did, members } = createWorld();
    assert.deepEqual(members(), []);
    did('ann');
    did('ann', 'Checkout');
    did('bob');
    assert.deepEqual(members(), []);
    did('ann');
    assert.deepEqual(members(), ['ann']);
    did('bob');
    assert.deepEqual(members(), ['ann', 'bob']);
  });

  it('leave when it is too long ago, without any event', () => {
    const { clock, did, members } = createWorld();
    did('ann');
    clock.now += 10 * DAY;
    did('ann');
    assert.deepEqual(members(), ['ann']);
    clock.now = START + 30 * DAY - 1;
    assert.deepEqual(members(), ['ann']);
    clock.now++;
    assert.deepEqual(members(), []);
    did('ann'); // with that of day 10
    assert.deepEqual(members(), ['ann']);
    clock.now = START + 40 * DAY;
    assert.deepEqual(members(), []);
  });

  it('are counted by the times of the events, in whichever order they arrive', () => {
    const { clock, did, members } = createWorld();
    did('ann', 'Purchase', START - DAY);
    did('ann', 'Purchase', START - 31 * DAY);
    assert.deepEqual(members(), []);
    did('ann', 'Purchase', START - 29 * DAY);
    assert.deepEqual(members(), ['ann']);
    clock.now += DAY;
    assert.deepEqual(members(), []);
  });

  it('did it when it arrived, if their clock is ahead', () => {
    const { clock, did, members } = createWorld({ ...POWER_USERS, count: 1 });
    did('ann', 'Purchase', START + 100 * DAY);
    assert.deepEqual(members(), ['ann']);
    clock.now += 30 * DAY;
    assert.deepEqual(members(), []);
  });

  it('are user ids, and no devices', () => {
    const { did, members } = createWorld({ ...POWER_USERS, count: 1 });
    did({ device_id: 'a-device' });
    did({ device_id: 'a-device', user_id: '__proto__' });
    assert.deepEqual(members(), ['__proto__']);
  });

  it('leave when their events are forgotten', () => {
    const { did, members } = createWorld({ ...POWER_USERS, count: 1 }, { maxEvents: 2 });
    did('ann');
    assert.deepEqual(members(), ['ann']);
    did('bob', 'Other');
    did('bob', 'Other');
    assert.deepEqual(members(), []);
  });

  it('are a new version when they change, and only then', () => {
    const { clock, cohort, did } = createWorld({ ...POWER_USERS, count: 1 });
    const version = () => cohort.describe().lastModified;
    assert.equal(version(), START);
    did('ann');
    assert.equal(version(), START + 1, 'in the same millisecond');
    clock.now += 1000;
    did('ann');
    assert.deepEqual(cohort.describe(), {
      ...POWER_USERS,
      count: 1,
      size: 1,
      lastModified: START + 1,
      lastComputed: START + 1000,
      asked: null,
    });
    did('bob');
    assert.equal(version(), START + 1000);
    clock.now += 40 * DAY;
    assert.equal(version(), START + 1000 + 40 * DAY);
  });
});

describe('the history of a cohort', () => {
  it('is its size at moments since the first member', () => {
    const { clock, cohort, did } = createWorld({ ...POWER_USERS, count: 1, days: 2 });
    assert.deepEqual(cohort.history(), [{ time: START, size: 0 }]);
    did('ann');
    did('bob', 'Purchase', START + DAY);
    assert.deepEqual(cohort.history(), [{ time: START, size: 2 }]);
    clock.now += DAY;
    did('cy');
    const history = cohort.history();
    assert.equal(history.length, 60);
    assert.deepEqual(history[0], { time: START, size: 2 });
    assert.deepEqual(history[58].size, 2);
    assert.deepEqual(history[59], { time: START + DAY, size: 3 });
    clock.now += DAY;
    const later = cohort.history();
    assert.deepEqual(later[0].time, START);
    assert.deepEqual(later[58].size, 3);
    assert.deepEqual(later[59].size, 1, 'two have left at this moment');
  });

  it('reaches as far back as its days, and its end is its size', () => {
    const { clock, cohort, did, members } = createWorld({ ...POWER_USERS, days: 3 });
    for (let day = 0; day < 20; day++) {
      did('daily');
      did(`user_${day % 5}`);
      did(`user_${day % 3}`);
      clock.now += DAY;
      const history = cohort.history();
      assert.equal(history.at(-1).size, members().length, `day ${day}`);
      assert.ok(history[0].time >= clock.now - 3 * DAY);
      assert.ok(history.every(({ size }) => size >= 0));
    }
  });
});

async function start(t, options = {}) {
  const collector = createCollector({ cohorts: [POWER_USERS], ...options });
  const { url } = await collector.listen();
  t.after(() => collector.close());
  const buy = (...users) =>
    request(`${url}/2/httpapi`, {
      body: {
        api_key: 'api-key',
        events: users.map((user) => ({ event_type: 'Purchase', user_id: user })),
      },
    });
  const download = (query = '', { id = 'power_users', authorization = KEYS } = {}) =>
    request(`${url}/sdk/v1/cohort/${id}${query}`, {
      headers: authorization === null ? {} : { Authorization: authorization },
    });
  const get = (target) => request(url + target);
  return { buy, collector, download, get, url };
}

describe('the API of cohorts', () => {
  it('sends all members, in the order of the fields on which clients rely', async (t) => {
    const { buy, download } = await start(t, { now: () => START });
    await buy('user_1', 'user_1', 'user_2', 'user_3', 'user_3');
    const { status, text, headers } = await download('?maxCohortSize=2');
    assert.equal(status, 200);
    assert.match(headers['content-type'], /^application\/json/);
    assert.equal(
      text,
      `{"cohortId":"power_users","groupType":"User","groupTypeId":0,"lastComputed":${START},` +
        `"lastModified":${START},"size":2,"memberIds":["user_1","user_3"]}`,
    );
  });

  it('sends nothing if the client has the latest version', async (t) => {
    const { buy, download } = await start(t);
    const { lastModified } = (await download()).json;
    const same = await download(`?lastModified=${lastModified}`);
    assert.deepEqual([same.status, same.text], [204, '']);
    await buy('user_1', 'user_1');
    const next = await download(`?lastModified=${lastModified}`);
    assert.deepEqual([next.status, next.json.memberIds], [200, ['user_1']]);
    assert.equal((await download(`?lastModified=${next.json.lastModified}`)).status, 204);
    // Of another run of the collector.
    assert.equal((await download(`?lastModified=${next.json.lastModified + 1}`)).status, 200);
  });

  it('refuses more members than the client takes', async (t) => {
    const { buy, download } = await start(t);
    await buy('user_1', 'user_1', 'user_2', 'user_2');
    const { status, json } = await download('?maxCohortSize=1');
    assert.deepEqual(
      [status, json.error],
      [413, 'The cohort has 2 members, more than maxCohortSize'],
    );
  });

  it('needs both keys', async (t) => {
    const { download } = await start(t, { apiKeys: ['api-key'] });
    const basic = (text) => `Basic ${Buffer.from(text).toString('base64')}`;
    assert.equal((await download()).status, 200);
    for (const authorization of [
      null,
      'Basic',
      'Basic !!!',
      'Api-Key api-key',
      basic('api-key'),
      basic('api-key:'),
      basic(':secret'),
      basic('other:secret'),
    ]) {
      assert.equal((await download('', { authorization })).status, 401, authorization);
    }
  });

  it('names the cohorts that there are', async (t) => {
    const { download } = await start(t);
    for (const id of ['other', '', '__proto__', 'constructor', 'power_users/', '%FF']) {
      const { status, json } = await download('', { id });
      assert.deepEqual(
        [status, json.error],
        [404, 'There is no such cohort; there is power_users'],
      );
    }
    const { download: ofNone } = await start(t, { cohorts: undefined });
    assert.match((await ofNone()).json.error, /there is none$/);
  });

  it('fails on purpose, too', async (t) => {
    const { download, url } = await start(t);
    await request(`${url}/api/mode`, { method: 'PUT', body: '503' });
    assert.equal((await download()).status, 503);
    await request(`${url}/api/mode`, { method: 'PUT', body: 'normal' });
    assert.equal((await download()).status, 200);
  });

  it('is not for other pages, and only read', async (t) => {
    const { url } = await start(t);
    const target = `${url}/sdk/v1/cohort/power_users`;
    const of = (more) => request(target, { headers: { Authorization: KEYS, ...more } });
    assert.equal((await of({ Origin: 'https://evil.example' })).status, 403);
    assert.equal((await of({ Host: 'evil.example' })).status, 403);
    assert.equal((await request(target, { method: 'POST', body: {} })).status, 405);
  });
});

describe('what the page gets of cohorts', () => {
  it('is each cohort, its history, and when it was asked for', async (t) => {
    const { buy, collector, download, get } = await start(t, { now: () => START });
    await buy('user_1', 'user_1');
    await download('?maxCohortSize=10');
    await download('?maxCohortSize=0');
    const { cohorts } = (await get('/api/cohorts')).json;
    assert.deepEqual(cohorts, [
      {
        ...POWER_USERS,
        size: 1,
        lastModified: START,
        lastComputed: START,
        asked: { time: START, status: 413 },
        history: [{ time: START, size: 1 }],
      },
    ]);
    assert.equal(collector.store.stats().requests.total, 1, 'downloads are no requests of events');
  });

  it('is its members, or those whose id contains a text', async (t) => {
    const { buy, get } = await start(t, { cohorts: [{ ...POWER_USERS, count: 1 }] });
    await buy('user_1', 'user_12', 'user_3');
    const { json } = await get('/api/cohort?id=power_users');
    assert.deepEqual([json.size, json.members], [3, ['user_1', 'user_12', 'user_3']]);
    const found = (await get('/api/cohort?id=power_users&q=_1')).json;
    assert.deepEqual([found.size, found.members], [3, ['user_1', 'user_12']]);
    assert.equal((await get('/api/cohort?id=other')).status, 404);
    await buy(...Array.from({ length: 300 }, (_, i) => `many_${i}`));
    assert.equal((await get('/api/cohort?id=power_users')).json.members.length, 200);
  });
});
