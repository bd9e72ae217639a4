'use strict';

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const net = require('node:net');
const zlib = require('node:zlib');
const { createCollector } = require('../../lib/cli/collector/index.js');
const { asSent } = require('../../lib/cli/collector/record.js');
const { Store } = require('../../lib/cli/collector/store.js');
const { request } = require('../support/network/request.js');

let inserted = 0;
const event = (fields) => ({
  event_type: 'Seen',
  user_id: 'user_1',
  insert_id: `id-${++inserted}`,
  ...fields,
});
const identify = (userProperties, fields) =>
  event({ event_type: '$identify', user_properties: userProperties, ...fields });
const upload = (events, more) => ({ api_key: 'key', events, ...more });

/** Start a collector, which is closed when the test ends, and make a function that posts to it. */
async function start(t, options) {
  const collector = createCollector(options);
  await collector.listen();
  t.after(() => collector.close());
  return {
    ...collector,
    store: collector.store,
    url: collector.url,
    post: (body, { path = '/2/httpapi', headers } = {}) =>
      request(collector.url + path, { method: 'POST', body, headers }),
    get: (path) => request(collector.url + path),
  };
}

const refused = (answer, error, more) => {
  assert.deepEqual(answer.json, { code: 400, error, ...more });
  assert.equal(answer.status, 400);
};

describe('a request', () => {
  it('is accepted on both endpoints, whatever the query', async (t) => {
    const { post, store } = await start(t, { now: () => 1234 });
    const body = JSON.stringify(upload([event(), event()]));
    for (const path of ['/2/httpapi', '/batch', '/2/httpapi?source=test']) {
      const answer = await post(body, {
        path,
        headers: { 'Content-Type': 'application/json; charset=utf-8' },
      });
      assert.equal(answer.status, 200);
      assert.match(answer.headers['content-type'], /^application\/json/);
      assert.deepEqual(answer.json, {
        code: 200,
        events_ingested: 2,
        payload_size_bytes: body.length,
        server_upload_time: 1234,
      });
    }
    assert.equal(store.events().length, 2);
  });

  it('may be compressed', async (t) => {
    const { post, store } = await start(t);
    const json = JSON.stringify(upload([event({ event_properties: { text: 'ü' } })]));
    const headers = { 'Content-Encoding': 'gzip' };
    const answer = await post(zlib.gzipSync(json), { headers });
    assert.equal(answer.json.payload_size_bytes, Buffer.byteLength(json));
    assert.equal(store.events()[0].event_properties.text, 'ü');
    refused(
      await post(zlib.gzipSync(json).subarray(0, -9), { headers }),
      'Invalid JSON request body',
    );
    refused(await post(json, { headers }), 'Invalid JSON request body');
    assert.equal((await post(json, { headers: { 'Content-Encoding': 'br' } })).status, 415);
    assert.equal(store.events().length, 1);
  });

  it('is refused when it is not JSON', async (t) => {
    const { post } = await start(t);
    refused(await post(''), 'Missing request body');
    for (const body of [
      '{',
      '[]',
      'null',
      '"text"',
      '1',
      Buffer.from('{"api_key":"\xff"}', 'latin1'),
    ]) {
      refused(await post(body), 'Invalid JSON request body');
    }
    const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
    refused(
      await post(JSON.stringify(upload([event()])), { headers: form }),
      'Invalid JSON request body',
    );
  });

  it('is refused without api_key or events', async (t) => {
    const { post } = await start(t, { apiKeys: ['key'] });
    const missing = (field) => ['Request missing required field', { missing_field: field }];
    refused(await post({ events: [event()] }), ...missing('api_key'));
    refused(await post({ api_key: '', events: [event()] }), ...missing('api_key'));
    refused(await post({ api_key: 'key' }), ...missing('events'));
    refused(await post(upload([])), ...missing('events'));
    refused(await post(upload({})), ...missing('events'));
    refused(await post({ api_key: 'other', events: [event()] }), 'Invalid API key: other');
    refused(await post(upload([event(), null])), 'Invalid event JSON');
    assert.equal((await post(upload([event()]))).status, 200);
  });

  it('is refused when it is too large', async (t) => {
    const { post, store } = await start(t);
    const ofSize = (bytes) => {
      const empty = JSON.stringify(upload([event({ padding: '' })]));
      return empty.replace('"padding":""', `"padding":"${'x'.repeat(bytes - empty.length)}"`);
    };
    const tooLarge = (answer) => {
      assert.equal(answer.status, 413);
      assert.deepEqual(answer.json, { code: 413, error: 'Payload too large' });
    };
    assert.equal((await post(ofSize(1_000_000))).status, 200);
    tooLarge(await post(ofSize(1_000_001)));
    tooLarge(
      await post(zlib.gzipSync(ofSize(1_000_001)), { headers: { 'Content-Encoding': 'gzip' } }),
    );
    tooLarge(await post(ofSize(5_000_000)));
    assert.equal((await post(ofSize(20_000_000), { path: '/batch' })).status, 200);
    tooLarge(await post(ofSize(20_000_001), { path: '/batch' }));

    const many = (count) => upload(Array.from({ length: count }, () => event()));
    assert.equal((await post(many(2000))).status, 200);
    tooLarge(await post(many(2001)));
    assert.equal(store.events().length, 2002);
  });

  it('cannot exhaust memory with a decompression bomb', async (t) => {
    const { post } = await start(t);
    // Simple to make: a gzip file may consist of several members.
    const bomb = Buffer.concat(Array(500).fill(zlib.gzipSync(Buffer.alloc(1_000_000))));
    const peakKilobytes = () => process.resourceUsage().maxRSS;
    const before = peakKilobytes();
    const answer = await post(bomb, { headers: { 'Content-Encoding': 'gzip' } });
    assert.equal(answer.status, 413);
    assert.ok(peakKilobytes() - before < 100_000);
  });

  it('for anything else is answered with JSON', async (t) => {
    const { get, post, url } = await start(t);
    for (const path of ['/nothing', '/2/httpapi/', '/users', '//']) {
      assert.deepEqual((await post({}, { path })).json, {
        code: 404,
        error: 'Invalid request path',
      });
    }
    const wrongMethod = await get('/batch');
    assert.deepEqual(wrongMethod.json, { code: 405, error: 'Method not allowed' });
    assert.equal(wrongMethod.headers.allow, 'POST');
    assert.equal((await request(`${url}/stats`, { method: 'DELETE' })).status, 405);
  });
});

