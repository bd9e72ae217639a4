'use strict';

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const { analyse, pairDecisions, summarize } = require('../../lib/cli/collector/analysis.js');
const { Store } = require('../../lib/cli/collector/store.js');
const { seededRandom } = require('../support/util/random.js');

const DAY = 24 * 60 * 60 * 1000;
const T0 = Date.UTC(2026, 0, 1);
const FLAG = 'checkout';
const QUERY = {
  flag: FLAG,
  steps: ['Experiment Viewed', 'Checkout', 'Purchase'],
  windowMillis: 7 * DAY,
  segment: 'Checkout',
  now: T0 + 100 * DAY,
};

const identify = (user, value, time = T0, flag = FLAG) => ({
  event_type: '$identify',
  user_id: user,
  time,
  user_properties: { $set: { [`[Optimizely] ${flag}`]: value } },
});
const viewed = (user, variation, time = T0, flag = FLAG, more = {}) => ({
  event_type: 'Experiment Viewed',
  user_id: user,
  time,
  event_properties: {
    flag_key: flag,
    variation_key: variation,
    rule_key: 'rule',
    enabled: true,
    ...more,
  },
});
const exposed = (user, variation, time, flag) => [
  identify(user, variation, time, flag),
  viewed(user, variation, time, flag),
];
const experiment = (user, variant, time = T0, flag = FLAG) => ({
  event_type: '$exposure',
  user_id: user,
  time,
  event_properties: { flag_key: flag, variant, experiment_key: 'rule' },
});
const did = (user, type, time = T0) => ({ event_type: type, user_id: user, time });

function rowsOf(events, query = {}) {
  const store = new Store();
  store.ingest('key', structuredClone(events.flat(Infinity)));
  return new Map(analyse(store.users(), { ...QUERY, ...query }).map((row) => [row.variation, row]));
}

const funnels = (events, query) =>
  Object.fromEntries(
    [...rowsOf(events, query)].map(([variation, { funnel }]) => [variation, funnel]),
  );

describe('a segment', () => {
  it('counts users, exposures and events by the variation of the moment', () => {
    const rows = rowsOf([
      exposed('user_1', 'a'),
      did('user_1', 'Checkout'),
      did('user_1', 'Checkout'),
      exposed('user_1', 'b', T0 + 1),
      did('user_1', 'Checkout', T0 + 2),
      exposed('user_2', 'a'),
      viewed('user_2', 'a', T0 + 1),
      did('user_3', 'Checkout'),
    ]);
    assert.deepEqual([...rows.keys()], ['a', 'b']);
    const { users, exposed: seen, exposures, segment } = rows.get('a');
    assert.deepEqual(
      { users, seen, exposures, segment },
      { users: 1, seen: 2, exposures: 3, segment: { users: 1, events: 2 } },
    );
    assert.deepEqual(rows.get('b').segment, { users: 1, events: 1 });
    assert.equal(rows.get('b').users, 1);
  });

  it("uses the exposure's own variation where there is no property", () => {
    const rows = rowsOf([
      viewed('user_1', 'a'),
      viewed('user_2', 'a', T0, FLAG, { enabled: false }),
      viewed('user_3', null),
    ]);
    assert.deepEqual(
      [...rows].map(([variation, { users }]) => [variation, users]),
      [
        ['a', 1],
        ['off', 2],
      ],
    );
  });

  it("takes Amplitude Experiment's exposures, and each decision once", () => {
    const rows = rowsOf([
      experiment('user_1', 'a'),
      did('user_1', 'Checkout', T0 + 1),
      experiment('user_1', undefined, T0 + 2), // is not stored, and unsets the property
      did('user_1', 'Checkout', T0 + 3),
      [identify('user_2', 'a'), experiment('user_2', 'a'), viewed('user_2', 'a')],
      [identify('user_2', 'b'), experiment('user_2', 'b'), viewed('user_2', 'b')], // in the same millisecond
    ]);
    const numbers = ({ users, exposed: seen, exposures, segment }) => [
      ...[users, seen, exposures],
      segment.events,
    ];
    assert.deepEqual([...rows.keys()], ['a', 'b']);
    assert.deepEqual(numbers(rows.get('a')), [0, 2, 2, 1]);
    assert.deepEqual(numbers(rows.get('b')), [1, 1, 1, 0]);
  });

  it('does not mix flags', () => {
    const rows = rowsOf([exposed('user_1', 'a'), exposed('user_1', 'x', T0, 'other')], {
      segment: 'Experiment Viewed',
    });
    assert.deepEqual([...rows.keys()], ['a']);
    assert.deepEqual(rows.get('a').segment, { users: 1, events: 1 });
  });

  it('takes any name', () => {
    const rows = rowsOf([exposed('user_1', '__proto__', T0, 'constructor')], {
      flag: 'constructor',
    });
    assert.equal(rows.get('__proto__').users, 1);
  });
});

