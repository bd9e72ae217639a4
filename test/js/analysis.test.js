'use strict';

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const { EXPOSED, analyse } = require('../../lib/cli/collector/analysis.js');
const { pairDecisions } = require('../../lib/cli/collector/decisions.js');
const { asSent } = require('../../lib/cli/collector/record.js');
const { Store } = require('../../lib/cli/collector/store.js');
const { summarize } = require('../../lib/cli/collector/summary.js');
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

function storeOf(events, options) {
  const store = new Store(options);
  store.ingest('key', structuredClone(events.flat(Infinity)));
  return store;
}

const rowsOf = (events, query = {}) =>
  new Map(analyse(storeOf(events), { ...QUERY, ...query }).rows.map((row) => [row.variation, row]));

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
    const { flags, types } = summarize(store);
    assert.deepEqual(
      flags.map(({ flag, users }) => [flag, users]),
      [
        [FLAG, 2],
        ['other', 1],
        ['silent', 1],
      ],
    );
    assert.deepEqual(flags[0].rules, [
      {
        rule: 'rule',
        variations: [
          { variation: 'a', users: 1 },
          { variation: 'b', users: 1 },
        ],
      },
    ]);
    assert.deepEqual(types, [
      { type: 'Experiment Viewed', events: 4, isExposure: true, numbers: [] },
      { type: 'Checkout', events: 2, isExposure: false, numbers: [] },
    ]);
  });
});

describe('the order of the steps', () => {
  it('is that in which most users do them first, however much traffic grows', () => {
    const random = seededRandom(3);
    for (let hour = 0; hour < 50; hour++) {
      const events = [];
      for (let i = 0; i < 300; i++) {
        const time = T0 + random(3_600_000);
        events.push(viewed(`user_${i}`, 'a', time));
        if (random(10) < 4) {
          events.push(did(`user_${i}`, 'Checkout', time + 60_000));
          if (random(2) === 0) {
            events.push(did(`user_${i}`, 'Purchase', time + 90_000));
          }
        }
      }
      assert.deepEqual(summarize(storeOf(events)).steps, ['Checkout', 'Purchase']);
    }
  });
});

describe('a user', () => {
  const ofDevice = (device, type, time, user) => ({
    event_type: type,
    device_id: device,
    time,
    ...(user && { user_id: user }),
  });

  it('who logs in is the one who was on the device before, as Amplitude assigns its ids', () => {
    // The scenarios of https://amplitude.com/docs/data/sources/amplitude-id-assignment.
    const store = storeOf([
      ofDevice('dev_A', 'Visit', T0),
      ofDevice('dev_B', 'Visit', T0),
      ofDevice('dev_A', 'Visit', T0 + 1, 'user_1'),
      ofDevice('dev_A', 'Visit', T0 + 2),
      ofDevice('dev_C', 'Visit', T0 + 3),
      ofDevice('dev_C', 'Visit', T0 + 4, 'user_1'),
      ofDevice('dev_A', 'Visit', T0 + 5, 'user_2'),
      ofDevice('dev_A', 'Visit', T0 + 6),
    ]);
    assert.equal(store.stats().users, 3);
    const counts = ['user_1', 'user_2', 'dev_A', 'dev_B', 'dev_C'].map((id) => [
      store.user(id).user_id,
      store.user(id).events.length,
    ]);
    assert.deepEqual(counts, [
      ['user_1', 5],
      ['user_2', 2],
      ['user_2', 2],
      [null, 1],
      ['user_1', 5],
    ]);
  });

  it('goes through a funnel across the log-in', () => {
    const own = { device_id: 'dev_1', user_id: undefined };
    const events = [
      { ...identify('', 'a'), ...own },
      { ...viewed('', 'a'), ...own },
      ofDevice('dev_1', 'Checkout', T0 + 1),
      ofDevice('dev_1', 'Login', T0 + 2, 'user_1'),
      did('user_1', 'Purchase', T0 + 3),
    ];
    assert.deepEqual(funnels(events), { a: [1, 1, 1] });
    // The user is known already, on another device and with another variation, which holds again after the log-in.
    const known = [exposed('user_1', 'b', T0 - 5), events, did('user_1', 'Checkout', T0 + 4)];
    assert.deepEqual(funnels(known), { a: [1, 1, 1], b: [1, 1, 1] });
    const store = storeOf(known);
    assert.equal(store.user('user_1').user_properties[`[Optimizely] ${FLAG}`], 'b');
    const { rows } = analyse(store, QUERY);
    assert.equal(rows.find(({ variation }) => variation === 'b').segment.events, 1);
  });

  it('keeps a property after its event is forgotten', () => {
    const rest = [did('user_1', 'Checkout', T0 + 1), did('user_1', 'Checkout', T0 + 2)];
    const store = storeOf([identify('user_1', 'a'), ...rest], { maxEvents: 2 });
    const { rows } = analyse(store, QUERY);
    assert.deepEqual([rows[0].variation, rows[0].segment.events], ['a', 2]);
  });
});

