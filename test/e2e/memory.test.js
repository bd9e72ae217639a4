'use strict';

/** What a dispatcher does not keep in memory, and what does not keep a dispatcher there. */

const assert = require('node:assert/strict');
const { afterEach, beforeEach, describe, it } = require('node:test');

const { createDispatcher } = require('../../lib/index.js');
const { faults } = require('../support/amplitude/faults.js');
const { startAmplitude } = require('../support/amplitude/server.js');

const {
  MAJORS,
  createClient,
  createNotification,
  decideAs,
} = require('../support/optimizely/sdk.js');
const { start, viewed } = require('../support/dispatcher/harness.js');
const { countKept } = require('../support/util/garbage.js');

/** It outlives every test. */
const LIVE_CLIENT = createClient(6);

const viewers = (amplitude) => viewed(amplitude).map((event) => event.user_id);

for (const major of MAJORS) {
  describe(`clients of SDK v${major}`, () => {
    for (const [what, options] of [
      ['without options', {}],
      ['with callbacks', { eventProperties: (notification, { ruleType }) => ({ ruleType }) }],
    ]) {
      it(`that are closed and forgotten are collected, ${what}, and so are their detach functions`, async (t) => {
        const { amplitude, dispatcher } = await start(t, options);
        const kept = []; // by the application
        const references = [];
        const useClient = async (userId) => {
          const client = createClient(major);
          kept.push(dispatcher.attach(client));
          decideAs(client, userId);
          await client.close();
          references.push(new WeakRef(client));
        };
        for (let i = 0; i < 50; i++) {
          await useClient(`user_${i}`);
        }
        assert.equal(await countKept(references), 0);
        kept.forEach((detach) => detach());
        const client = createClient(major);
        dispatcher.attach(client);
        decideAs(client, 'user_of_another_client');
        await dispatcher.flush();
        assert.equal(viewers(amplitude).length, 51);
        await client.close();
      });
    }

    it('are heard, and detached by close(), as long as they live', async (t) => {
      const { dispatcher } = await start(t);
      const client = createClient(major);
      const seen = () => dispatcher.stats().decisions.seen;
      // The application keeps the client, and not what it has attached.
      dispatcher.attach({ notificationCenter: client.notificationCenter });
      await countKept([new WeakRef({})]);
      decideAs(client, 'user_1');
      assert.equal(seen(), 1);
      await dispatcher.close();
      decideAs(client, 'user_2');
      assert.equal(seen(), 1);
      await client.close();
    });
  });
}

describe('a dispatcher whose handlers close over it', () => {
  /** Create one, use it and forget it; returns a weak reference, and the drops that its handler is told. */
  async function forget(amplitude, use) {
    const drops = [];
    const dispatcher = createDispatcher({
      apiKey: 'forgotten-key',
      serverUrl: amplitude.httpapi,
      flushIntervalMillis: 100,
      onDrop: (drop) => drops.push({ ...drop, seen: dispatcher.stats().decisions.seen }),
      logger: {
        isLevelEnabled: () => false,
        debug() {},
        info() {},
        warn: () => dispatcher.stats(),
        error: () => dispatcher.stats(),
      },
    });
    await use(dispatcher);
    return { reference: new WeakRef(dispatcher), drops };
  }
  let amplitude;
  beforeEach(async () => {
    amplitude = await startAmplitude();
  });
  afterEach(() => amplitude.close());
  const decide = (dispatcher) => dispatcher.onDecision(createNotification('user_1'));

  for (const [when, use] of [
    ['was never used', () => {}],
    ['was closed', (dispatcher) => dispatcher.close()],
    [
      'was closed after it delivered',
      async (dispatcher) => {
        decide(dispatcher);
        await dispatcher.close();
      },
    ],
    [
      'was closed, and then got a decision',
      async (dispatcher) => {
        await dispatcher.close();
        decide(dispatcher);
      },
    ],
    [
      'has delivered what it had',
      async (dispatcher) => {
        decide(dispatcher);
        await dispatcher.flush();
      },
    ],
    [
      'has dropped what it had',
      async (dispatcher) => {
        amplitude.setFault(faults.rejectUsers(['user_1']));
        decide(dispatcher);
        await dispatcher.flush();
      },
    ],
    [
      'is attached to a client that is forgotten, too',
      async (dispatcher) => {
        const client = createClient(6);
        dispatcher.attach(client);
        decideAs(client, 'user_1');
        await dispatcher.flush();
      },
    ],
    [
      'was closed, and its client lives',
      async (dispatcher) => {
        dispatcher.attach(LIVE_CLIENT);
        await dispatcher.close();
      },
    ],
  ]) {
    it(`is collected when it ${when}, and so are its listeners`, async () => {
      const before = process.listenerCount('exit');
      const { reference } = await forget(amplitude, use);
      assert.equal(await countKept([reference]), 0);
      while (process.listenerCount('exit') > before) {
        await new Promise(setImmediate); // closed by the finalizer
      }
    });
  }

  it('delivers what it has, tells its drops, and is collected then', async () => {
    amplitude.setFault(faults.rejectUsers(['user_2']));
    const { reference, drops } = await forget(amplitude, (dispatcher) => {
      decide(dispatcher);
      dispatcher.onDecision(createNotification('user_2'));
    });
    assert.equal(await countKept([reference]), 0);
    assert.deepEqual(
      drops.map(({ reason, seen }) => ({ reason, seen })),
      [{ reason: 'invalid_event', seen: 2 }],
    );
    assert.deepEqual(viewers(amplitude), ['user_1']);
  });
});
