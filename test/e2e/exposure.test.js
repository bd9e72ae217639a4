'use strict';

/** De-duplication and insert_ids: each exposure is sent once. */

const assert = require('node:assert/strict');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const { test } = require('node:test');

const { startAmplitude } = require('../support/amplitude/server.js');
const { createNotification } = require('../support/optimizely/sdk.js');
const {
  assertReconciles,
  start,
  storedEvents,
  viewed,
} = require('../support/dispatcher/harness.js');
const { seededRandom } = require('../support/util/random.js');

const value = (event) => event.event_properties.variation_key;

test('a repeat is suppressed, and a change is sent every time, so that the profile ends where the user is', async (t) => {
  const { amplitude, dispatcher } = await start(t);
  const decide = (variationKey, enabled = true) =>
    dispatcher.onDecision(createNotification('user_1', { variationKey, enabled }));
  for (const variation of ['a', 'a', 'off', 'off', 'a', 'a']) {
    decide(variation, variation !== 'off');
  }
  await dispatcher.flush();
  assert.deepEqual(viewed(amplitude).map(value), ['a', 'off', 'a']);
  assert.equal(amplitude.store.user('user_1').user_properties['[Optimizely] checkout_flow'], 'a');
  assert.equal(dispatcher.stats().decisions.deduplicated, 3);
  assert.equal(new Set(storedEvents(amplitude).map((event) => event.insert_id)).size, 6);
  assertReconciles(dispatcher.stats());
});

test('a million decisions of 1,000 users and 10 flags are 10,000 exposures', async (t) => {
  const { amplitude, dispatcher } = await start(t);
  const notifications = [];
  for (let i = 0; i < 10_000; i++) {
    notifications.push(
      createNotification(`user_${i % 1000}`, { flagKey: `flag_${Math.floor(i / 1000)}` }),
    );
  }
  for (let round = 0; round < 100; round++) {
    for (const notification of notifications) {
      dispatcher.onDecision(notification);
    }
  }
  const report = await dispatcher.flush();
  assert.equal(report.delivered, 10_000);
  assert.equal(viewed(amplitude).length, 10_000);
  const { seen, deduplicated, accepted } = dispatcher.stats().decisions;
  assert.deepEqual(
    { seen, deduplicated, accepted },
    { seen: 1_000_000, deduplicated: 990_000, accepted: 10_000 },
  );
});

test('three processes with the same traffic are counted once', async (t) => {
  const amplitude = await startAmplitude();
  t.after(() => amplitude.close());
  const children = [1, 2, 3].map(() =>
    fork(require.resolve('../support/process/fleet-member.js'), [amplitude.httpapi]),
  );
  for (const [code] of await Promise.all(children.map((child) => once(child, 'exit')))) {
    assert.equal(code, 0);
  }
  const { stored, received } = {
    stored: viewed(amplitude).length,
    received: amplitude.requests.flatMap(({ body }) => body.events).length,
  };
  assert.equal(received, 3 * 2 * 600);
  assert.equal(stored, 600);
});

test('a user whose processes disagree ends at the value that was decided last, and each exposure counts once', async (t) => {
  const first = await start(t);
  const options = { serverUrl: first.amplitude.httpapi };
  const second = await start(t, options);
  const third = await start(t, options);
  const decide = async ({ dispatcher }, variationKey) => {
    dispatcher.onDecision(createNotification('user_1', { variationKey }));
    await dispatcher.flush();
  };
  await decide(first, 'a');
  await decide(second, 'b');
  const times = storedEvents(first.amplitude).map(({ time }) => time);
  while (Date.now() <= Math.max(...times)) {
    // a retry has the same time, a decision another one
  }
  await decide(third, 'a');
  assert.equal(
    first.amplitude.store.user('user_1').user_properties['[Optimizely] checkout_flow'],
    'a',
  );
  assert.deepEqual(viewed(first.amplitude).map(value), ['a', 'b']);
});

test('another event type or property after a deployment is no repeat', async (t) => {
  const { amplitude, dispatcher } = await start(t);
  dispatcher.onDecision(createNotification('user_1', { enabled: false }));
  await dispatcher.flush();
  for (const option of [
    { eventType: 'Exposed' },
    { propertyPrefix: 'flag: ' },
    { disabledValue: 'variation' },
  ]) {
    const next = await start(t, { ...option, serverUrl: amplitude.httpapi });
    next.dispatcher.onDecision(createNotification('user_1', { enabled: false }));
    await next.dispatcher.flush();
  }
  const { user_properties } = amplitude.store.user('user_1');
  assert.equal(user_properties['flag: checkout_flow'], 'off');
  assert.equal(user_properties['[Optimizely] checkout_flow'], 'one_page');
  const types = storedEvents(amplitude).map(({ event_type }) => event_type);
  const identify = '$identify';
  assert.deepEqual(types, [
    ...[identify, 'Experiment Viewed'],
    ...[identify, 'Exposed'],
    ...[identify],
    ...[identify],
  ]);
});