describe('the validation of events', () => {
  it('lists every bad event by the field that is wrong', async (t) => {
    const { post, store } = await start(t);
    refused(
      await post(
        upload([
          event(),
          event({ time: '2026-11-24T15:03:03Z' }),
          event({ time: 1.5 }),
          event({ insert_id: 7 }),
          event({ event_properties: [] }),
          event({ groups: { a: {} } }),
          event({ user_properties: { $set: {}, plain: 1 } }),
          event({ user_properties: { $set: 1 } }),
          event({ time: '1' }),
        ]),
      ),
      'Invalid field values on some events',
      {
        events_with_invalid_fields: {
          time: [1, 2, 8],
          insert_id: [3],
          event_properties: [4],
          groups: [5],
          user_properties: [6, 7],
        },
      },
    );
    refused(
      await post(
        upload([
          event(),
          event({ event_type: undefined }),
          event({ user_id: undefined }),
          event({ time: 'x' }),
        ]),
      ),
      'Request missing required field',
      {
        events_with_missing_fields: { event_type: [1], user_id: [2] },
        events_with_invalid_fields: { time: [3] },
      },
    );
    assert.deepEqual(store.events(), []);
  });

  it('lists only the first bad event of a field if configured', async (t) => {
    const { post } = await start(t, { badIndexes: 'first' });
    refused(
      await post(
        upload([event({ time: 'x' }), event({ time: 'x', insert_id: 1 }), event({ insert_id: 2 })]),
      ),
      'Invalid field values on some events',
      { events_with_invalid_fields: { time: [0], insert_id: [1] } },
    );
  });

  it('refuses ids that stand for no user', async (t) => {
    const { post } = await start(t);
    const ids = [
      'anonymous',
      'nil',
      'none',
      'null',
      'n/a',
      'na',
      'undefined',
      'unknown',
      '',
      '00000000-0000-0000-0000-000000000000',
      '{}',
      'lmy47d',
      '0',
      '-1',
      12345,
    ];
    refused(
      await post(
        upload([
          event(),
          ...ids.map((id) => event({ user_id: id })),
          event({ device_id: 'unknown' }),
        ]),
      ),
      'Invalid field values on some events',
      {
        events_with_invalid_fields: {
          user_id: ids.map((id, index) => index + 1),
          device_id: [ids.length + 1],
        },
      },
    );
  });

  it('removes short ids, and refuses events that are left with none', async (t) => {
    const { post, store } = await start(t);
    refused(
      await post(
        upload([
          event({ user_id: 'abcd' }),
          event({ user_id: 'abcd', device_id: 'abcd' }),
          event(),
        ]),
      ),
      'Invalid id length for user_id or device_id',
      { events_with_invalid_id_lengths: { user_id: [0, 1] } },
    );
    await post(upload([event({ user_id: 'abcd', device_id: 'device_1' })]));
    assert.equal(store.user('abcd'), undefined);
    assert.equal(store.user('device_1').events.length, 1);
    await post(upload([event({ user_id: 'abcd' })], { options: { min_id_length: 4 } }));
    assert.equal(store.user('abcd').events.length, 1);
  });

  it('refuses events with one short id if configured', async (t) => {
    const { post } = await start(t, { shortIds: 'refuse' });
    refused(
      await post(upload([event({ device_id: 'abcd' })])),
      'Invalid id length for user_id or device_id',
      { events_with_invalid_id_lengths: { device_id: [0] } },
    );
  });

  it('truncates strings and refuses depth', async (t) => {
    const { post, store } = await start(t);
    const nested = (depth) => (depth === 1 ? {} : { a: nested(depth - 1) });
    const long = 'x'.repeat(1025);
    const answer = await post(
      upload([
        event({
          user_id: long,
          event_properties: { long, list: [{ long }] },
          user_properties: { $set: { long } },
        }),
        event({ event_properties: nested(40) }),
      ]),
    );
    assert.equal(answer.status, 200);
    const [stored] = store.events();
    const short = long.slice(1);
    assert.deepEqual(stored.event_properties, { long: short, list: [{ long: short }] });
    assert.deepEqual(store.user(short).user_properties, { long: short });
    refused(
      await post(
        upload([event({ event_properties: nested(41) }), event({ unheard_of: nested(41) })]),
      ),
      'Invalid field values on some events',
      { events_with_invalid_fields: { event_properties: [0], unheard_of: [1] } },
    );
  });

  it('treats null as absent, and uses the time of arrival where there is none', async (t) => {
    const { post, store } = await start(t, { now: () => 1234 });
    const fields = {
      device_id: null,
      insert_id: null,
      time: null,
      event_properties: null,
      user_properties: null,
      groups: null,
    };
    assert.equal((await post(upload([event(fields), event({ time: 5 })]))).status, 200);
    assert.deepEqual(
      store.events().map(({ time }) => time),
      [1234, 5],
    );
  });

  it('knows the limits of groups', async (t) => {
    const { post, store } = await start(t);
    const values = (count) => Array.from({ length: count }, (item, index) => `value ${index}`);
    const types = (count) => Object.fromEntries(values(count).map((type) => [type, 'x']));
    assert.equal(
      (
        await post(
          upload([event({ groups: { company: values(10) } }), event({ groups: types(5) })]),
        )
      ).status,
      200,
    );
    assert.deepEqual(store.events()[0].groups, { company: values(10) });
    refused(
      await post(upload([event({ groups: { company: values(11) } }), event({ groups: types(6) })])),
      'Invalid field values on some events',
      { events_with_invalid_fields: { groups: [0, 1] } },
    );
  });
});

