'use strict';

/** attachAmplitude(), with stand-ins for Amplitude's SDK and localStorage; test/e2e/browser.test.js has the real ones. */

const assert = require('node:assert/strict');
const { before, beforeEach, test } = require('node:test');
const vm = require('node:vm');
const zlib = require('node:zlib');

const { bundleBrowser } = require('../../src/release/browser.js');
const {
  US_PREMIUM,
  createClient,
  createNotification,
  decideAs,
} = require('../support/optimizely/sdk.js');

const DAY_MILLIS = 24 * 60 * 60 * 1000;
const MAX_COMPRESSED_BYTES = 3 * 1024;

let attachAmplitude;
let getDeviceId;
let storage; // what localStorage holds; null in a private window

before(async () => {
  ({ attachAmplitude, getDeviceId } = await import('../../lib/browser/index.mjs'));
});

beforeEach(() => {
  storage = new Map();
  const none = () => {
    throw new Error('SecurityError');
  };
  globalThis.localStorage = {
    getItem: (key) => (storage ? (storage.get(key) ?? null) : none()),
    setItem: (key, text) => (storage ? storage.set(key, text) : none()),
  };
});

function catchWarnings(t) {
  const warnings = [];
  t.mock.method(console, 'warn', (message) => warnings.push(message));
  return warnings;
}

/** Stop the clock of decisions; returns the function that sets it. */
function stopClock(t, now) {
  t.mock.method(Date, 'now', () => now);
  return (time) => {
    now = time;
  };
}