describe('the property of a variation', () => {
  const update = (prefix, value, flag) => ({
    ...identify('user_1', value),
    user_properties: { $set: { [`${prefix}${flag}`]: value, plan: 'x' } },
  });

  it('is found by what events say: any prefix, event type and value of a disabled flag', () => {
    const told = { enabled: false, variation_key: 'control' };
    const events = [
      update('A/B: ', 'control', 'new_checkout'),
      update('A/B: ', 'control', FLAG),
      { ...viewed('user_1', 'control', T0, FLAG, told), event_type: 'Saw' },
      did('user_1', 'Checkout', T0 + 1),
    ];
    const store = storeOf(events);
    assert.equal(store.prefixes.list[0], 'A/B: ');
    assert.equal(store.prefixes.flagOf('A/B: new_checkout'), 'new_checkout');
    assert.equal(store.prefixes.flagOf('plan'), null);
    assert.deepEqual(funnels(events, { steps: [EXPOSED, 'Checkout'] }), { control: [1, 1] });
    assert.deepEqual(summarize(store).types[0], {
      ...{ type: 'Checkout', events: 1, isExposure: false, numbers: [] },
    });
  });

  it('is not one that only ends with the key of the flag', () => {
    const store = storeOf([
      update('A/B: ', 'on', 'new_checkout'),
      viewed('user_1', 'other', T0, FLAG),
    ]);
    assert.deepEqual(store.prefixes.list, ['[Optimizely] ', '[Experiment] ']);
  });

  it('may have no prefix, as other properties have none', () => {
    const store = storeOf([update('', 'a', FLAG), viewed('user_1', 'a')]);
    assert.equal(store.prefixes.list[0], '');
    assert.deepEqual(
      [FLAG, 'plan', '[Optimizely] x'].map((name) => store.prefixes.flagOf(name)),
      [FLAG, null, 'x'],
    );
    assert.deepEqual(
      summarize(store).flags.map(({ flag }) => flag),
      [FLAG],
    );
  });

  it('may be given, where no event tells it', () => {
    const events = [update('x/', 'a', FLAG), did('user_1', 'Checkout', T0 + 1)];
    const store = storeOf(events, { prefixes: ['x/'] });
    assert.deepEqual(summarize(store).flags, [{ flag: FLAG, users: 1, rules: [] }]);
    const { rows } = analyse(store, { ...QUERY, steps: [EXPOSED, 'Checkout'] });
    assert.deepEqual([rows[0].variation, rows[0].exposed, rows[0].funnel], ['a', 1, [1, 1]]);
  });
});