describe('the properties of a user', () => {
  const propertiesAfter = (...changes) => {
    const store = new Store();
    store.ingest(
      'key',
      changes.map((change) => identify(change)),
    );
    return store.user('user_1').user_properties;
  };

  it('compares values of lists as values, in time in proportion to their number', () => {
    const list = [{ x: 1, y: [2] }, 1, '1', null];
    assert.deepEqual(
      propertiesAfter(
        { $set: { a: list } },
        { $postInsert: { a: [{ y: [2], x: 1 }, true, 'null'] } },
      ),
      { a: [...list, true, 'null'] },
    );
    const elapsed = (count) => {
      const values = (letter) => Array.from({ length: count }, (item, i) => letter + i);
      const startedAt = process.hrtime.bigint();
      propertiesAfter({ $set: { a: values('a') } }, { $preInsert: { a: values('b') } });
      return Number(process.hrtime.bigint() - startedAt);
    };
    elapsed(1000);
    assert.ok(elapsed(10_000) < 40 * elapsed(1000));
  });

  it('are changed by every operation', () => {
    assert.deepEqual(propertiesAfter({ $set: { a: 1, b: null } }, { $set: { a: 2 } }), {
      a: 2,
      b: null,
    });
    assert.deepEqual(propertiesAfter({ $setOnce: { a: 1 } }, { $setOnce: { a: 2, b: 3 } }), {
      a: 1,
      b: 3,
    });
    assert.deepEqual(
      propertiesAfter({ $add: { a: 1 } }, { $add: { a: 2.5 } }, { $add: { a: '-1' } }),
      { a: 2.5 },
    );
    assert.deepEqual(propertiesAfter({ $set: { a: 1 } }, { $append: { a: [2, 1], b: 5 } }), {
      a: [1, 2, 1],
      b: [5],
    });
    assert.deepEqual(propertiesAfter({ $set: { a: [1] } }, { $prepend: { a: [2, 3] } }), {
      a: [2, 3, 1],
    });
    assert.deepEqual(propertiesAfter({ $set: { a: [1] } }, { $preInsert: { a: [2, 1] } }), {
      a: [2, 1],
    });
    assert.deepEqual(propertiesAfter({ $set: { a: [1] } }, { $postInsert: { a: [1, 2] } }), {
      a: [1, 2],
    });
    assert.deepEqual(
      propertiesAfter({ $set: { a: [1, 2, 1], b: 1 } }, { $remove: { a: 1, b: 1, c: 1 } }),
      { a: [2], b: 1 },
    );
    assert.deepEqual(propertiesAfter({ $set: { a: 1, b: 2 } }, { $unset: { a: '-', c: '-' } }), {
      b: 2,
    });
    assert.deepEqual(propertiesAfter({ $set: { a: 1 } }, { $clearAll: '-' }), {});
  });

  it('are changed in the order of the server, not of the request', () => {
    const all = {
      $remove: { a: 9 },
      $postInsert: { a: 5 },
      $preInsert: { a: 4 },
      $prepend: { a: 3 },
      $append: { a: [2, 9] },
      $add: { n: 1 },
      $setOnce: { n: 9 },
      $set: { a: 1, n: 1 },
      $unset: { n: '-' },
      $clearAll: '-',
    };
    assert.deepEqual(propertiesAfter({ $set: { old: 1, n: 7 } }, all), {
      a: [4, 3, 1, 2, 5],
      n: 2,
    });
  });

  it('may come with any event, with operations or without', () => {
    const store = new Store();
    store.ingest('key', [
      event({ user_properties: { plan: 'a', $mine: 1 } }),
      event({ user_properties: { $set: { plan: 'b' } } }),
      event({ user_properties: { plan: 'c' }, $skip_user_properties_sync: true }),
    ]);
    assert.deepEqual(store.user('user_1').user_properties, { plan: 'b', $mine: 1 });
  });

  it('may have any name', () => {
    const store = new Store();
    store.ingest('key', [identify(JSON.parse('{"$set":{"__proto__":"a","constructor":"b"}}'))]);
    const { user_properties: properties } = store.user('user_1');
    assert.deepEqual(Object.entries(properties), [
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ]);
  });

  it('are bounded', () => {
    const store = new Store();
    const many = (count) => Array.from({ length: count }, (item, n) => [`property ${n}`, n]);
    store.ingest('key', [
      identify({ $set: { list: 1 } }),
      identify({ $set: Object.fromEntries(many(1000)) }),
      identify({ $set: { list: 'is known', new: 1 } }),
    ]);
    const { list } = store.user('user_1').user_properties;
    assert.equal(list, 'is known');
    assert.equal(Object.keys(store.user('user_1').user_properties).length, 1000);
    assert.equal(store.user('user_1').user_properties.new, undefined);
    store.ingest('key', [
      identify({ $unset: { list: '-' } }),
      identify({ $append: { list: many(10_001) } }),
    ]);
    assert.equal(store.user('user_1').user_properties.list.length, 10_000);
    store.ingest(
      'key',
      many(1001).map(([device]) => event({ device_id: device })),
    );
    assert.equal(store.user('user_1').device_ids.length, 1000);
  });

  it('end with the last event of their user, and not before', () => {
    const store = new Store({ maxEvents: 2 });
    const { bytes } = store;
    store.ingest('key', [identify({ $set: { a: 1, b: 'x'.repeat(1000) } }), event(), event()]);
    assert.equal(store.user('user_1').user_properties.a, 1, 'its own event is gone');
    store.ingest('key', [event({ user_id: 'user_2' }), event({ user_id: 'user_2' })]);
    assert.equal(store.user('user_1'), undefined);
    store.ingest('key', [event(), event()]);
    assert.deepEqual(store.user('user_1').user_properties, {});
    store.reset();
    assert.deepEqual([store.bytes, store.stats().users], [bytes, 0]);
  });
});