describe('a funnel', () => {
  it('wants the steps in order of time, whatever the order of arrival', () => {
    assert.deepEqual(
      funnels([
        exposed('user_1', 'a'),
        did('user_1', 'Purchase', T0 + 20),
        did('user_1', 'Checkout', T0 + 10),
        exposed('user_2', 'a'),
        did('user_2', 'Checkout', T0 + 20),
        did('user_2', 'Purchase', T0 + 10),
        exposed('user_3', 'b', T0 + 5),
        did('user_3', 'Checkout', T0),
      ]),
      { a: [2, 2, 1], b: [1, 0, 0] },
    );
  });

  it('takes events of the same moment in order of arrival', () => {
    assert.deepEqual(
      funnels([exposed('user_1', 'a'), did('user_1', 'Checkout'), did('user_1', 'Purchase')]),
      { a: [1, 1, 1] },
    );
    assert.deepEqual(funnels([did('user_1', 'Checkout'), exposed('user_1', 'a')]), {
      a: [1, 0, 0],
    });
  });

  it('closes after its window, which a later entry opens again', () => {
    const late = [exposed('user_1', 'a'), did('user_1', 'Checkout', T0 + 8 * DAY)];
    assert.deepEqual(funnels(late), { a: [1, 0, 0] });
    assert.deepEqual(funnels([late, viewed('user_1', 'a', T0 + 2 * DAY)]), { a: [1, 1, 0] });
    assert.deepEqual(
      funnels([
        exposed('user_1', 'a'),
        did('user_1', 'Checkout', T0 + DAY),
        viewed('user_1', 'a', T0 + 5 * DAY),
        did('user_1', 'Purchase', T0 + 9 * DAY),
      ]),
      { a: [1, 1, 0] },
      'the second entry had no checkout, and the first is too long ago',
    );
  });

  it('counts a user for each variation that was the entry', () => {
    assert.deepEqual(
      funnels([
        exposed('user_1', 'a'),
        did('user_1', 'Checkout', T0 + 1),
        exposed('user_1', 'b', T0 + 2),
        did('user_1', 'Purchase', T0 + 3),
      ]),
      { a: [1, 1, 1], b: [1, 0, 0] },
    );
  });

  it('does not take one event for two steps', () => {
    const steps = ['Experiment Viewed', 'Checkout', 'Checkout'];
    const once = [exposed('user_1', 'a'), did('user_1', 'Checkout', T0 + 1)];
    assert.deepEqual(funnels(once, { steps }), { a: [1, 1, 0] });
    assert.deepEqual(funnels([once, did('user_1', 'Checkout', T0 + 2)], { steps }), {
      a: [1, 1, 1],
    });
  });

  it('agrees with trying everything', () => {
    const random = seededRandom(7);
    const types = ['Experiment Viewed', 'Checkout', 'Purchase'];
    for (let round = 0; round < 200; round++) {
      const events = Array.from({ length: 8 }, () => {
        const type = types[random(3)];
        const time = T0 + random(10) * DAY;
        return type === 'Experiment Viewed'
          ? viewed('user_1', 'ab'[random(2)], time)
          : did('user_1', type, time);
      }).sort((a, b) => a.time - b.time);
      assert.deepEqual(
        funnels(events, { windowMillis: 3 * DAY }),
        naiveFunnel(events, types, 3 * DAY),
      );
    }
  });
});

/** For each variation, the farthest that any way from any entry leads, by trying all of them. */
function naiveFunnel(events, types, window) {
  const steps = (from, made, begin) =>
    Math.max(
      made,
      ...events.map((event, i) => {
        const isNext =
          i > from &&
          made < types.length &&
          event.event_type === types[made] &&
          event.time - begin <= window;
        return isNext ? steps(i, made + 1, begin) : made;
      }),
    );
  const best = {};
  events.forEach(({ event_type: type, event_properties: properties, time }, i) => {
    if (type === types[0]) {
      best[properties.variation_key] = Math.max(
        best[properties.variation_key] ?? 0,
        steps(i, 1, time),
      );
    }
  });
  return Object.fromEntries(
    Object.entries(best).map(([variation, made]) => [
      variation,
      types.map((type, index) => Number(index < made)),
    ]),
  );
}

describe('retention', () => {
  const retention = (events, query) =>
    [...rowsOf(events, query)].map(([variation, row]) => [
      variation,
      ...row.retention.map(({ users, returned }) => `${returned}/${users}`),
    ]);

  it('is on the time of the events, in days of 24 hours', () => {
    assert.deepEqual(
      retention([
        exposed('user_1', 'a'),
        did('user_1', 'Visit', T0 + DAY),
        did('user_1', 'Visit', T0 + 8 * DAY - 1),
        did('user_1', 'Visit', T0 + 31 * DAY),
        exposed('user_2', 'a', T0 + 5),
        did('user_2', 'Visit', T0 + DAY + 4),
        exposed('user_3', 'b'),
        did('user_3', 'Visit', T0 + 2 * DAY),
        did('user_3', 'Visit', T0 + 30 * DAY),
      ]),
      [
        ['a', '1/2', '1/2', '0/2'],
        ['b', '0/1', '0/1', '1/1'],
      ],
    );
  });

  it('may count later days, or one kind of event only', () => {
    const events = [
      exposed('user_1', 'a'),
      did('user_1', 'Visit', T0 + 8 * DAY),
      did('user_1', 'Purchase', T0 + DAY),
    ];
    assert.deepEqual(retention(events, { orLater: true }), [['a', '1/1', '1/1', '0/1']]);
    assert.deepEqual(retention(events, { returning: 'Visit' }), [['a', '0/1', '0/1', '0/1']]);
    assert.deepEqual(retention(events, { returning: 'Visit', orLater: true }), [
      ['a', '1/1', '1/1', '0/1'],
    ]);
  });

  it('leaves out users whose day is not over', () => {
    assert.deepEqual(
      retention([exposed('user_1', 'a'), exposed('user_2', 'a', T0 + DAY)], { now: T0 + 2 * DAY }),
      [['a', '0/1', '0/0', '0/0']],
    );
  });
});

