'use strict';

/** The kind of rule that decided, the filter by it, and what looking it up costs. */

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { setImmediate: nextTurn } = require('node:timers/promises');

const {
  DATAFILE,
  MAJORS,
  US_PREMIUM,
  changeDatafile,
  createClient,
  createLargeDatafile,
  createNotification,
  decideAllAs,
  decideAs,
  updateDatafile,
} = require('../support/optimizely/sdk.js');
const { assertReconciles, start, viewed } = require('../support/dispatcher/harness.js');

const ALL_TYPES = [
  'flag',
  'feature',
  'feature-variable',
  'all-feature-variables',
  'ab-test',
  'feature-test',
];

/** Start a dispatcher that notes `[name of the rule, ruleType]` of each decision in `types`. */
async function startNoting(t, options) {
  const types = [];
  const started = await start(t, {
    dedupe: false,
    eventProperties: ({ decisionInfo }, { ruleType }) => {
      types.push([decisionInfo.ruleKey ?? decisionInfo.experimentKey ?? null, ruleType]);
    },
    ...options,
  });
  return { ...started, types };
}

/** Flush, and return the keys of the rules whose decisions have arrived. */
async function sentRules({ amplitude, dispatcher }) {
  await dispatcher.flush();
  assertReconciles(dispatcher.stats());
  return viewed(amplitude).map(({ event_properties }) => event_properties.rule_key);
}

/** Create a client that is closed after the test: SDK v4 and v5 keep the process for 30 s otherwise. */
function openClient(t, major, datafile) {
  const client = createClient(major, datafile);
  t.after(() => client.close());
  return client;
}

/** A client as a wrapper shows it: with the public interface, and without the client's internals. */
const wrap = (client, more) => ({
  notificationCenter: client.notificationCenter,
  getOptimizelyConfig: () => client.getOptimizelyConfig(),
  ...more,
});

/** Make the targeted delivery of checkout_flow a rule of its experiments, with the same key and another id. */
const deliveryToExperiment = (content) => {
  const [delivery] = content.rollouts[0].experiments.splice(0, 1);
  content.experiments.push({ ...delivery, id: '9400000077', layerId: 'layer_77' });
  content.featureFlags[0].experimentIds.push('9400000077');
};

const holdout = (key, more) => ({
  id: `id of ${key}`,
  key,
  status: 'Running',
  audienceIds: [],
  audienceConditions: [],
  layerId: '',
  variations: [{ id: `variation of ${key}`, key: 'off', featureEnabled: false, variables: [] }],
  trafficAllocation: [{ entityId: `variation of ${key}`, endOfRange: 10000 }],
  ...more,
});