describe('a $exposure', () => {
  const exposure = (fields) =>
    event({ event_type: '$exposure', event_properties: { flag_key: 'flag', ...fields } });

  it('is stored under the name and with the property that Amplitude gives it', () => {
    const store = new Store();
    const first = exposure({ variant: 'a', experiment_key: 'e' });
    store.ingest('key', [
      { ...first },
      event(),
      exposure({}),
      exposure({ variant: null, flag_key: 'other' }),
      event(),
      event({ event_type: '$exposure' }),
    ]);
    const events = store.events({ user: 'user_1' });
    assert.deepEqual(
      events.map(({ event_type: type }) => type),
      [
        '[Experiment] Exposure',
        'Seen',
        '$exposure', // without a variant it only unsets the property
        '$exposure',
        'Seen',
        '$exposure',
      ],
    );
    assert.deepEqual(asSent(events[0]), { ...first, time: events[0].time });
    assert.equal(store.events({ type: '[Experiment] Exposure' }).length, 1);
  });
});

describe('an insert_id', () => {
  it('counts once', async (t) => {
    const { post, store } = await start(t);
    const one = event({ insert_id: 'one' });
    const answer = await post(upload([one, one]));
    assert.equal(answer.json.events_ingested, 2);
    assert.equal((await post(upload([one]))).status, 200);
    assert.equal(store.events().length, 1);
    assert.equal(store.duplicates().length, 2);
    assert.equal(store.stats().events.duplicates, 2);
  });

  it('counts once for each device and project, whichever the user is', () => {
    const store = new Store();
    const make = (fields) => event({ insert_id: 'one', ...fields });
    store.ingest('key', [
      make(),
      make({ user_id: 'user_2' }),
      make({ device_id: 'device_1' }),
      make({ device_id: 'device_2' }),
      make({ device_id: 'device_1' }),
    ]);
    store.ingest('another key', [make()]);
    assert.equal(store.events().length, 4);
  });

  it('may be used again after seven days', () => {
    const days = (count) => count * 24 * 60 * 60 * 1000;
    let now = days(20_000);
    const store = new Store({ now: () => now });
    const one = () => [event({ insert_id: 'one' })];
    store.ingest('key', one());
    now += days(7) - 1000;
    assert.deepEqual(store.ingest('key', one()), { stored: 0, duplicates: 1 });
    now += 1000;
    assert.deepEqual(store.ingest('key', one()), { stored: 1, duplicates: 0 });
  });

  it('is not taken by a request that is refused', async (t) => {
    const { post, store } = await start(t);
    const good = event();
    assert.equal((await post(upload([good, event({ time: 'x' })]))).status, 400);
    assert.equal((await post(upload([good]))).status, 200);
    assert.equal(store.events().length, 1);
  });

  it('may be missing', () => {
    const store = new Store();
    store.ingest('key', [event({ insert_id: undefined }), event({ insert_id: null })]);
    assert.equal(store.events().length, 2);
  });
});