/** Amplitude's SDK as a page has it: events are taken with track(), and answered when a test says so. */
function createAmplitude({ userId, deviceId = 'device-1', isReady = true } = {}) {
  const plugins = [];
  const open = [];
  const config = { apiKey: 'abcdefghijklmnop', deviceId };
  const amplitude = {
    events: [],
    userId,
    add: (plugin) => (isReady ? plugin.setup(config) : plugins.push(plugin)),
    track(event) {
      amplitude.events.push(event);
      return { promise: new Promise((resolve) => open.push(resolve)) };
    },
    getUserId: () => amplitude.userId,
    getDeviceId: () => (isReady ? deviceId : undefined),
    init: async () => {
      isReady = true;
      plugins.splice(0).forEach((plugin) => plugin.setup(config));
      await turn();
    },
    answer: async (code) => {
      open.splice(0).forEach((resolve) => resolve({ code }));
      await turn();
    },
    viewed: () => amplitude.events.filter((event) => event.event_type === 'Experiment Viewed'),
  };
  return amplitude;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A client with nothing but a notification centre. */
function createCenter() {
  const listeners = new Map();
  return {
    notificationCenter: {
      addNotificationListener: (type, listener) =>
        type === 'DECISION' ? listeners.set(listeners.size, listener).size - 1 : -1,
      removeNotificationListener: (id) => listeners.delete(id),
    },
    decide: (userId, decision) =>
      listeners.forEach((listener) => listener(createNotification(userId, decision))),
  };
}

/** A page: modules and memory of its own, the same storage. */
async function openPage(options, amplitude = createAmplitude()) {
  const optimizely = createCenter();
  const detach = attachAmplitude(optimizely, amplitude, options);
  await turn();
  const decide = (variationKey, userId = 'user_1') =>
    optimizely.decide(userId, { variationKey, enabled: variationKey !== 'off' });
  return { amplitude, decide, detach, optimizely };
}

const valuesOf = (events) => events.map((event) => event.event_properties.variation_key);
const idsOf = (events) => events.map((event) => event.insert_id);

for (const major of [6, 5]) {
  test(`a decision of SDK v${major} is a property and an event, sent with track()`, async (t) => {
    const client = createClient(major);
    t.after(() => client.close());
    const amplitude = createAmplitude();
    const detach = attachAmplitude(client, amplitude);
    await turn();
    decideAs(client, 'user_9');
    assert.deepEqual(
      amplitude.events.map(({ insert_id: id, time, ...event }) => {
        assert.match(id, /^[0-9a-f]{32}$/);
        assert.ok(Math.abs(time - Date.now()) < 60_000);
        return event;
      }),
      [
        {
          event_type: '$identify',
          user_id: 'user_9',
          user_properties: { $set: { '[Optimizely] checkout_flow': 'one_page' } },
        },
        {
          event_type: 'Experiment Viewed',
          user_id: 'user_9',
          event_properties: {
            flag_key: 'checkout_flow',
            variation_key: 'one_page',
            rule_key: 'checkout_ab',
            enabled: true,
          },
        },
      ],
    );
    detach();
    decideAs(client, 'user_10');
    assert.equal(amplitude.events.length, 2);
  });
}

test('formats, names and values are those of createDispatcher()', async () => {
  const eventsWith = async (options, variationKey = 'one_page') => {
    const { amplitude, decide } = await openPage(options);
    decide(variationKey);
    return amplitude.events.map((event) => {
      const own = { ...event };
      ['insert_id', 'time', 'user_id'].forEach((name) => delete own[name]);
      return own;
    });
  };
  const set = (value, name = '[Optimizely] checkout_flow') => ({ $set: { [name]: value } });
  const viewed = {
    flag_key: 'checkout_flow',
    variation_key: 'one_page',
    rule_key: 'checkout_ab',
    enabled: true,
  };
  const exposure = {
    event_type: '$exposure',
    event_properties: {
      flag_key: 'checkout_flow',
      variant: 'one_page',
      experiment_key: 'checkout_ab',
    },
  };
  assert.deepEqual(await eventsWith({ format: 'merged', eventType: 'Seen' }), [
    { event_type: 'Seen', event_properties: viewed, user_properties: set('one_page') },
  ]);
  assert.deepEqual(await eventsWith({ format: 'exposure' }), [exposure]);
  assert.deepEqual(await eventsWith({ format: ['exposure', 'identify'], propertyPrefix: 'x ' }), [
    { event_type: '$identify', user_properties: set('one_page', 'x checkout_flow') },
    exposure,
  ]);
  assert.deepEqual(await eventsWith({ format: 'identify' }, 'off'), [
    { event_type: '$identify', user_properties: set('off') },
  ]);
  const ofDisabled = async (options) => {
    const { amplitude, optimizely } = await openPage({ format: 'identify', ...options });
    optimizely.decide('user_1', { variationKey: 'control', enabled: false });
    optimizely.decide('user_1', { variationKey: null, enabled: false });
    return amplitude.events.map((event) => Object.values(event.user_properties.$set)[0]);
  };
  assert.deepEqual(await ofDisabled({}), ['off', 'off']);
  assert.deepEqual(await ofDisabled({ disabledValue: 'variation' }), ['control', 'off']);
});

test('a repeat is sent once, a change at once, and a way back too', async () => {
  const { amplitude, decide } = await openPage();
  ['a', 'a', 'off', 'off', 'a', 'a'].forEach((variation) => decide(variation));
  assert.deepEqual(valuesOf(amplitude.viewed()), ['a', 'off', 'a']);
  assert.equal(new Set(idsOf(amplitude.events)).size, 6);
  await amplitude.answer(200);
  decide('a');
  decide('a', 'user_2');
  assert.equal(amplitude.viewed().length, 4, 'another user is another exposure');

  const next = await openPage();
  next.decide('a');
  assert.deepEqual(next.amplitude.events, [], 'the next page knows');
  next.decide('off');
  assert.equal(next.amplitude.viewed().length, 1);
  assert.ok(!idsOf(amplitude.events).includes(next.amplitude.viewed()[0].insert_id));
});

test('what Amplitude has not answered with 200 is sent again by the next page, with the same insert_id', async () => {
  for (const code of [undefined, 0, 400, 500]) {
    storage = new Map();
    const first = await openPage();
    first.decide('a');
    if (code !== undefined) {
      await first.amplitude.answer(code);
      assert.equal(storage.size, 0, 'nothing is stored, as for a visitor who has opted out');
    }
    const second = await openPage();
    second.decide('a');
    assert.deepEqual(idsOf(second.amplitude.viewed()), idsOf(first.amplitude.viewed()), `${code}`);
    await second.amplitude.answer(200);
    const third = await openPage();
    third.decide('a');
    assert.deepEqual(third.amplitude.events, []);
  }
});

test('what failed is sent again at the next decision of the same page', async () => {
  const { amplitude, decide } = await openPage();
  decide('a');
  await amplitude.answer(0);
  decide('a');
  assert.equal(amplitude.viewed().length, 2);
  assert.equal(new Set(idsOf(amplitude.viewed())).size, 1);
});

test('what Amplitude refuses is not sent again in the same page: a component may decide at each frame', async () => {
  const { amplitude, decide } = await openPage();
  decide('a');
  await amplitude.answer(400);
  decide('a');
  assert.equal(amplitude.viewed().length, 1);
  decide('b');
  assert.equal(amplitude.viewed().length, 2);
});

test("send: 'experiments' leaves out rollouts and users in no rule", async (t) => {
  for (const major of [6, 5]) {
    const client = createClient(major);
    t.after(() => client.close());
    const amplitude = createAmplitude();
    attachAmplitude(client, amplitude, { send: 'experiments', format: 'exposure' });
    await turn();
    client.createUserContext('user_1', US_PREMIUM).decideAll();
    client.createUserContext('user_0', US_PREMIUM).decideAll();
    assert.deepEqual(
      amplitude.events.map((event) => [event.user_id, event.event_properties.experiment_key]),
      [
        ['user_1', 'checkout_ab'],
        ['user_0', 'checkout_ab'],
        ['user_0', 'search_ab'],
      ],
    );
  }
});

test('a change whose page was left is not forgotten: the value before it is a change again', async () => {
  const first = await openPage();
  first.decide('a');
  await first.amplitude.answer(200);
  first.decide('off'); // Amplitude's SDK keeps it, and sends it with the next page
  const second = await openPage();
  second.decide('a');
  assert.deepEqual(valuesOf(second.amplitude.viewed()), ['a']);
  const ids = idsOf([...first.amplitude.viewed(), ...second.amplitude.viewed()]);
  assert.equal(new Set(ids).size, 3, 'Amplitude would drop the second `a` as a repeat');
});

test('tabs share what was sent', async () => {
  const one = await openPage();
  const other = await openPage();
  one.decide('a');
  await one.amplitude.answer(200);
  other.decide('a');
  assert.deepEqual(other.amplitude.events, []);
  other.decide('off');
  await other.amplitude.answer(200);
  one.decide('a');
  assert.deepEqual(valuesOf(one.amplitude.viewed()), ['a', 'a']);
});

test('another window, kind of event or Amplitude project is another exposure', async (t) => {
  const setTime = stopClock(t, 20_000 * DAY_MILLIS);
  const visit = async (options, project) => {
    const page = await openPage(options, project);
    page.decide('a');
    await page.amplitude.answer(200);
    return page.amplitude.events.length;
  };
  assert.deepEqual([await visit(), await visit()], [2, 0]);
  assert.equal(await visit({ format: 'exposure' }), 1);
  assert.equal(await visit({ eventType: 'Seen' }), 2);
  const other = createAmplitude();
  const { add } = other;
  other.add = (plugin) =>
    add({ setup: (config) => plugin.setup({ ...config, apiKey: 'other-project' }) });
  assert.equal(await visit({}, other), 2);
  setTime(20_001 * DAY_MILLIS - 1);
  assert.equal(await visit(), 0);
  setTime(20_001 * DAY_MILLIS);
  assert.equal(await visit(), 2);
  setTime(20_001 * DAY_MILLIS + 3_600_000);
  assert.equal(await visit({ dedupe: { windowMillis: 3_600_000 } }), 2);
});

test('without de-duplication every decision is sent', async () => {
  const { amplitude, decide } = await openPage({ dedupe: false });
  decide('a');
  decide('a');
  await amplitude.answer(200);
  assert.equal(new Set(idsOf(amplitude.viewed())).size, 2);
  assert.equal(storage.size, 0);
});

test('a private window, a full or a damaged storage: once in a page, and nothing is thrown', async () => {
  storage = null;
  const secret = await openPage();
  secret.decide('a');
  await secret.amplitude.answer(200);
  secret.decide('a');
  assert.equal(secret.amplitude.viewed().length, 1);

  for (const text of ['{', 'null', '[1]', '7', '{"a":1}', '"x"']) {
    storage = new Map([['OA_abcdefghij', text]]);
    const damaged = await openPage();
    damaged.decide('a');
    await damaged.amplitude.answer(200);
    damaged.decide('a');
    assert.equal(damaged.amplitude.viewed().length, 1, text);
    const next = await openPage();
    next.decide('a');
    assert.deepEqual(next.amplitude.events, [], text);
  }
});

test('the storage is bounded, and the oldest goes first', async () => {
  const { amplitude, decide } = await openPage();
  for (let i = 0; i < 700; i++) {
    decide('a', `user_${i}`);
    await amplitude.answer(200);
  }
  const [[name, text]] = storage;
  assert.equal(name, 'OA_abcdefghij', "named as Amplitude's own entries, by the project");
  assert.equal(Object.keys(JSON.parse(text)).length, 500);
  assert.ok(text.length < 42_500, `${text.length} characters`);
  const next = await openPage();
  next.decide('a', 'user_0');
  next.decide('a', 'user_699');
  assert.deepEqual(
    next.amplitude.viewed().map((event) => event.user_id),
    ['user_0'],
  );
});

test('decisions before Amplitude is initialised wait, and go in order with their own times', async (t) => {
  const setTime = stopClock(t, 1_000_000);
  const amplitude = createAmplitude({ isReady: false });
  const { decide } = await openPage({}, amplitude);
  decide('a');
  for (let i = 0; i < 60; i++) {
    decide('a');
  }
  setTime(1_000_100);
  decide('off');
  decide('a');
  assert.deepEqual(amplitude.events, []);
  setTime(1_005_000);
  await amplitude.init();
  assert.deepEqual(valuesOf(amplitude.viewed()), ['a', 'off', 'a']);
  assert.deepEqual(
    amplitude.viewed().map(({ time }) => time),
    [1_000_000, 1_000_100, 1_000_100],
  );
  decide('b');
  assert.equal(amplitude.viewed().length, 4);
});

test('what waits is bounded, and what did not fit is sent when it is decided again', async () => {
  const amplitude = createAmplitude({ isReady: false });
  const { decide } = await openPage({}, amplitude);
  for (let i = 0; i < 1000; i++) {
    decide('a', `user_${i}`);
  }
  await amplitude.init();
  assert.equal(amplitude.viewed().length, 200);
  decide('a', 'user_999');
  decide('a', 'user_0');
  assert.equal(amplitude.viewed().length, 201);
});

test('attaching twice, or again as StrictMode does, sends nothing twice', async () => {
  const amplitude = createAmplitude();
  const { decide, detach, optimizely } = await openPage({}, amplitude);
  const detachSecond = attachAmplitude(optimizely, amplitude);
  await turn();
  decide('a');
  detach();
  decide('b');
  detachSecond();
  decide('c');
  attachAmplitude(optimizely, amplitude);
  await turn();
  decide('b');
  assert.deepEqual(valuesOf(amplitude.viewed()), ['a', 'b']);
});

test('an anonymous visitor is the device of Amplitude, and keeps to it after logging in', async (t) => {
  const warnings = catchWarnings(t);
  const amplitude = createAmplitude({ isReady: false, deviceId: 'device-7' });
  const id = getDeviceId(amplitude);
  await amplitude.init();
  assert.equal(await id, 'device-7');
  const { decide } = await openPage({}, amplitude);
  decide('a', 'device-7');
  amplitude.userId = 'user_1';
  decide('b', 'device-7');
  assert.equal(amplitude.events.length, 4);
  for (const event of amplitude.events) {
    assert.ok(!('user_id' in event) && !('device_id' in event), "Amplitude's SDK adds both");
  }
  decide('a', 'user_1');
  assert.equal(amplitude.events.at(-1).user_id, 'user_1');
  assert.deepEqual(warnings, []);
});

test('a user who is another one for Amplitude is warned of, once', async (t) => {
  const warnings = catchWarnings(t);
  const { amplitude, decide } = await openPage({}, createAmplitude({ userId: 'somebody' }));
  decide('a', 'somebody');
  assert.deepEqual(warnings, []);
  decide('a', 'user_1');
  decide('b', 'user_1');
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0],
    /decides for 'user_1', and Amplitude's user is 'somebody': use one id in both/,
  );
  assert.equal(amplitude.events.at(-1).user_id, 'user_1', 'who decided counts');
});