for (const major of MAJORS) {
  describe(`the rules of SDK v${major}`, () => {
    for (const [kind, attach] of [
      ['a client', (dispatcher, client) => dispatcher.attach(client)],
      ['a wrapper of a client', (dispatcher, client) => dispatcher.attach(wrap(client))],
    ]) {
      test(`of ${kind} are told apart`, async (t) => {
        const { dispatcher, types, logger } = await startNoting(t);
        const client = openClient(t, major);
        attach(dispatcher, client);
        decideAs(client, 'user_0');
        decideAs(client, 'user_11');
        decideAs(client, 'user_0', { country: 'FR' });
        decideAs(client, 'user_1', US_PREMIUM, 'search_ranking');
        assert.deepEqual(types, [
          ['checkout_ab', 'experiment'],
          ['checkout_targeted_delivery', 'rollout'],
          ['default-rollout-checkout', 'rollout'],
          [null, null],
        ]);
        assert.deepEqual(logger.warnings, []);
      });

      test(`of ${kind} are those of the new datafile at once, also after its listeners were cleared`, async (t) => {
        for (const isCleared of [false, true]) {
          const { dispatcher, types } = await startNoting(t);
          const client = openClient(t, major);
          const attached = kind === 'a client' ? client : wrap(client);
          dispatcher.attach(attached);
          decideAs(client, 'user_11');
          if (isCleared) {
            client.notificationCenter.clearAllNotificationListeners();
            dispatcher.attach(attached);
          }
          updateDatafile(client, changeDatafile(deliveryToExperiment));
          decideAs(client, 'user_11');
          assert.deepEqual(types, [
            ['checkout_targeted_delivery', 'rollout'],
            ['checkout_targeted_delivery', 'experiment'],
          ]);
        }
      });
    }

    test("send: 'experiments' leaves out rollouts and users in no rule", async (t) => {
      const started = await start(t, { send: 'experiments' });
      const client = openClient(t, major);
      started.dispatcher.attach(client);
      decideAllAs(client, 'user_0'); // two experiments, a rollout
      decideAllAs(client, 'user_1'); // an experiment, a rollout, no rule
      decideAllAs(client, 'user_11', { country: 'FR' }); // two rollouts, an experiment
      assert.deepEqual(await sentRules(started), [
        'checkout_ab',
        'search_ab',
        'checkout_ab',
        'search_ab',
      ]);
      assert.equal(started.dispatcher.stats().decisions.ignored, 5);
      assert.deepEqual(started.logger.warnings, []);
    });

    test('the older APIs notify it, whoever registers the listener', async (t) => {
      const expected = [
        [null, 'experiment'],
        [null, 'rollout'],
        [null, 'experiment'],
        [null, 'experiment'],
        ['legacy_ab', 'experiment'],
        ['checkout_ab', 'experiment'],
        ['checkout_ab', null],
      ];
      const names = ['DECISION', 'DECISION:type, userId, attributes, decisionInfo'];
      for (const listen of [
        (dispatcher, client) => dispatcher.attach(client),
        (dispatcher, { notificationCenter }) =>
          names.forEach((name) =>
            notificationCenter.addNotificationListener(name, dispatcher.onDecision),
          ),
      ]) {
        for (const send of ['all', 'experiments']) {
          const { dispatcher, types, logger } = await startNoting(t, {
            decisionTypes: ALL_TYPES,
            send,
          });
          const client = openClient(t, major);
          listen(dispatcher, client);
          client.isFeatureEnabled('checkout_flow', 'user_1', US_PREMIUM);
          client.isFeatureEnabled('homepage_banner', 'user_1');
          client.getFeatureVariableString('checkout_flow', 'title', 'user_1', US_PREMIUM);
          client.getAllFeatureVariables('checkout_flow', 'user_1', US_PREMIUM);
          client.activate('legacy_ab', 'user_1');
          client.activate('checkout_ab', 'user_1', US_PREMIUM);
          client.getVariation('checkout_ab', 'user_1'); // in no variation
          assert.deepEqual(
            types,
            send === 'all' ? expected : expected.filter(([, type]) => type === 'experiment'),
          );
          assert.equal(dispatcher.stats().decisions.ignored, send === 'all' ? 0 : 2);
          assert.deepEqual(logger.warnings, []);
        }
      }
    });

    test('a forced decision has the rule that it names, or none', async (t) => {
      const { dispatcher, types } = await startNoting(t);
      const client = openClient(t, major);
      dispatcher.attach(client);
      const user = client.createUserContext('user_9', { country: 'FR' });
      user.setForcedDecision({ flagKey: 'checkout_flow' }, { variationKey: 'one_page' });
      user.decide('checkout_flow');
      user.removeAllForcedDecisions();
      user.setForcedDecision(
        { flagKey: 'checkout_flow', ruleKey: 'checkout_ab' },
        { variationKey: 'control' },
      );
      user.decide('checkout_flow');
      assert.deepEqual(types, [
        [null, null],
        ['checkout_ab', 'experiment'],
      ]);
    });

    test('are looked up without reading the datafile in decide(), also right after an update', async (t) => {
      const { dispatcher, types } = await startNoting(t, { send: 'experiments' });
      let datafile = createLargeDatafile();
      assert.ok(datafile.length > 850_000, datafile.length);
      const client = openClient(t, major, datafile);
      const read = [];
      t.mock.method(client, 'getOptimizelyConfig', () => {
        read.push('getOptimizelyConfig()');
        return null;
      });
      const { parse } = JSON;
      dispatcher.attach(client);
      await nextTurn(); // whatever would be prepared
      for (let i = 0; i < 3; i++) {
        t.mock.method(JSON, 'parse', (text, ...rest) => {
          read.push(`JSON.parse() of ${text.length} characters`);
          return parse(text, ...rest);
        });
        decideAs(client, 'user_0', US_PREMIUM, `flag_${i}`);
        decideAs(client, 'user_0', { country: 'FR' }, `flag_${i}`);
        JSON.parse.mock.restore();
        datafile = changeDatafile(() => {}, datafile);
        updateDatafile(client, datafile);
      }
      assert.deepEqual(read, []);
      assert.deepEqual(types, [
        ['checkout_ab_0', 'experiment'],
        ['checkout_ab_1', 'experiment'],
        ['checkout_ab_2', 'experiment'],
      ]);
    });

    test('of a wrapper are prepared when it is attached and after each update, off decide()', async (t) => {
      const { dispatcher, types } = await startNoting(t);
      const client = openClient(t, major);
      let isDeciding = false;
      const calls = [];
      const built = new Set();
      const getOptimizelyConfig = () => {
        const config = client.getOptimizelyConfig();
        calls.push(isDeciding && !built.has(config) ? 'built in decide()' : 'built before');
        built.add(config);
        return config;
      };
      const decide = () => {
        isDeciding = true;
        decideAs(client, 'user_0');
        isDeciding = false;
      };
      dispatcher.attach(wrap(client, { getOptimizelyConfig }));
      assert.deepEqual(calls, [], 'not in attach() itself');
      for (let i = 1; i <= 3; i++) {
        await nextTurn();
        assert.equal(built.size, i);
        decide();
        updateDatafile(
          client,
          changeDatafile((content) => (content.revision = String(100 + i))),
        );
        await null; // v5 notifies in a microtask
      }
      assert.ok(!calls.includes('built in decide()'), calls.join());
      assert.equal(types.length, 3);
    });
  });
}