describe('the store', () => {
  it('forgets the oldest events', () => {
    const store = new Store({ maxEvents: 3 });
    store.ingest(
      'key',
      [1, 2, 3, 4, 5].map((n) => event({ n, user_id: n % 2 ? 'user_odd' : 'user_even' })),
    );
    const numbers = (events) => events.map(({ n }) => n);
    assert.deepEqual(numbers(store.events()), [3, 4, 5]);
    assert.deepEqual(numbers(store.user('user_odd').events), [3, 5]);
    assert.deepEqual(numbers(store.user('user_even').events), [4]);
    assert.deepEqual(store.stats().events, { ingested: 5, kept: 3, duplicates: 0 });
  });

  it('forgets users with their last event, and their devices', () => {
    const store = new Store({ maxEvents: 4 });
    const see = (user) =>
      store.ingest('key', [event({ user_id: user, device_id: `device of ${user}` })]);
    ['user_a', 'user_b', 'user_a', 'user_c', 'user_b', 'user_b', 'user_b', 'user_b'].forEach(see);
    assert.equal(store.user('user_c'), undefined);
    assert.equal(store.user('user_a'), undefined);
    assert.equal(store.user('device of user_a'), undefined);
    assert.equal(store.user('user_b').events.length, 4);
    assert.equal(store.stats().users, 1);
  });

  it('forgets the oldest insert_ids and duplicates', () => {
    const store = new Store({ maxInsertIds: 10, maxDuplicates: 2 });
    const send = (n) => store.ingest('key', [event({ insert_id: `number ${n}` })]).stored;
    for (let n = 0; n < 100; n++) {
      assert.equal(send(n), 1);
      assert.equal(send(n), 0);
      assert.equal(send(Math.max(0, n - 4)), 0, 'half of the bound is always known');
    }
    assert.equal(send(0), 1);
    assert.equal(store.duplicates().length, 2);
  });

  it('can be configured to forget nothing', () => {
    const store = new Store({ maxEvents: Infinity, maxBytes: Infinity, maxInsertIds: Infinity });
    const events = Array.from({ length: 250_000 }, (item, n) => event({ user_id: `user_${n}` }));
    store.ingest('key', events);
    assert.equal(store.events().length, 250_000);
    assert.equal(store.user('user_0').events.length, 1);
    assert.throws(() => new Store({ maxEvents: 0 }), /maxEvents must be a positive number/);
  });

  it('needs time in proportion to the events', () => {
    const elapsed = (count) => {
      const makeBatch = (batch, b) =>
        Array.from({ length: 1000 }, (item, n) => event({ user_id: `user_${b}_${n >> 1}` }));
      const batches = Array.from({ length: count / 1000 }, makeBatch);
      const store = new Store({ maxEvents: 5000, maxInsertIds: 5000 });
      const startedAt = process.hrtime.bigint();
      batches.forEach((batch) => store.ingest('key', batch));
      return Number(process.hrtime.bigint() - startedAt);
    };
    elapsed(20_000);
    assert.ok(elapsed(200_000) < 40 * elapsed(20_000));
  });

  it('emits what happens', async (t) => {
    const { post, store } = await start(t);
    const seen = [];
    for (const name of ['event', 'duplicate', 'refused', 'request']) {
      store.on(name, ({ insert_id: id, status }) => seen.push([name, id ?? status]));
    }
    await post(upload([event({ insert_id: 'a' }), event({ insert_id: 'a' })]));
    await post('{');
    assert.deepEqual(seen, [
      ['event', 'a'],
      ['duplicate', 'a'],
      ['request', 200],
      ['request', 400],
      ['refused', 400],
    ]);
  });
});

