'use strict';

/** What follows from the word of the process that asks the source, and when the others ask: without a store. */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');

const { Cohort, isState } = require('../../lib/audiences/cohort.js');
const { resolveOptions } = require('../../lib/audiences/options.js');
const { Refresher } = require('../../lib/audiences/refresher.js');

const options = resolveOptions(
  { apiKey: 'a-key', secretKey: 'a-secret', cohorts: { power: 'p', churned: 'c' } },
  {},
);
const cohortOf = (slot = 0) => new Cohort(options.cohorts[slot], slot, options);
const NOW = 1_800_000_000_000;
const STATE = {
  confirmedAt: NOW,
  lastModified: 17,
  bytes: 9,
  isRefused: false,
  lastError: null,
  held: null,
  version: 17,
};

describe('a cohort of which another process tells', () => {
  it('is what that says, once its members are here', () => {
    const cohort = cohortOf();
    cohort.follow(STATE, 5, 'store');
    assert.deepEqual([cohort.stateAt(NOW), cohort.size, cohort.from], ['fresh', 5, 'store']);
    assert.equal(cohort.knownVersionAt(NOW), 17, 'and a leader goes on with it');
    cohort.follow({ ...STATE, confirmedAt: NOW + 1000 }, undefined, 'store');
    assert.deepEqual([cohort.ageAt(NOW + 1000), cohort.size], [0, 5]);
    assert.deepEqual(cohort.toState(), { ...STATE, confirmedAt: NOW + 1000 });
  });

  it('stays unknown while its members are not here', () => {
    const cohort = cohortOf();
    for (const size of [undefined, null, undefined]) {
      cohort.follow(STATE, size, 'store');
      assert.equal(cohort.isKnownAt(NOW), false);
      assert.equal(cohort.stateAt(NOW), 'loading');
      assert.equal(cohort.knownVersionAt(NOW), null, 'a leader must ask for all of it');
    }
    cohort.follow({ ...STATE, confirmedAt: null, isRefused: true }, undefined, 'store');
    assert.equal(cohort.stateAt(NOW), 'refused');
  });

  it('takes nothing else that is said of it, and tells what is no state', () => {
    const cohort = cohortOf();
    cohort.follow({ ...STATE, slot: 7, id: 'other', attribute: 'x', messageAt: 1 }, 5, 'store');
    assert.deepEqual([cohort.slot, cohort.id, cohort.attribute], [0, 'p', 'power']);
    assert.deepEqual(cohort.toState(), STATE);
    assert.equal(isState(STATE), true);
    assert.equal(isState(cohortOf().toState()), true);
    assert.equal(isState({ ...STATE, held: { since: NOW, version: null, size: 1 } }), true);
    const wrong = { confirmedAt: 'now', lastModified: {}, bytes: null, lastError: 'x', held: 7 };
    for (const [name, value] of Object.entries(wrong)) {
      assert.equal(isState({ ...STATE, [name]: value }), false, name);
      assert.equal(isState({ ...STATE, [name]: undefined }), false, name);
    }
    [null, undefined, 'text', 5, [], {}].forEach((value) => assert.equal(isState(value), false));
  });

  it('is as new as its last message', () => {
    const cohort = cohortOf();
    cohort.change({ entered: 0, left: 0 }, NOW + 5000, NOW + 6000);
    cohort.follow(STATE, 5, 'store');
    assert.equal(cohort.ageAt(NOW + 5000), 0);
  });
});

describe('a refresher that is held', () => {
  /** Start one whose loads take no time; `asked` has the slots of what it asked for. */
  function start(t) {
    const asked = [];
    const native = {
      stats: () => ({ needsTrust: false }),
      cancel() {},
      load: async ({ cohort }) => {
        asked.push(cohort);
        return { end: 'loaded', statusCode: 200, size: 3, lastModified: 17 };
      },
    };
    const refresher = new Refresher({
      native,
      source: { request: () => ({ load: {} }), name: 'amplitude' },
      options,
      log: { warn() {} },
      onOutcome: (cohort) => cohort.take({ kind: 'loaded', size: 3 }, NOW),
      onMerge: async () => asked.push('merge'),
    });
    t.after(() => refresher.stop());
    const turns = () => new Promise((resolve) => setTimeout(resolve, 20));
    return { refresher, asked, turns };
  }

  it('asks for nothing, and still merges and adopts', async (t) => {
    const { refresher, asked, turns } = start(t);
    refresher.start([cohortOf(0), cohortOf(1)], { isHeld: true });
    await turns();
    assert.deepEqual(asked, []);
    await refresher.merge();
    await refresher.perform('adopt', async () => asked.push('adopt'));
    assert.deepEqual(asked, ['merge', 'adopt']);
    refresher.resume();
    await turns();
    assert.deepEqual(asked.slice(2), [0, 1]);
  });

  it('publishes after each cohort was asked for once, and does a thing once', async (t) => {
    const { refresher, asked } = start(t);
    refresher.start([cohortOf(0), cohortOf(1)]);
    const publish = () =>
      refresher.perform('publish', async () => asked.push('publish'), { isPatient: true });
    await Promise.all([publish(), publish(), refresher.merge(), refresher.merge()]);
    assert.deepEqual(asked, [0, 'merge', 1, 'publish']);
    await publish();
    assert.equal(asked.at(-1), 'publish');
    await refresher.stop();
    await publish();
    assert.equal(asked.length, 5, 'what comes after its end is over at once');
  });
});