test('resolveUser names the user, or keeps a decision out; what it throws reaches nobody', async (t) => {
  const warnings = catchWarnings(t);
  const { amplitude, decide } = await openPage({
    resolveUser: ({ userId, decisionInfo }) => {
      if (decisionInfo.variationKey === 'broken') {
        throw new Error('not today');
      }
      return userId === 'bot' ? null : { userId: `crm-${userId}`, deviceId: 'd-1' };
    },
  });
  decide('a', 'bot');
  decide('broken');
  decide('broken');
  decide('a');
  assert.deepEqual(
    amplitude.events.map((event) => [event.user_id, event.device_id]),
    [
      ['crm-user_1', 'd-1'],
      ['crm-user_1', 'd-1'],
    ],
  );
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /a decision is not sent: Error: not today/);
});

test('an Amplitude that throws or rejects does not reach decide()', async (t) => {
  const warnings = catchWarnings(t);
  const amplitude = createAmplitude();
  const { decide } = await openPage({}, amplitude);
  amplitude.track = () => ({ promise: Promise.reject(new Error('no network')) });
  decide('a');
  await turn();
  amplitude.track = () => {
    throw new Error('broken');
  };
  decide('b');
  await turn();
  assert.deepEqual(warnings, [
    "[optimizely-amplitude] Amplitude's SDK has failed: Error: no network",
  ]);
  amplitude.track = (event) => amplitude.events.push(event);
  decide('b');
  assert.equal(amplitude.events.length, 2, 'it is sent when that is over');
});

