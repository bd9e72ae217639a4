'use strict';

/** What a dispatcher does not keep in memory, and what does not keep a dispatcher there. */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');

const { createClient, decideAs, MAJORS } = require('../support/optimizely/sdk.js');
const { start, viewed } = require('../support/dispatcher/harness.js');
const { countKept } = require('../support/util/garbage.js');

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