describe('the views', () => {
  it('show a user', async (t) => {
    const { get, post } = await start(t);
    const id = 'ü/user?#%';
    await post(
      upload([
        identify({ $set: { a: 1 } }, { user_id: id, device_id: 'device_1' }),
        event({ user_id: id }),
      ]),
    );
    await post(upload([event({ user_id: undefined, device_id: 'device_2' })]));
    const { status, json } = await get(`/users/${encodeURIComponent(id)}`);
    assert.equal(status, 200);
    assert.deepEqual(
      { ...json, events: json.events.map(({ event_type: type }) => type) },
      {
        user_id: id,
        device_ids: ['device_1'],
        user_properties: { a: 1 },
        events: ['$identify', 'Seen'],
      },
    );
    assert.equal((await get('/users/device_2')).json.user_id, null);
    for (const unknown of ['/users/somebody', '/users/%', '/users/']) {
      assert.deepEqual((await get(unknown)).json, { code: 404, error: 'Unknown user' });
    }
  });

  it('show events', async (t) => {
    const { get, post } = await start(t);
    await post(
      upload([
        event({ n: 1 }),
        event({ n: 2, user_id: 'user_2' }),
        event({ n: 3 }),
        identify({ a: 1 }, { n: 4 }),
      ]),
    );
    const numbers = async (query) => (await get(`/events?${query}`)).json.events.map(({ n }) => n);
    assert.deepEqual(await numbers(''), [1, 2, 3, 4]);
    assert.deepEqual(await numbers('user=user_1'), [1, 3, 4]);
    assert.deepEqual(await numbers('user=user_1&type=Seen&limit='), [1, 3]);
    assert.deepEqual(await numbers('type=Seen&limit=2'), [2, 3]);
    assert.deepEqual(await numbers('user=nobody'), []);
    assert.deepEqual(await numbers('limit=0'), []);
    for (const limit of ['x', '-1', '1.5']) {
      assert.equal((await get(`/events?limit=${limit}`)).status, 400);
    }
  });

  it('show counts, and what there is', async (t) => {
    const { get, post } = await start(t);
    const body = JSON.stringify(upload([event(), event({ user_id: 'user_2' })]));
    await post(body);
    await post(body);
    await post('{');
    assert.deepEqual((await get('/stats')).json, {
      requests: { total: 3, by_status: { 200: 2, 400: 1 }, bytes: 2 * body.length + 1 },
      events: { ingested: 2, kept: 2, duplicates: 2 },
      users: 2,
    });
    assert.match((await get('/')).text, /POST \/2\/httpapi/);
  });
});