test('dedupe: false sends every decision, with an id of its own, also across processes', async (t) => {
  const first = await start(t, { dedupe: false });
  const second = await start(t, { dedupe: false, serverUrl: first.amplitude.httpapi });
  for (const { dispatcher } of [first, second]) {
    for (let i = 0; i < 10; i++) {
      dispatcher.onDecision(createNotification('user_1'));
    }
    await dispatcher.flush();
  }
  assert.equal(viewed(first.amplitude).length, 20);
});

test('another window sends the exposure again, under another id', async (t) => {
  const { amplitude, dispatcher } = await start(t, { dedupe: { windowMillis: 50 } });
  const times = () => viewed(amplitude).length;
  while (times() < 3) {
    dispatcher.onDecision(createNotification('user_1'));
    await dispatcher.flush();
  }
  const [first, second, third] = viewed(amplitude);
  assert.equal(new Set([first.insert_id, second.insert_id, third.insert_id]).size, 3);
});

test('a repeat sets the property again after refreshMillis, without an event', async (t) => {
  const { amplitude, dispatcher } = await start(t, { dedupe: { refreshMillis: 50 } });
  const other = await start(t, { serverUrl: amplitude.httpapi });
  const property = () =>
    amplitude.store.user('user_1').user_properties['[Optimizely] checkout_flow'];
  const decide = (to, variationKey) =>
    to.onDecision(createNotification('user_1', { variationKey }));
  decide(dispatcher, 'a');
  await dispatcher.flush();
  decide(other.dispatcher, 'b');
  await other.dispatcher.flush();
  assert.equal(property(), 'b');
  let repeats = 0;
  for (; property() !== 'a'; repeats++) {
    decide(dispatcher, 'a');
    await dispatcher.flush();
  }
  assert.deepEqual(viewed(amplitude).map(value), ['a', 'b'], 'no exposure is counted twice');
  const { accepted, deduplicated, delivered } = dispatcher.stats().decisions;
  assert.deepEqual(
    { accepted, deduplicated, delivered },
    { accepted: 2, deduplicated: repeats - 1, delivered: 2 },
  );
  assertReconciles(dispatcher.stats());
});

test('thousands of random histories, with changes, repeats and refusals, agree with a plain model', async (t) => {
  const USERS = 2000;
  const ROUNDS = 24;
  const random = seededRandom(20261124);
  const { amplitude, dispatcher, drops } = await start(t, { dedupe: { maxEntries: 10_000 } });
  amplitude.setFault((req, exchange) => refuseBad(exchange));
  const models = Array.from({ length: USERS }, (_, i) => ({
    userId: `user_${i}`,
    last: null,
    waiting: [],
    expected: [],
    dropped: 0,
  }));

  for (let round = 0; round < ROUNDS; round++) {
    for (const model of models) {
      const variationKey = ['a', 'b', 'bad'][random(3)];
      dispatcher.onDecision(createNotification(model.userId, { variationKey }));
      if (variationKey !== model.last) {
        model.last = variationKey;
        model.waiting.push(variationKey);
      }
    }
    if (random(3) === 0) {
      await dispatcher.flush();
      models.forEach(settle);
    }
  }
  await dispatcher.flush();
  models.forEach(settle);

  for (const model of models) {
    assert.deepEqual(viewed(amplitude, model.userId).map(value), model.expected);
  }
  assert.equal(
    drops.flatMap((drop) => drop.decisions).length,
    models.reduce((sum, model) => sum + model.dropped, 0),
  );
  assertReconciles(dispatcher.stats());
});

/** Pending decisions are delivered except for the bad ones, which were judged: a repeat of them is one. */
function settle(model) {
  model.expected.push(...model.waiting.filter((variation) => variation !== 'bad'));
  model.dropped += model.waiting.filter((variation) => variation === 'bad').length;
  model.waiting = [];
}

function refuseBad({ events }) {
  const indexes = events.flatMap((event, index) =>
    event.event_properties?.variation_key === 'bad' ? [index] : [],
  );
  if (indexes.length === 0) {
    return undefined;
  }
  const body = {
    code: 400,
    error: 'Invalid field values on some events',
    events_with_invalid_fields: { event_properties: indexes },
  };
  return { status: 400, body };
}

test('beyond maxEntries exposures are sent again, but counted once', async (t) => {
  const { amplitude, dispatcher } = await start(t, { dedupe: { maxEntries: 100 } });
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 1000; i++) {
      dispatcher.onDecision(createNotification(`user_${i}`));
    }
    await dispatcher.flush();
  }
  assert.ok(dispatcher.stats().decisions.accepted > 1000);
  assert.equal(viewed(amplitude).length, 1000);
});
