'use strict';

/** Attributes out of sets of cohorts, against an addon that is a Map; and the states of a cohort. */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');

const { Cohort } = require('../../lib/audiences/cohort.js');
const { Membership } = require('../../lib/audiences/membership.js');

/** A membership of `attributes`, of which all are known, and users as { id: the attributes of their cohorts }. */
function create(attributes, users, onExpired = () => {}) {
  const words = new Uint32Array(4);
  let finds = 0;
  const find = (id) => {
    finds++;
    words.fill(0);
    for (const attribute of users[id] ?? []) {
      const index = attributes.indexOf(attribute);
      words[index >> 5] |= 1 << (index & 31);
    }
  };
  const membership = new Membership(find, words, attributes, onExpired);
  attributes.forEach((attribute) => membership.setKnown(attribute, true));
  return { membership, finds: () => finds };
}

describe('attributes', () => {
  const all = Array.from({ length: 100 }, (_, index) => `a${index}`);

  it('are right for any number of them, and any that are known', () => {
    let seed = 7;
    const draw = (below) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    for (const count of [1, 2, 8, 31, 32, 33, 64, 100]) {
      const attributes = all.slice(0, count);
      const users = {};
      for (let user = 0; user < 40; user++) {
        users[`user_${user}`] = attributes.filter(() => draw(3) === 0);
      }
      users.all = attributes;
      const { membership } = create(attributes, users);
      const isKnown = new Map(attributes.map((attribute) => [attribute, true]));
      const names = new Set(attributes.filter(() => draw(2) === 0).concat('of others'));
      const view = membership.view(names);
      for (let round = 0; round < 5; round++) {
        for (const [user, own] of [...Object.entries(users), ['nobody', []]]) {
          const expected = Object.fromEntries(
            attributes
              .filter((attribute) => isKnown.get(attribute))
              .map((attribute) => [attribute, own.includes(attribute)]),
          );
          assert.deepEqual(membership.add(user), expected);
          assert.deepEqual(
            membership.add(user, { extra: 1 }, view),
            Object.fromEntries(
              Object.entries({ ...expected, extra: 1 }).filter(
                ([name]) => name === 'extra' || names.has(name),
              ),
            ),
          );
          for (const attribute of attributes) {
            assert.equal(membership.has(user, attribute), expected[attribute]);
          }
        }
        const changing = attributes[draw(count)];
        isKnown.set(changing, !isKnown.get(changing));
        membership.setKnown(changing, isKnown.get(changing));
      }
    }
  });

  it('are a new object each time, and leave what was given as it is', () => {
    const { membership } = create(['power'], { ann: ['power'] });
    const given = Object.freeze({ plan: 'pro', power: 'mine' });
    const first = membership.add('ann', given);
    assert.deepEqual(first, { power: 'mine', plan: 'pro' });
    const second = membership.add('ann');
    second.power = 'changed';
    second.more = true;
    assert.deepEqual(membership.add('ann'), { power: true });
    assert.equal(Object.getPrototypeOf(first), Object.prototype);
  });

  it('of what nothing is known need no look-up', () => {
    const { membership, finds } = create(['power'], { ann: ['power'] });
    membership.forgetAll();
    assert.deepEqual(membership.add('ann', { plan: 'pro' }), { plan: 'pro' });
    assert.equal(membership.has('ann', 'power'), undefined);
    assert.deepEqual(membership.add('ann', undefined, membership.view(new Set(['other']))), {});
    assert.equal(finds(), 0);
  });

  it('may be of more users than results are kept', () => {
    const attributes = all.slice(0, 12);
    const users = {};
    for (let bits = 0; bits < 4096; bits++) {
      users[bits] = attributes.filter((_, index) => (bits >> index) & 1);
    }
    const { membership } = create(attributes, users);
    for (let bits = 0; bits < 4096; bits++) {
      const inSome = Object.values(membership.add(String(bits))).filter(Boolean).length;
      assert.equal(inSome, users[bits].length);
    }
  });

  it('that expire are left out at once', () => {
    const { membership } = create(['power', 'other'], { ann: ['power'] }, () => {
      membership.setKnown('power', false);
      membership.expiresAt = Infinity;
    });
    membership.expiresAt = Date.now() + 1e6;
    assert.equal(membership.has('ann', 'power'), true);
    membership.expiresAt = Date.now();
    assert.deepEqual(membership.add('ann'), { other: false });
    assert.equal(membership.has('ann', 'power'), undefined);
  });
});