describe('holdouts of SDK v6', () => {
  const RULE_ID = '9400000001'; // checkout_ab
  for (const [kind, more, expected] of [
    [
      'global',
      { holdouts: [holdout('global_holdout')] },
      [
        ['global_holdout', 'holdout'],
        ['global_holdout', 'holdout'],
      ],
    ],
    [
      'local, of an experiment',
      { localHoldouts: [holdout('local_holdout', { includedRules: [RULE_ID] })] },
      [
        ['local_holdout', 'holdout'],
        ['default-rollout-banner', 'rollout'],
      ],
    ],
    [
      'local, of a rollout',
      { localHoldouts: [holdout('local_holdout', { includedRules: ['9300000003'] })] },
      [
        ['checkout_ab', 'experiment'],
        ['local_holdout', 'holdout'],
      ],
    ],
    [
      'local, with the key of a rollout',
      { localHoldouts: [holdout('default-rollout-checkout', { includedRules: [RULE_ID] })] },
      [
        ['default-rollout-checkout', 'holdout'],
        ['default-rollout-banner', 'rollout'],
      ],
    ],
    [
      'of both sections',
      {
        holdouts: [holdout('nobody', { trafficAllocation: [] })],
        localHoldouts: [holdout('local_holdout', { includedRules: [RULE_ID, '9300000003'] })],
      },
      [
        ['local_holdout', 'holdout'],
        ['local_holdout', 'holdout'],
      ],
    ],
  ]) {
    for (const [of, shown] of [
      ['a client', (client) => client],
      ['a wrapper', wrap],
    ]) {
      test(`${kind}, of ${of}`, async (t) => {
        const client = openClient(t, 6, JSON.stringify({ ...JSON.parse(DATAFILE), ...more }));
        const all = await startNoting(t);
        all.dispatcher.attach(shown(client));
        const experiments = await start(t, { send: 'experiments' });
        experiments.dispatcher.attach(shown(client));
        decideAs(client, 'user_9');
        decideAs(client, 'user_9', US_PREMIUM, 'homepage_banner');
        assert.deepEqual(all.types, expected);
        assert.deepEqual(
          await sentRules(experiments),
          expected.filter(([, type]) => type !== 'rollout').map(([key]) => key),
        );
      });
    }
  }

  test('the older APIs notify them as well', async (t) => {
    const { dispatcher, types } = await startNoting(t, { decisionTypes: ['feature'] });
    const client = openClient(
      t,
      6,
      JSON.stringify({ ...JSON.parse(DATAFILE), holdouts: [holdout('global_holdout')] }),
    );
    dispatcher.attach(client);
    client.isFeatureEnabled('checkout_flow', 'user_9', US_PREMIUM);
    assert.deepEqual(types, [[null, 'holdout']]);
  });
});