test('what is wrong is named', () => {
  const client = createCenter();
  const amplitude = createAmplitude();
  const attach =
    (options, optimizely = client, sdk = amplitude) =>
    () =>
      attachAmplitude(optimizely, sdk, options);
  const option = (message) => ({ name: 'TypeError', code: 'ERR_OA_OPTION', message });
  assert.throws(attach({ event: 1 }), option(/^unknown option 'event': the options are format, /));
  for (const [name, values] of Object.entries({
    format: ['events', [], ['event', 'event'], ['event', 'identify'], 7],
    eventType: ['', 7, false],
    propertyPrefix: [7],
    disabledValue: ['on', 1],
    send: ['none', true],
    dedupe: [true, 7, { window: 1 }, { windowMillis: 0 }, { windowMillis: 'day' }],
    resolveUser: ['user', {}],
  })) {
    for (const value of values) {
      assert.throws(attach({ [name]: value }), option(new RegExp(`^option '${name}': expected `)));
    }
  }
  for (const value of [undefined, null]) {
    attach({ format: value, dedupe: value })();
  }
  attach({ dedupe: {}, propertyPrefix: '', format: ['exposure'] })();
  assert.throws(attach({}, client, {}), option(/expected @amplitude\/analytics-browser/));
  for (const wrong of [null, {}, Promise.resolve(client)]) {
    assert.throws(attach({}, wrong), { code: 'ERR_OA_CLIENT', message: /createInstance/ });
  }
  const old = { notificationCenter: { addNotificationListener: () => -1 } };
  assert.throws(attach({}, old), { code: 'ERR_OA_CLIENT', message: /v5 or v6/ });
});

test('the script is small, and defines one name; the CommonJS module has the same functions', () => {
  const bundles = bundleBrowser();
  const script = bundles['lib/browser/dist/optimizely-amplitude.min.js'];
  const { length } = zlib.gzipSync(script, { level: 9 });
  assert.ok(length <= MAX_COMPRESSED_BYTES, `${length} bytes compressed`);
  const page = vm.createContext({});
  vm.runInContext(script, page);
  assert.deepEqual(Object.keys(page), ['optimizelyAmplitude']);
  const names = ['attachAmplitude', 'getDeviceId'];
  assert.deepEqual(Object.keys(page.optimizelyAmplitude).sort(), names);
  const module = { exports: {} };
  vm.runInThisContext(`(function (module) {${bundles['lib/browser/dist/index.cjs']}\n})`)(module);
  assert.deepEqual(Object.keys(module.exports).sort(), names);
});
