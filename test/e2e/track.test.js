'use strict';

/** The application's own events: in the same queue as decisions, in the shape of Amplitude's SDK. */

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const amplitudeSdk = require('@amplitude/analytics-node');

const { faults, startAmplitude } = require('../support/amplitude/server.js');
const { assertReconciles, start, storedEvents } = require('../support/dispatcher/harness.js');
const { createNotification } = require('../support/optimizely/sdk.js');

const USER = { user_id: 'user_12345' };

/** What the application says, and not what an SDK adds. */
function said(event) {
  const rest = { ...event };
  for (const name of ['time', 'insert_id', 'library', 'event_id']) {
    delete rest[name];
  }
  return rest;
}

const sentTo = (amplitude) => amplitude.requests.flatMap(({ body }) => body.events);

describe('track() and identify()', () => {
  test('send what the SDK of Amplitude sends', async (t) => {
    const { amplitude, dispatcher } = await start(t, {
      plan: { branch: 'main' },
      ingestionMetadata: { sourceName: 'ampli' },
    });
    const reference = await startAmplitude();
    t.after(() => reference.close());
    const sdk = amplitudeSdk.createInstance();
    await sdk.init('test-key', {
      serverUrl: reference.httpapi,
      plan: { branch: 'main' },
      ingestionMetadata: { sourceName: 'ampli' },
    }).promise;
    const identify = () =>
      new amplitudeSdk.Identify().set('plan', 'pro').add('visits', 1).unset('old');
    for (const client of [dispatcher, sdk]) {
      client.track('Purchase', { amount: 10, tags: ['a'] }, USER);
      client.track('Seen', undefined, { ...USER, session_id: 7, app_version: '2.1', ip: '::1' });
      client.track({ event_type: 'Order', ...USER, device_id: 'device-1', groups: { org: 'a' } });
      client.track({ event_type: 'Order', event_properties: { a: 1 } }, { b: 2 }, USER);
      client.track('Own', {}, { ...USER, insert_id: 'mine', time: 1795532583853, extra: { a: 1 } });
      client.track('Plan', {}, { ...USER, plan: { branch: 'other' }, price: 5, quantity: 2 });
      client.identify(identify(), { ...USER, device_id: 'device-1' });
    }
    await Promise.all([dispatcher.flush(), sdk.flush().promise]);
    const events = sentTo(amplitude);
    assert.deepEqual(events.map(said), sentTo(reference).map(said));
    const own = events.find(({ event_type }) => event_type === 'Own');
    assert.deepEqual([own.insert_id, own.time], ['mine', 1795532583853]);
    assert.equal(new Set(events.map(({ insert_id }) => insert_id)).size, events.length);
  });

  test('keep the order of a user, decisions included', async (t) => {
    const { amplitude, dispatcher } = await start(t);
    dispatcher.onDecision(createNotification('user_12345', { flagKey: 'a' }));
    dispatcher.track('First', {}, USER);
    dispatcher.identify({ paying: true }, USER);
    dispatcher.onDecision(createNotification('user_12345', { flagKey: 'b' }));
    dispatcher.track('Last', {}, USER);
    await dispatcher.flush();
    const { events } = amplitude.requests[0].body;
    assert.deepEqual(
      events.map(({ event_type }) => event_type),
      [
        '$identify',
        'Experiment Viewed',
        'First',
        '$identify',
        '$identify',
        'Experiment Viewed',
        'Last',
      ],
    );
    assert.deepEqual(events[3].user_properties, { $set: { paying: true } });
  });

  test('are counted by themselves, in a flush with decisions', async (t) => {
    const { dispatcher } = await start(t);
    dispatcher.onDecision(createNotification('user_12345', { flagKey: 'a' }));
    dispatcher.track('One', {}, USER);
    dispatcher.track('Two', {}, USER);
    assert.deepEqual(
      [dispatcher.stats().decisions.pending, dispatcher.stats().tracked.pending],
      [1, 2],
    );
    const { delivered } = await dispatcher.flush();
    assert.equal(delivered, 3);
    const { decisions, tracked } = dispatcher.stats();
    assert.deepEqual([decisions.delivered, tracked.delivered, tracked.seen], [1, 2, 2]);
    assertReconciles(dispatcher.stats());
  });

  test('a retry sends the same, and nothing is lost in an outage', async (t) => {
    const { amplitude, dispatcher } = await start(t, { flushTimeoutMillis: 10_000 });
    amplitude.setFault(faults.status(503), 1);
    dispatcher.track('Purchase', { amount: 10 }, USER);
    await dispatcher.flush();
    await dispatcher.flush();
    const sent = amplitude.requests.map(({ body }) => body.events);
    assert.ok(sent.length > 1);
    for (const events of sent) {
      assert.deepEqual(events, sent[0]);
    }
    assert.equal(dispatcher.stats().tracked.delivered, 1);
  });

  test('are dropped as decisions are, and told whole', async (t) => {
    const { dispatcher, drops, logger } = await start(t, { optOut: true });
    dispatcher.track('Early', { a: 1 }, USER);
    dispatcher.setOptOut(false);
    dispatcher.onDecision(createNotification('user_12345', { flagKey: 'a' }));
    await dispatcher.close();
    dispatcher.track('Late', {}, { device_id: 'device-1', insert_id: 'mine' });
    dispatcher.onDecision(createNotification('user_12345', { flagKey: 'b' }));
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(
      drops.map(({ reason, decisions, events }) => [
        reason,
        decisions.map(({ flagKey }) => flagKey),
        events.map(({ event_type, user_id, device_id }) => [event_type, user_id ?? device_id]),
      ]),
      [
        ['opted_out', [], [['Early', 'user_12345']]],
        ['closed', ['b'], [['Late', 'device-1']]],
      ],
    );
    assert.deepEqual(drops[0].events[0].event_properties, { a: 1 });
    assert.equal(drops[1].events[0].insert_id, 'mine');
    const { tracked } = dispatcher.stats();
    assert.deepEqual([tracked.dropped.total, tracked.dropped.opted_out], [2, 1]);
    assert.match(logger.warnings.join('\n'), /an event is dropped: the dispatcher is closed/);
    assertReconciles(dispatcher.stats());
  });

  test('a bad one is refused by Amplitude alone', async (t) => {
    const { amplitude, dispatcher, drops } = await start(t);
    amplitude.setFault(faults.rejectUsers(['bad_user']), Infinity);
    dispatcher.track('Good', {}, USER);
    dispatcher.track('Bad', {}, { user_id: 'bad_user' });
    dispatcher.onDecision(createNotification('user_12345', { flagKey: 'a' }));
    await dispatcher.flush();
    const { decisions, tracked } = dispatcher.stats();
    assert.deepEqual(
      [decisions.delivered, tracked.delivered, tracked.dropped.invalid_event],
      [1, 1, 1],
    );
    assert.deepEqual(
      drops.flatMap(({ events }) => events.map(({ event_type }) => event_type)),
      ['Bad'],
    );
  });

  test('never throw: what is wrong is counted as invalid, and named', async (t) => {
    const { amplitude, dispatcher, logger } = await start(t);
    const cycle = {};
    cycle.self = cycle;
    const throwing = {
      get user_id() {
        throw new Error('no user');
      },
    };
    const wrong = [
      ['track() expects', () => dispatcher.track()],
      ['track() expects', () => dispatcher.track(5, {}, USER)],
      ['properties are not an object', () => dispatcher.track('x', 5, USER)],
      ['options, such as { user_id }', () => dispatcher.track('x', {}, 'user_12345')],
      ['event_type', () => dispatcher.track('', {}, USER)],
      ['event_type', () => dispatcher.track({ ...USER })],
      ['user_id is not a string', () => dispatcher.track('x', {}, { user_id: 5 })],
      ['device_id is not a string', () => dispatcher.track('x', {}, { device_id: {} })],
      ['time is not', () => dispatcher.track('x', {}, { ...USER, time: '2026-01-01' })],
      ['time is not', () => dispatcher.track('x', {}, { ...USER, time: new Date() })],
      ['insert_id is not', () => dispatcher.track('x', {}, { ...USER, insert_id: 5 })],
      [
        'event_properties is not',
        () => dispatcher.track({ event_type: 'x', event_properties: [] }),
      ],
      ['contains itself', () => dispatcher.track('x', cycle, USER)],
      ['BigInt', () => dispatcher.track('x', { n: 5n }, USER)],
      ['no user', () => dispatcher.track('x', {}, throwing)],
      ['neither a user id nor a device id', () => dispatcher.track('x')],
      ['shorter than minIdLength', () => dispatcher.track('x', {}, { user_id: 'a' })],
      ['list of invalid ids', () => dispatcher.track('x', {}, { user_id: 'anonymous' })],
      ['lone surrogate', () => dispatcher.track('x', {}, { user_id: 'half \ud800' })],
      ['identify() expects', () => dispatcher.identify()],
      ['identify() expects', () => dispatcher.identify('pro', USER)],
      [
        'knows no operation "$sett": did you mean $set?',
        () => dispatcher.identify({ $sett: { a: 1 } }, USER),
      ],
      [
        'no operation "$price": they are $set, $setOnce',
        () => dispatcher.identify({ $price: 5 }, USER),
      ],
      ['its $add is not an object', () => dispatcher.identify({ $add: 5 }, USER)],
      ['which is user_id here', () => dispatcher.track('x', {}, { userId: 'user_12345' })],
      ['which is device_id here', () => dispatcher.identify({ a: 1 }, { deviceId: 'device-1' })],
      ['mixes operations', () => dispatcher.identify({ $set: { a: 1 }, b: 2 }, USER)],
    ];
    let count = 0;
    for (const [reason, call] of wrong) {
      assert.equal(call(), undefined);
      assert.equal(dispatcher.stats().tracked.invalid, ++count, reason);
      const line = logger.warnings.at(-1); // of the one before, if that had the same reason
      assert.ok(line.startsWith('an event is not sent: ') && line.includes(reason), line);
    }
    await dispatcher.flush();
    assert.equal(amplitude.requests.length, 0);
    assertReconciles(dispatcher.stats());
  });

  test('an id that Amplitude refuses is left out beside a good one', async (t) => {
    const { amplitude, dispatcher, logger } = await start(t);
    dispatcher.track('x', {}, { user_id: 'u', device_id: 'device-1' });
    dispatcher.track('x', {}, { ...USER, device_id: '' });
    await dispatcher.flush();
    assert.deepEqual(
      storedEvents(amplitude).map(({ user_id, device_id }) => [user_id, device_id]),
      [
        [undefined, 'device-1'],
        ['user_12345', undefined],
      ],
    );
    assert.equal(dispatcher.stats().leftOut.ids, 1);
    assert.match(logger.warnings.join(), /a userId is left out, and the event goes/);
  });

  test('a field that is wrong costs itself, and is counted and named', async (t) => {
    const { amplitude, dispatcher, logger } = await start(t);
    const good = { session_id: 7, ip: '::1', price: 5.5, quantity: 2, groups: { org: 'a' } };
    const wrong = {
      session_id: 'abc',
      app_version: 5,
      ip: 'somewhere',
      groups: [],
      price: '5',
      revenue: NaN,
      userId: 'user_12345',
    };
    dispatcher.track('Good', {}, { ...USER, ...good, os_name: 5, platform: null, country: '' });
    dispatcher.track('Wrong', {}, { device_id: 'device-1', ...wrong, os_name: 'Linux' });
    dispatcher.identify({ a: 1 }, { ...USER, sessionId: 7 });
    await dispatcher.flush();
    const [first, second, third] = sentTo(amplitude).map(said);
    assert.deepEqual(first, {
      event_type: 'Good',
      ...USER,
      ...good,
      os_name: 5, // is not checked
      event_properties: {},
    });
    assert.deepEqual(second, {
      event_type: 'Wrong',
      device_id: 'device-1',
      os_name: 'Linux',
      event_properties: {},
    });
    assert.deepEqual(third, {
      event_type: '$identify',
      ...USER,
      user_properties: { $set: { a: 1 } },
    });
    const { leftOut, tracked } = dispatcher.stats();
    assert.deepEqual([leftOut.fields, tracked.delivered], [Object.keys(wrong).length + 1, 3]);
    const lines = logger.warnings.join('\n');
    for (const name of Object.keys(wrong)) {
      assert.match(
        lines,
        new RegExp(`^track: ${name}: .*; the event is sent without its ${name}$`, 'm'),
      );
    }
    assert.match(lines, /session_id: expected an integer.*got a string of 3 characters/);
    assert.match(lines, /userId: it is user_id here/);
    assert.match(lines, /sessionId: it is session_id here/);
  });

  test('operations and plain properties of identify()', async (t) => {
    const { amplitude, dispatcher } = await start(t, { groups: { org: 'Acme' } });
    dispatcher.identify({ $setOnce: { first: 1 }, $unset: { old: '-' } }, USER);
    dispatcher.identify({ $set: { $price: 5 } }, USER);
    dispatcher.identify({ $clearAll: '-' }, USER);
    dispatcher.track('x', {}, USER);
    dispatcher.track('x', {}, { ...USER, groups: { team: 'a' } });
    await dispatcher.flush();
    const events = storedEvents(amplitude);
    assert.deepEqual(
      events.map(({ user_properties, groups }) => user_properties ?? groups),
      [
        { $setOnce: { first: 1 }, $unset: { old: '-' } },
        { $set: { $price: 5 } },
        { $clearAll: '-' },
        { org: 'Acme' },
        { team: 'a' },
      ],
    );
    assert.deepEqual([events[0].groups, events[1].groups], [undefined, undefined]);
  });

  test('beforeSend changes them, keeps them out, and costs them when it fails', async (t) => {
    const { amplitude, dispatcher } = await start(t, {
      beforeSend: (event) => {
        assert.equal(event.insert_id, undefined);
        if (event.event_type === 'Fail') {
          throw new Error('no key');
        }
        if (event.event_type === 'Out') {
          return null;
        }
        event.event_properties.email = 'redacted';
        return { ...event, user_id: 'pseudonym' };
      },
    });
    const properties = { email: 'ann@example.com' };
    for (const type of ['Kept', 'Out', 'Fail']) {
      dispatcher.track(type, properties, { ...USER, insert_id: `id of ${type}` });
    }
    await dispatcher.flush();
    assert.deepEqual(
      storedEvents(amplitude).map(({ event_type, user_id, insert_id, event_properties }) => [
        event_type,
        user_id,
        insert_id,
        event_properties,
      ]),
      [['Kept', 'pseudonym', 'id of Kept', { email: 'redacted' }]],
    );
    assert.deepEqual(properties, { email: 'ann@example.com' });
    const { ignored, invalid, accepted } = dispatcher.stats().tracked;
    assert.deepEqual([ignored, invalid, accepted], [1, 1, 1]);
    assertReconciles(dispatcher.stats());
  });
});