test('an experiment of a group of exclusive ones is an experiment', async (t) => {
  const datafile = changeDatafile((content) => {
    const experiments = content.experiments.splice(0, 1);
    content.groups.push({
      id: 'group_1',
      policy: 'random',
      experiments,
      trafficAllocation: [{ entityId: experiments[0].id, endOfRange: 10000 }],
    });
  });
  for (const major of MAJORS) {
    const { dispatcher, types } = await startNoting(t);
    const client = openClient(t, major, datafile);
    dispatcher.attach(client);
    decideAs(client, 'user_0');
    assert.deepEqual(types, [['checkout_ab', 'experiment']]);
  }
});

describe('includeRollouts: false', () => {
  test("is the older name of send: 'experiments'", async (t) => {
    const started = await start(t, { includeRollouts: false });
    const client = openClient(t, 6);
    started.dispatcher.attach(client);
    decideAllAs(client, 'user_0');
    decideAllAs(client, 'user_1');
    decideAllAs(client, 'user_11', { country: 'FR' });
    assert.deepEqual(await sentRules(started), [
      'checkout_ab',
      'search_ab',
      'checkout_ab',
      'search_ab',
    ]);
    assert.equal(started.dispatcher.stats().decisions.ignored, 5);
  });
});

describe('a rule whose kind cannot be found out', () => {
  const listenByHand = (t, dispatcher) => {
    const client = openClient(t, 6);
    client.notificationCenter.addNotificationListener('DECISION', dispatcher.onDecision);
    return client;
  };

  test('because the listener is registered by hand: one warning says to attach, and nothing is lost', async (t) => {
    const started = await start(t, { send: 'experiments' });
    const client = listenByHand(t, started.dispatcher);
    decideAs(client, 'user_1', US_PREMIUM, 'search_ranking'); // in no rule, which the notification tells
    assert.deepEqual(started.logger.warnings, []);
    for (let i = 0; i < 50; i++) {
      decideAllAs(client, `user_${i}`);
    }
    const rules = await sentRules(started);
    assert.ok(rules.includes('checkout_ab') && rules.includes('default-rollout-banner'));
    assert.ok(!rules.includes(null));
    assert.equal(started.logger.warnings.length, 1);
    assert.match(
      started.logger.warnings[0],
      /rule.*are sent.*registered by hand.*attach\(client\)/,
    );
  });

  test('matters to a callback that takes the rule, and to no other', async (t) => {
    const takesRule = (notification, rule) => ({ rule_type: rule.ruleType });
    for (const [options, warnings] of [
      [{ eventProperties: takesRule }, 1],
      [{ userProperties: takesRule }, 1],
      [{ eventProperties: takesRule, userProperties: takesRule }, 1],
      [{ eventProperties: (notification) => ({ type: notification.type }) }, 0],
      [{ userProperties: () => undefined }, 0],
      [{ resolveUser: ({ userId }) => ({ userId }) }, 0],
      [{}, 0],
    ]) {
      const { dispatcher, logger } = await start(t, options);
      const client = listenByHand(t, dispatcher);
      decideAs(client, 'user_0');
      decideAs(client, 'user_11');
      assert.equal(logger.warnings.length, warnings, Object.keys(options).join());
      assert.equal(dispatcher.stats().decisions.accepted, 2);
    }
  });

  for (const [because, more, reason] of [
    [
      'getOptimizelyConfig() throws',
      {
        getOptimizelyConfig() {
          throw new Error('on purpose');
        },
      },
      /on purpose/,
    ],
    ['there is no getOptimizelyConfig()', { getOptimizelyConfig: undefined }, /not a function/],
    ['there is no configuration', { getOptimizelyConfig: () => null }, /datafile/],
    [
      'the configuration lacks the flag',
      { getOptimizelyConfig: () => ({ featuresMap: {} }) },
      /'checkout_ab' of flag 'checkout_flow'.*datafile/,
    ],
    [
      'the internals of the client changed',
      {
        projectConfigManager: {
          getConfig() {
            throw new Error('on purpose');
          },
        },
      },
      /on purpose/,
    ],
  ]) {
    test(`because ${because}: it is sent, and logged once`, async (t) => {
      const started = await startNoting(t, { send: 'experiments' });
      const client = openClient(t, 6);
      started.dispatcher.attach(wrap(client, more));
      await nextTurn();
      decideAs(client, 'user_0');
      decideAs(client, 'user_1');
      assert.deepEqual(started.types, [
        ['checkout_ab', null],
        ['checkout_ab', null],
      ]);
      assert.deepEqual(await sentRules(started), ['checkout_ab', 'checkout_ab']);
      assert.equal(started.logger.warnings.length, 1, started.logger.warnings.join('\n'));
      assert.match(started.logger.warnings[0], reason);
    });
  }

  test('because the SDK keeps its configuration in another way: getOptimizelyConfig() is asked', async (t) => {
    const { dispatcher, types, logger } = await startNoting(t);
    const client = openClient(t, 6);
    dispatcher.attach(wrap(client, { projectConfigManager: { getConfig: () => ({ flags: {} }) } }));
    decideAs(client, 'user_0');
    decideAs(client, 'user_11');
    assert.deepEqual(types, [
      ['checkout_ab', 'experiment'],
      ['checkout_targeted_delivery', 'rollout'],
    ]);
    assert.deepEqual(logger.warnings, []);
  });

  test('because it is of a datafile that was replaced meanwhile, is unknown, and not another rule of its key', async (t) => {
    const { dispatcher, types } = await startNoting(t);
    const client = openClient(t, 6, changeDatafile(deliveryToExperiment));
    dispatcher.attach(client);
    // A decision that began before the update, as decideAsync() may: its rule had another id.
    client.notificationCenter.sendNotifications(
      'DECISION',
      createNotification('user_11', {
        variationKey: 'on',
        ruleKey: 'checkout_targeted_delivery',
        experimentId: '9300000001',
      }),
    );
    assert.deepEqual(types, [['checkout_targeted_delivery', null]]);
  });
});