describe('the summary', () => {
  it('lists flags and types, the most frequent first', () => {
    const store = new Store();
    store.ingest(
      'key',
      [
        exposed('user_1', 'a'),
        exposed('user_1', 'x', T0, 'other'),
        viewed('user_2', 'a', T0, 'silent'),
        exposed('user_2', 'b'),
        did('user_1', 'Checkout', T0 + 4),
        did('user_1', 'Checkout', T0 + 2),
      ].flat(),
    );
    assert.deepEqual(summarize(store.users()), {
      flags: [
        { flag: FLAG, users: 2 },
        { flag: 'other', users: 1 },
        { flag: 'silent', users: 1 },
      ],
      types: [
        { type: 'Experiment Viewed', events: 4, meanTime: T0 },
        { type: 'Checkout', events: 2, meanTime: T0 + 3 },
      ],
    });
  });
});

describe('decisions', () => {
  it('are exposures with the update before them', () => {
    const [update, exposure] = exposed('user_1', 'a');
    assert.deepEqual(pairDecisions([update, exposure, did('user_1', 'Checkout')]), [
      {
        time: T0,
        user: 'user_1',
        flag: FLAG,
        variation: 'a',
        rule: 'rule',
        enabled: true,
        event: exposure,
        exposure: null,
        identify: update,
      },
    ]);
  });

  it("share an update, and do not take another user's", () => {
    const update = {
      ...identify('user_1', 'a'),
      user_properties: { $set: { '[Optimizely] f': 'a', '[Optimizely] g': 'b' } },
    };
    const list = pairDecisions([
      update,
      viewed('user_1', 'a', T0, 'f'),
      viewed('user_1', 'b', T0, 'g'),
      viewed('user_2', 'a', T0, 'f'),
    ]);
    assert.deepEqual(
      list.map(({ flag, identify: found }) => [flag, found === update]),
      [
        ['f', true],
        ['g', true],
        ['f', false],
      ],
    );
  });

  it("are Amplitude Experiment's exposures, and events behind them", () => {
    const store = new Store();
    const [update, event] = exposed('user_1', 'a');
    store.ingest('key', [
      update,
      experiment('user_1', 'a'),
      event,
      experiment('user_1', 'b', T0 + 1),
      experiment('user_2', undefined, T0 + 1, 'other'),
    ]);
    const [, exposure] = store.events();
    const list = pairDecisions(store.events());
    assert.deepEqual(list[0], {
      time: T0,
      user: 'user_1',
      flag: FLAG,
      variation: 'a',
      rule: 'rule',
      enabled: true,
      event,
      exposure,
      identify: update,
    });
    assert.deepEqual(
      list
        .slice(1)
        .map(({ flag, variation, rule, enabled, event: own, exposure: theirs }) => [
          ...[flag, variation, rule, enabled, own],
          theirs.event_type,
        ]),
      [
        [FLAG, 'b', 'rule', null, null, '[Experiment] Exposure'],
        ['other', null, 'rule', null, null, '$exposure'],
      ],
    );
  });

  it('may be updates alone', () => {
    const list = pairDecisions([identify('user_1', 'a'), identify('user_1', 'b', T0 + 1)]);
    assert.deepEqual(
      list.map(({ variation, event, enabled }) => [variation, event, enabled]),
      [
        ['a', null, null],
        ['b', null, null],
      ],
    );
  });
});

it('needs time in proportion to the events', () => {
  const fill = (users) => {
    const store = new Store({ maxEvents: Infinity });
    for (let i = 0; i < users; i++) {
      store.ingest('key', [...exposed(`user_${i}`, 'ab'[i % 2]), did(`user_${i}`, 'Checkout')]);
    }
    // One user with as many events as all others.
    store.ingest(
      'key',
      Array.from({ length: users }, (item, n) => did('user_0', 'Checkout', T0 + n)),
    );
    return store;
  };
  const fastest = (store) =>
    Math.min(
      ...Array.from({ length: 5 }, () => {
        const startedAt = process.hrtime.bigint();
        analyse(store.users(), QUERY);
        return Number(process.hrtime.bigint() - startedAt);
      }),
    );
  const [few, many] = [fill(4000), fill(40_000)];
  fastest(few);
  assert.ok(fastest(many) < 40 * fastest(few));
});
