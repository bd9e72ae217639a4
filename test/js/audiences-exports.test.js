'use strict';

/** Which files of a directory make up the members of a cohort. */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');

const { Exports, MAX_FILES, parsePattern } = require('../../lib/audiences/exports.js');

const COHORT = '7khm89cz';
const NONE = new Set();

/** The names of the files of syncs: 'existing entering exiting' of each hour. */
const nameOf = (hour, kind) =>
  `123456_${COHORT}_2026-01-${String(1 + Math.floor(hour / 24)).padStart(2, '0')}T` +
  `${String(hour % 24).padStart(2, '0')}-00_${kind}.csv`;
const sync = (hour, kinds = 'existing entering exiting') =>
  kinds.split(' ').map((kind) => nameOf(hour, kind));

function choose(names, busy = NONE) {
  const exports = new Exports(COHORT);
  names.forEach((name) => exports.add(name));
  return exports.choose(busy);
}

const chosen = (names, busy) => choose(names, busy).parts?.map(({ name }) => name);

describe('the files of a cohort', () => {
  it('are those of the latest complete sync, in any order', () => {
    const names = Array.from({ length: 500 }, (_, hour) => sync(hour)).flat();
    const shuffled = names.map((_, index) => names[(index * 787) % names.length]);
    for (const list of [names, [...names].reverse(), shuffled]) {
      const { parts, timeMillis } = choose(list);
      assert.deepEqual(
        parts,
        [
          ['existing', 'replace'],
          ['entering', 'enter'],
          ['exiting', 'leave'],
        ].map(([kind, change]) => ({ name: nameOf(499, kind), change })),
      );
      assert.equal(timeMillis, Date.parse('2026-01-21T19:00Z'));
    }
  });

  it('are those before, while one is still written', () => {
    const names = [...sync(1), ...sync(2)];
    assert.deepEqual(chosen(names, new Set([nameOf(2, 'entering')])), sync(1));
    // What the one that is written lacks is not looked for behind it.
    assert.deepEqual(
      chosen([...names, ...sync(3, 'entering exiting')], new Set([nameOf(2, 'exiting')])),
      sync(1),
    );
    assert.deepEqual(chosen(names, new Set([nameOf(2, 'existing')])), [
      ...sync(1),
      ...sync(2, 'entering exiting'),
    ]);
  });

  it('are no more than can be read at once', () => {
    const count = Math.floor((MAX_FILES - 3) / 2);
    const names = Array.from({ length: count }, (_, hour) => sync(hour + 1, 'entering exiting'));
    assert.equal(chosen([...sync(0), ...names.flat()]).length, 3 + 2 * count);
    names.push(sync(count + 1, 'entering exiting'));
    assert.match(choose([...sync(0), ...names.flat()]).problem, /more than 64 files follow/);
  });

  it('are named as Amplitude names them, and no other way', () => {
    const end = '2026-01-01T10-00_existing.csv';
    for (const name of [
      `123456_${COHORT}_2026-01-01T10:00_existing.csv`,
      `1_${COHORT}_2026-01-01T10-00-59_existing_a_b.csv.gz`,
    ]) {
      assert.match(choose([name]).problem, /of 2026-01-01T10:00.* there is no file 'entering'/);
    }
    for (const name of [
      `x_${COHORT}_${end}`,
      `_${COHORT}_${end}`,
      `123456_other_${end}`,
      `123456_x${COHORT}_${end}`,
      `123456_${COHORT}x_${end}`,
      `123456_${COHORT}_${end}.part`,
      `.123456_${COHORT}_${end}`,
      `123456_${COHORT}_2026-13-01T10-00_existing.csv`,
      `123456_${COHORT}_2026-01-01T10-00_others.csv`,
    ]) {
      assert.match(choose([name]).problem, /no file of cohort 7khm89cz is in it/, name);
    }
  });

  it('are told by a pattern', () => {
    const of = (cohortId, directory = '/data') => ({ directory, cohortId });
    assert.deepEqual(parsePattern('/data/*_7khm89cz_*'), of('7khm89cz'));
    assert.deepEqual(parsePattern('/data/*_a_b-c_*.csv'), of('a_b-c'));
    assert.deepEqual(parsePattern('/*_a_*.csv.gz'), of('a', '/'));
    for (const file of ['/data/a.csv', '/data/*', '/data/*_*_*', '/data/*_a_*.json', '/*_a_*/b']) {
      assert.equal(parsePattern(file), null);
    }
  });
});