test('each client has its own rules, whatever the keys of the other are', async (t) => {
  const { dispatcher, types } = await startNoting(t);
  const one = openClient(t, 6);
  const other = openClient(t, 6, changeDatafile(deliveryToExperiment));
  dispatcher.attach(one);
  dispatcher.attach(other);
  decideAs(one, 'user_11');
  decideAs(other, 'user_11');
  decideAs(one, 'user_11');
  assert.deepEqual(types, [
    ['checkout_targeted_delivery', 'rollout'],
    ['checkout_targeted_delivery', 'experiment'],
    ['checkout_targeted_delivery', 'rollout'],
  ]);
});

test('decisions of decideAsync() have their rules', async (t) => {
  const { dispatcher, types } = await startNoting(t);
  const client = openClient(t, 6);
  dispatcher.attach(client);
  await client.createUserContext('user_0', US_PREMIUM).decideAllAsync();
  assert.deepEqual(types, [
    ['checkout_ab', 'experiment'],
    ['default-rollout-banner', 'rollout'],
    ['search_ab', 'experiment'],
  ]);
});

test('resolveUser alone needs no rules', async (t) => {
  const { dispatcher } = await start(t, { resolveUser: ({ userId }) => ({ userId }) });
  const client = openClient(t, 6);
  const ask = t.mock.fn(() => null);
  dispatcher.attach(
    wrap(client, { getOptimizelyConfig: ask, projectConfigManager: { getConfig: ask } }),
  );
  await nextTurn();
  decideAs(client, 'user_0');
  assert.equal(dispatcher.stats().decisions.accepted, 1);
  assert.equal(ask.mock.callCount(), 0);
});
