'use strict';

/** The real Amplitude SDK delivers to the stand-in, which proves that it behaves as Amplitude does. */

const assert = require('node:assert/strict');
const { it } = require('node:test');
const sdk = require('@amplitude/analytics-node');
const { faults, startAmplitude } = require('../support/amplitude/server.js');

/** Connect a client that sends soon, because its timers keep the process alive. */
async function connect(t, options) {
  const amplitude = await startAmplitude(options);
  t.after(() => amplitude.close());
  const client = sdk.createInstance();
  await client.init('key', {
    serverUrl: amplitude.httpapi,
    flushIntervalMillis: 10,
    logLevel: sdk.Types.LogLevel.None,
  }).promise;
  return { amplitude, client };
}

it('delivers events and properties', async (t) => {
  const { amplitude, client } = await connect(t);
  const identify = new sdk.Identify().set('[Optimizely] flag', 'on').add('visits', 2);
  const results = [
    client.identify(identify, { user_id: 'user_1' }),
    client.track('Seen', { a: 1 }, { user_id: 'user_1' }),
  ];
  await client.flush().promise;
  assert.deepEqual(
    (await Promise.all(results.map(({ promise }) => promise))).map(({ code }) => code),
    [200, 200],
  );
  const user = amplitude.store.user('user_1');
  assert.deepEqual(user.user_properties, { '[Optimizely] flag': 'on', visits: 2 });
  const [seen] = amplitude.store.events({ type: 'Seen' });
  assert.deepEqual(seen.event_properties, { a: 1 });
});

it('understands a refusal of some events, and an outage', async (t) => {
  const { amplitude, client } = await connect(t, {
    faults: ['unavailable', faults.rejectUsers('user_bad')],
  });
  const results = ['user_1', 'user_bad', 'user_2'].map(
    (user) => client.track('Seen', {}, { user_id: user }).promise,
  );
  assert.deepEqual(
    (await Promise.all(results)).map(({ code }) => code),
    [200, 400, 200],
  );
  assert.deepEqual(
    amplitude.requests.map(({ status }) => status),
    [503, 400, 200],
  );
  assert.equal(amplitude.store.user('user_bad'), undefined);
});