describe('the server', () => {
  it('listens on the loopback interface alone', async (t) => {
    const { server, url } = await start(t);
    assert.equal(server.address().address, '127.0.0.1');
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/);
  });

  it('gives up requests that never end, and takes large headers', async (t) => {
    const { server, url } = await start(t);
    assert.deepEqual(
      [server.keepAliveTimeout, server.headersTimeout, server.requestTimeout],
      [0, 20_000, 120_000],
    );
    assert.equal((await request(url, { headers: { 'X-Large': 'x'.repeat(100_000) } })).status, 200);
  });

  it('can be stopped and started again, and keeps what it has', async () => {
    const collector = createCollector();
    const { port, url } = await collector.listen();
    await request(`${url}/batch`, { body: upload([event()]) });
    await collector.close();
    assert.equal(collector.url, null);
    await assert.rejects(request(url), { code: 'ECONNREFUSED' });
    await collector.listen(port);
    assert.equal((await request(`${url}/stats`)).json.events.kept, 1);
    await collector.close();
    await collector.close();
  });

  it('rejects when the port is in use', async (t) => {
    const { server } = await start(t);
    await assert.rejects(createCollector().listen(server.address().port), { code: 'EADDRINUSE' });
  });

  it('survives a client that goes away in the middle', async (t) => {
    const { server, store, post } = await start(t);
    const recorded = new Promise((resolve) => {
      store.once('request', resolve);
    });
    const socket = net.connect(server.address().port, '127.0.0.1');
    socket.write(
      'POST /2/httpapi HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{',
    );
    server.once('request', () => socket.destroy());
    assert.equal((await recorded).status, null);
    assert.equal((await post(upload([event()]))).status, 200);
    assert.deepEqual(store.stats().requests.by_status, { none: 1, 200: 1 });
  });

  it('ingests once even if an interceptor did', async (t) => {
    const { post, store } = await start(t, {
      intercept: async (exchange) => {
        await exchange.read();
        exchange.accept();
      },
    });
    assert.equal((await post(upload([event({ insert_id: null })]))).json.events_ingested, 1);
    assert.equal(store.events().length, 1);
  });

  it('answers a defect with 500', async (t) => {
    const { post, store } = await start(t, {
      intercept: () => Promise.reject(new Error('a defect')),
    });
    assert.deepEqual((await post(upload([event()]))).json, { code: 500, error: 'a defect' });
    assert.equal(store.events().length, 0);
  });
});