describe('a rule', () => {
  const inRule = (user, variation, rule, time = T0, more = {}) =>
    viewed(user, variation, time, FLAG, { rule_key: rule, ...more });

  it('has its own variations, also where the flag is off in them', () => {
    const events = [
      inRule('user_1', 'control', 'test', T0, { enabled: false }),
      inRule('user_2', 'one_page', 'test'),
      inRule('user_3', 'on', 'rollout'),
      did('user_1', 'Checkout', T0 + 1),
      did('user_3', 'Checkout', T0 + 1),
    ];
    assert.deepEqual(funnels(events, { rule: 'test', steps: [EXPOSED, 'Checkout'] }), {
      control: [1, 1],
      one_page: [1, 0],
    });
  });

  it('is compared without the users who saw two variations', () => {
    const analysis = analyse(
      storeOf([
        inRule('user_1', 'a', 'test'),
        inRule('user_2', 'a', 'test'),
        inRule('user_2', 'b', 'test', T0 + 1),
        inRule('user_3', 'b', 'test'),
      ]),
      { ...QUERY, rule: 'test', steps: [EXPOSED] },
    );
    assert.equal(analysis.switched, 1);
    assert.deepEqual(
      analysis.rows.map(({ variation, exposed: seen, compared }) => [variation, seen, compared]),
      [
        ['a', 2, [1]],
        ['b', 2, [1]],
      ],
    );
  });

  it('has sums, a series and groups, within a time range', () => {
    const bought = (user, amount, time) => ({
      ...did(user, 'Purchase', time),
      event_properties: { amount },
    });
    const events = [
      inRule('user_1', 'a', 'test', T0, { country: 'DE' }),
      bought('user_1', 10, T0 + 10),
      bought('user_1', 2.5, T0 + 20),
      inRule('user_2', 'a', 'test', T0 + 50, { country: 'FR' }),
      inRule('user_3', 'b', 'test', T0 + 100),
      bought('user_3', 'free', T0 + 101),
      inRule('user_4', 'b', 'test', T0 + 900),
    ];
    const analysis = analyse(storeOf(events), {
      ...QUERY,
      rule: 'test',
      steps: [EXPOSED, 'Purchase'],
      metric: { type: 'Purchase', property: 'amount' },
      by: 'country',
      to: T0 + 500,
    });
    assert.deepEqual(
      analysis.rows.map(({ metric }) => metric),
      [
        { users: 2, active: 1, sum: 12.5, squares: 156.25 },
        { users: 1, active: 0, sum: 0, squares: 0 },
      ],
    );
    const { times, users, converted } = analysis.series();
    assert.equal(times.at(-1), T0 + 101);
    assert.deepEqual(
      [users.map((list) => list.at(-1)), converted.map((list) => list.at(-1))],
      [
        [2, 1],
        [1, 1],
      ],
    );
    assert.ok(users[0].every((count, i) => i === 0 || count >= users[0][i - 1]));
    assert.deepEqual(analysis.breakdown(), [
      { value: '(none)', users: [0, 1], converted: [0, 1] },
      { value: 'DE', users: [1, 0], converted: [1, 0] },
      { value: 'FR', users: [1, 0], converted: [0, 0] },
    ]);
  });

  it('leaves out amounts with which nothing can be computed', () => {
    const bought = (user, amount) => ({
      ...did(user, 'Purchase', T0 + 1),
      event_properties: { amount },
    });
    const events = [inRule('user_1', 'a', 'test', T0)];
    [1e308, -1e308, 1e155, -3, 5].forEach((amount) => events.push(bought('user_1', amount)));
    const [{ metric }] = analyse(storeOf(events), {
      ...QUERY,
      rule: 'test',
      metric: { type: 'Purchase', property: 'amount' },
    }).rows;
    assert.deepEqual(metric, { users: 1, active: 1, sum: 2, squares: 4 });
  });
});

describe('decisions', () => {
  /** The decisions of events, with events in place of records, as they were sent. */
  const decisionsOf = (events) => {
    const store = storeOf(events);
    const told = (record) => record && asSent(record.event);
    return pairDecisions(store.recent(Infinity), store.prefixes).map((decision) => ({
      ...decision,
      event: told(decision.event),
      exposure: told(decision.exposure),
      identify: told(decision.identify),
    }));
  };

  it('are exposures with the update before them', () => {
    const [update, exposure] = exposed('user_1', 'a');
    assert.deepEqual(decisionsOf([update, exposure, did('user_1', 'Checkout')]), [
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

  it("share an update, also one that changes nothing, and do not take another user's", () => {
    const update = {
      ...identify('user_1', 'a'),
      user_properties: { $set: { '[Optimizely] f': 'a', '[Optimizely] new_g': 'b' } },
    };
    const list = decisionsOf([
      update,
      viewed('user_1', 'a', T0, 'f'),
      viewed('user_1', 'b', T0, 'new_g'),
      viewed('user_1', 'b', T0, 'g'),
      viewed('user_2', 'a', T0, 'f'),
      { ...update, time: T0 + 1 },
      viewed('user_1', 'a', T0 + 1, 'f'),
      viewed('user_1', 'b', T0 + 1, 'new_g'),
    ]);
    assert.deepEqual(
      list.map(({ flag, identify: found }) => [flag, found?.time]),
      [
        ['f', T0],
        ['new_g', T0],
        ['g', undefined],
        ['f', undefined],
        ['f', T0 + 1],
        ['new_g', T0 + 1],
      ],
    );
  });

  it("are Amplitude Experiment's exposures, and events behind them", () => {
    const [update, event] = exposed('user_1', 'a');
    const both = experiment('user_1', 'a');
    const list = decisionsOf([
      update,
      both,
      event,
      experiment('user_1', 'b', T0 + 1),
      experiment('user_2', undefined, T0 + 1, 'other'),
    ]);
    assert.deepEqual(list[0], {
      time: T0,
      user: 'user_1',
      flag: FLAG,
      variation: 'a',
      rule: 'rule',
      enabled: true,
      event,
      exposure: both,
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
        [FLAG, 'b', 'rule', null, null, '$exposure'],
        ['other', null, 'rule', null, null, '$exposure'],
      ],
    );
  });

  it('may be updates alone', () => {
    const list = decisionsOf([identify('user_1', 'a'), identify('user_1', 'b', T0 + 1)]);
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
        analyse(store, QUERY);
        return Number(process.hrtime.bigint() - startedAt);
      }),
    );
  const [few, many] = [fill(4000), fill(40_000)];
  fastest(few);
  assert.ok(fastest(many) < 40 * fastest(few));
});
