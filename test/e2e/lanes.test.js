'use strict';

/** `maxConcurrent`: several requests at a time, of different users each, with the real pool and the real libcurl. */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');

const { start } = require('../support/dispatcher/harness.js');
const { createNotification } = require('../support/optimizely/sdk.js');

const USERS = 200;
const ROUNDS = 5;
const ROUND_TRIP_MILLIS = 150;

/** The server answers after a while, and counts how many requests it has at a time. */
function delayAnswers(amplitude) {
  const seen = { most: 0, together: 0, shared: false };
  const busy = new Map();
  amplitude.setFault(async (req, { events }) => {
    const users = new Set(events.map((event) => event.user_id));
    for (const user of users) {
      seen.shared ||= busy.has(user);
      busy.set(user, true);
    }
    seen.together++;
    seen.most = Math.max(seen.most, seen.together);
    await new Promise((resolve) => {
      setTimeout(resolve, ROUND_TRIP_MILLIS);
    });
    seen.together--;
    users.forEach((user) => busy.delete(user));
    return undefined;
  });
  return seen;
}

const decideAll = (dispatcher, round) => {
  for (let user = 0; user < USERS; user++) {
    dispatcher.onDecision(createNotification(`user_${user}`, { variationKey: `round_${round}` }));
  }
};

describe('lanes', () => {
  for (const maxConcurrent of [1, 2, 4, 8]) {
    it(`has ${maxConcurrent} at a time at most, and keeps the order of each user`, async (t) => {
      const { amplitude, dispatcher } = await start(t, {
        maxConcurrent,
        flushIntervalMillis: 10,
        flushQueueSize: 20,
      });
      const seen = delayAnswers(amplitude);
      for (let round = 0; round < ROUNDS; round++) {
        decideAll(dispatcher, round);
        await new Promise((resolve) => {
          setTimeout(resolve, ROUND_TRIP_MILLIS / 2);
        });
      }
      const { delivered, pending } = await dispatcher.flush();
      assert.equal(pending, 0);
      assert.ok(delivered <= USERS * ROUNDS);
      assert.equal(seen.most, maxConcurrent);
      assert.equal(seen.shared, false, 'no user is in two requests at a time');
      for (let user = 0; user < USERS; user++) {
        const rounds = amplitude.store
          .events({ user: `user_${user}`, type: 'Experiment Viewed' })
          .map(({ event_properties: { variation_key: variation } }) => variation);
        assert.deepEqual(
          rounds,
          Array.from({ length: ROUNDS }, (_, round) => `round_${round}`),
        );
      }
    });
  }

  it('ends all requests at once, and sends what they carried again', async (t) => {
    const { amplitude, dispatcher } = await start(t, { maxConcurrent: 4 });
    const silence = new Promise((resolve) => {
      t.after(resolve);
    });
    amplitude.setFault(() => silence, 4);
    decideAll(dispatcher, 0);
    const aborted = await dispatcher.flush({ timeoutMillis: 300, abort: true });
    assert.deepEqual([aborted.delivered, aborted.pending], [0, USERS]);
    const report = await dispatcher.flush();
    assert.deepEqual([report.delivered, report.pending], [USERS, 0]);
    const { requests } = dispatcher.stats();
    assert.equal(requests.sent, 8);
  });
});