describe('a cohort', () => {
  const OPTIONS = { staleAfterMillis: 100, maxStaleMillis: 1000, holdShrink: 0.5 };
  const loaded = (size, more) => ({ kind: 'loaded', size, version: size, bytes: 1, ...more });

  function createCohort(options) {
    return new Cohort({ attribute: 'power', id: 'id' }, 0, { ...OPTIONS, ...options });
  }

  it('goes through its states', () => {
    const cohort = createCohort();
    assert.equal(cohort.stateAt(0), 'loading');
    cohort.take({ kind: 'failed', message: 'why', statusCode: 500 }, 0);
    assert.deepEqual(cohort.lastError, { message: 'why', statusCode: 500, time: 0 });
    assert.equal(cohort.stateAt(0), 'loading');
    cohort.take({ kind: 'refused', message: 'why' }, 5);
    assert.equal(cohort.stateAt(5), 'refused');
    assert.deepEqual([cohort.isKnownAt(5), cohort.ageAt(5)], [false, null]);
    cohort.take({ kind: 'failed', message: 'why' }, 6);
    assert.equal(cohort.stateAt(6), 'loading', 'it may be another answer next time');
    assert.equal(cohort.failures, 3);
    cohort.take(loaded(10), 10);
    assert.deepEqual([cohort.stateAt(110), cohort.lastError, cohort.failures], ['fresh', null, 0]);
    assert.equal(cohort.stateAt(111), 'stale');
    cohort.take({ kind: 'unchanged' }, 200);
    assert.equal(cohort.stateAt(300), 'fresh');
    cohort.take({ kind: 'refused', message: 'gone' }, 250);
    assert.deepEqual([cohort.stateAt(300), cohort.isKnownAt(300)], ['fresh', true]);
    assert.deepEqual([cohort.stateAt(1200), cohort.isKnownAt(1200)], ['stale', true]);
    assert.deepEqual([cohort.stateAt(1201), cohort.isKnownAt(1201)], ['expired', false]);
    assert.equal(cohort.ageAt(100), 0, 'a clock may go back');
  });

  it('holds what shrinks, for a while', () => {
    const cohort = createCohort();
    assert.equal(cohort.minMembersAt(0), 0);
    cohort.take(loaded(9), 0);
    assert.deepEqual([cohort.minMembersAt(1), cohort.knownVersionAt(1)], [5, 9]);
    cohort.take({ kind: 'held', size: 2, version: 2 }, 50);
    assert.equal(cohort.stateAt(149), 'held');
    assert.deepEqual([cohort.minMembersAt(149), cohort.knownVersionAt(149)], [5, 2]);
    cohort.take({ kind: 'unchanged' }, 120);
    assert.equal(cohort.ageAt(120), 120, 'the members that are kept are not confirmed by it');
    assert.deepEqual([cohort.minMembersAt(150), cohort.knownVersionAt(150)], [0, null]);
    cohort.take(loaded(2), 150);
    assert.deepEqual([cohort.stateAt(150), cohort.size], ['fresh', 2]);
    assert.equal(createCohort({ holdShrink: 1 }).minMembersAt(0), 0);
  });

  it('that is too old to be used is not held', () => {
    const cohort = createCohort({ staleAfterMillis: 10_000 });
    cohort.take(loaded(9), 0);
    assert.equal(cohort.minMembersAt(1000), 5);
    assert.equal(cohort.minMembersAt(1001), 0);
  });
});
