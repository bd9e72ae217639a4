'use strict';

/** The user of a decision, its added properties, and whether it may be sent. */

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { createClient, createNotification, US_PREMIUM } = require('../support/optimizely/sdk.js');
const {
  assertReconciles,
  start,
  storedEvents,
  viewed,
} = require('../support/dispatcher/harness.js');
const { seededRandom } = require('../support/util/random.js');

const decide = (dispatcher, userId, decisionInfo) =>
  dispatcher.onDecision(createNotification(userId, decisionInfo));

describe('ids', () => {
  test('that Amplitude refuses are counted as invalid, and logged once for each cause', async (t) => {
    const { amplitude, dispatcher, logger } = await start(t);
    const refused = [
      '',
      'abc',
      '0',
      '-1',
      'anonymous',
      'undefined',
      'unknown',
      '00000000-0000-0000-0000-000000000000',
      'x'.repeat(1025),
      'half \ud800',
      null,
      12345,
    ];
    for (const id of [...refused, ...refused]) {
      decide(dispatcher, id);
    }
    decide(dispatcher, 'x'.repeat(1024));
    await dispatcher.flush();
    assert.equal(dispatcher.stats().decisions.invalid, 2 * refused.length);
    assert.deepEqual(
      viewed(amplitude).map((event) => event.user_id),
      ['x'.repeat(1024)],
    );
    assert.equal(logger.warnings.length, 5, logger.warnings.join('\n')); // missing, too short, forbidden, too long, malformed
    assertReconciles(dispatcher.stats());
  });

  test('are as long as minIdLength says', async (t) => {
    const { amplitude, dispatcher } = await start(t, { minIdLength: 2 });
    decide(dispatcher, 'a');
    decide(dispatcher, 'äö');
    await dispatcher.flush();
    assert.deepEqual(
      viewed(amplitude).map((event) => event.user_id),
      ['äö'],
    );
    assert.equal(amplitude.requests[0].body.options.min_id_length, 2);
  });

  test('are mapped by resolveUser: user, device, both, or none', async (t) => {
    const users = {
      'user-a': { userId: 'amplitude-a' },
      'user-b': { deviceId: 'device-b' },
      'user-c': { userId: 'amplitude-c', deviceId: 'device-c' },
      'user-d': null,
      'user-e': {},
    };
    const { amplitude, dispatcher } = await start(t, {
      resolveUser: ({ userId }) => {
        if (!(userId in users)) {
          throw new Error('who is that?');
        }
        return users[userId];
      },
    });
    for (const userId of [...Object.keys(users), 'user-f']) {
      decide(dispatcher, userId);
    }
    await dispatcher.flush();
    assert.deepEqual(
      viewed(amplitude).map(({ user_id, device_id }) => [user_id, device_id]),
      [
        ['amplitude-a', undefined],
        [undefined, 'device-b'],
        ['amplitude-c', 'device-c'],
      ],
    );
    const { ignored, invalid } = dispatcher.stats().decisions;
    assert.deepEqual({ ignored, invalid }, { ignored: 1, invalid: 2 });
    assertReconciles(dispatcher.stats());
  });

  test('that Amplitude refuses are left out beside a good one, counted, and logged for each cause', async (t) => {
    const good = { userId: 'user_12345', deviceId: 'device-123456' };
    const refused = {
      short: 'u_1',
      forbidden: 'anonymous',
      long: 'x'.repeat(1025),
      malformed: 'half \ud800',
    };
    const absent = { empty: '', null: null, undefined };
    const cases = Object.keys(good).flatMap((name) =>
      [...Object.entries(refused), ...Object.entries(absent)].map(([kind, id]) => ({
        key: `${kind} ${name}`,
        user: { ...good, [name]: id },
        left: name === 'userId' ? [undefined, good.deviceId] : [good.userId, undefined],
      })),
    );
    const { amplitude, dispatcher, logger } = await start(t, {
      resolveUser: ({ attributes }) => attributes.user,
    });
    for (const { key, user } of cases) {
      dispatcher.onDecision({
        ...createNotification('nobody', { flagKey: key }),
        attributes: { user },
      });
    }
    await dispatcher.flush();
    assert.deepEqual(
      viewed(amplitude).map((event) => [
        event.event_properties.flag_key,
        event.user_id,
        event.device_id,
      ]),
      cases.map(({ key, left }) => [key, ...left]),
    );
    const { decisions, leftOut } = dispatcher.stats();
    assert.deepEqual([decisions.delivered, decisions.invalid, leftOut.ids], [14, 0, 8]);
    assert.equal(logger.warnings.length, 8, logger.warnings.join('\n'));
    for (const name of Object.keys(good)) {
      assert.ok(
        logger.warnings.some((line) => line.startsWith(`a ${name} is left out`)),
        name,
      );
    }
    assertReconciles(dispatcher.stats());
  });

  test('of which both are refused cost the decision, for the reason of the user id', async (t) => {
    const { amplitude, dispatcher, logger } = await start(t, {
      resolveUser: () => ({ userId: 'unknown', deviceId: 'd1' }),
    });
    decide(dispatcher, 'nobody');
    await dispatcher.flush();
    assert.equal(amplitude.requests.length, 0);
    const { decisions, leftOut } = dispatcher.stats();
    assert.deepEqual([decisions.invalid, leftOut.ids], [1, 0]);
    assert.match(logger.warnings.join('\n'), /list of invalid ids/);
  });

  test('are sent when only their case differs from a word of the list: Amplitude decides', async (t) => {
    const { amplitude, dispatcher } = await start(t);
    decide(dispatcher, 'Anonymous');
    await dispatcher.flush();
    assert.deepEqual(
      viewed(amplitude).map((event) => event.user_id),
      ['Anonymous'],
    );
  });

  test('a user and a device of the same name are two', async (t) => {
    const { amplitude, dispatcher } = await start(t, {
      resolveUser: ({ userId }) =>
        userId === 'as-user' ? { userId: 'same-name' } : { deviceId: 'same-name' },
    });
    decide(dispatcher, 'as-user');
    decide(dispatcher, 'as-device');
    await dispatcher.flush();
    assert.equal(viewed(amplitude).length, 2);
  });
});

describe('event fields of resolveUser', () => {
  const resolve = { resolveUser: ({ attributes }) => attributes.user };
  const user = { userId: 'user_12345' };

  /** Decide on a flag for what resolveUser returns. */
  const decideFor = (dispatcher, returned, flagKey = 'flag') =>
    dispatcher.onDecision({
      ...createNotification('nobody', { flagKey }),
      attributes: { user: returned },
    });

  const KEYS = ['session_id', 'app_version', 'platform', 'country', 'language', 'ip', 'groups'];
  const fieldsOf = (event) =>
    Object.fromEntries(Object.entries(event).filter(([key]) => KEYS.includes(key)));

  test('are in both events, under the names of Amplitude', async (t) => {
    const { amplitude, dispatcher } = await start(t, { ...resolve, groups: { org: 'Acme' } });
    decideFor(dispatcher, {
      ...user,
      sessionId: 1795532583853,
      appVersion: '2.1 "beta"',
      platform: 'Web',
      country: 'Côte d’Ivoire',
      language: 'fr',
      ip: '2001:db8::1',
      groups: { team: ['a', 'b'] },
    });
    await dispatcher.flush();
    const expected = {
      session_id: 1795532583853,
      app_version: '2.1 "beta"',
      platform: 'Web',
      country: 'Côte d’Ivoire',
      language: 'fr',
      ip: '2001:db8::1',
      groups: { team: ['a', 'b'] }, // in place of those of the option
    };
    const events = storedEvents(amplitude);
    assert.deepEqual(events.map(fieldsOf), [expected, expected]);
    assert.deepEqual(dispatcher.stats().leftOut, { ids: 0, fields: 0, properties: 0, events: 0 });
  });

  for (const format of ['merged', 'exposure', ['exposure', 'identify'], 'identify']) {
    test(`are in every event of the format ${JSON.stringify(format)}`, async (t) => {
      const { amplitude, dispatcher } = await start(t, {
        ...resolve,
        format,
        groups: { org: 'Acme' },
      });
      decideFor(dispatcher, { ...user, sessionId: 7, groups: { team: 'a' } });
      await dispatcher.flush();
      const { events } = amplitude.requests[0].body;
      assert.equal(events.length, [format].flat().length);
      for (const event of events) {
        assert.deepEqual(fieldsOf(event), { session_id: 7, groups: { team: 'a' } });
      }
    });
  }

  test('that are absent, null or empty are none, and the groups of the option stay', async (t) => {
    const { amplitude, dispatcher, logger } = await start(t, {
      ...resolve,
      groups: { org: 'Acme' },
    });
    decideFor(dispatcher, { ...user, sessionId: null, country: '', ip: undefined, groups: {} });
    await dispatcher.flush();
    assert.deepEqual(storedEvents(amplitude).map(fieldsOf), [{}, { groups: { org: 'Acme' } }]);
    assert.deepEqual(logger.warnings, []);
  });

  test('that are wrong cost themselves, are counted, and named in the log', async (t) => {
    const { amplitude, dispatcher, logger } = await start(t, resolve);
    const wrong = {
      sessionId: [1.5, -2, '17', NaN, 2n, new Date()],
      appVersion: [2, 'x'.repeat(1025), '\ud800', {}],
      platform: [true],
      country: [['CH']],
      language: [Symbol('x')],
      ip: ['$remote', 'localhost', '1.2.3', '1.2.3.4:80', 7],
      groups: ['Acme', { org: '' }, { org: 7 }, [], { a: Array(11).fill('x') }],
    };
    let count = 0;
    for (const [name, values] of Object.entries(wrong)) {
      for (const value of values) {
        decideFor(dispatcher, { ...user, language: 'de', [name]: value }, `flag ${count++}`);
      }
    }
    decideFor(
      dispatcher,
      {
        ...user,
        get ip() {
          throw new Error('no address');
        },
        language: 'de',
      },
      `flag ${count++}`,
    );
    await dispatcher.flush();
    const { decisions, leftOut } = dispatcher.stats();
    assert.deepEqual([decisions.delivered, decisions.invalid, leftOut.fields], [count, 0, count]);
    for (const event of viewed(amplitude)) {
      const isOfLanguage = event.event_properties.flag_key === 'flag 12';
      assert.deepEqual(fieldsOf(event), isOfLanguage ? {} : { language: 'de' });
    }
    for (const name of Object.keys(wrong)) {
      const line = logger.warnings.find((warning) =>
        warning.startsWith(`resolveUser: ${name}: expected `),
      );
      assert.ok(line?.endsWith(`; the decision is sent without its ${name}`), `${name}: ${line}`);
    }
    assert.equal(logger.warnings.length, Object.keys(wrong).length); // one for each field
    assert.ok(!logger.warnings.join().includes('1.2.3'), 'an address is personal');
  });

  test('that differ keep decisions of one user apart, and equal ones share their $identify', async (t) => {
    const { amplitude, dispatcher } = await start(t, resolve);
    for (const [flagKey, sessionId] of Object.entries({ a: 1, b: 1, c: 2, d: undefined })) {
      decideFor(dispatcher, { ...user, sessionId }, flagKey);
    }
    await dispatcher.flush();
    const identifies = storedEvents(amplitude).filter(
      ({ event_type }) => event_type === '$identify',
    );
    assert.deepEqual(
      identifies.map(({ session_id, user_properties }) => [
        session_id,
        Object.keys(user_properties.$set).join(),
      ]),
      [
        [1, '[Optimizely] a,[Optimizely] b'],
        [2, '[Optimizely] c'],
        [undefined, '[Optimizely] d'],
      ],
    );
  });
});

test('ingestionMetadata, plan and partnerId are in every event, as the SDK of Amplitude writes them', async (t) => {
  const { amplitude, dispatcher } = await start(t, {
    ingestionMetadata: { sourceName: 'ampli', sourceVersion: '2.0.0' },
    plan: { branch: 'main "x"', source: 'web', version: '1', versionId: 'id' },
    partnerId: 'partner',
  });
  decide(dispatcher, 'user_12345');
  await dispatcher.flush();
  const { events } = amplitude.requests[0].body;
  assert.equal(events.length, 2);
  for (const { ingestion_metadata, plan, partner_id } of events) {
    assert.deepEqual(ingestion_metadata, { source_name: 'ampli', source_version: '2.0.0' });
    assert.deepEqual(plan, { branch: 'main "x"', source: 'web', version: '1', versionId: 'id' });
    assert.equal(partner_id, 'partner');
  }
});

describe('properties', () => {
  test('of the application are added, and the own ones stay', async (t) => {
    const { amplitude, dispatcher } = await start(t, {
      eventProperties: ({ attributes, decisionInfo }) => ({
        ...attributes,
        experiment_id: decisionInfo.experimentId,
        nested: { list: [1, 'zwei', null, { drei: true }] },
        flag_key: 'mine',
        enabled: 'mine',
      }),
      userProperties: () => ({ plan: 'premium', '[Optimizely] checkout_flow': 'mine' }),
      groups: { company: ['acme', 'umbrella'] },
    });
    const notification = createNotification('user_1');
    notification.attributes = { country: 'US', 'quo"te\u0000\n': '\u2028' };
    dispatcher.onDecision(notification);
    await dispatcher.flush();
    const [identify, event] = storedEvents(amplitude);
    assert.deepEqual(identify.user_properties, {
      $set: { '[Optimizely] checkout_flow': 'one_page', plan: 'premium' },
    });
    assert.deepEqual(event.event_properties, {
      flag_key: 'checkout_flow',
      variation_key: 'one_page',
      rule_key: 'checkout_ab',
      enabled: true,
      country: 'US',
      'quo"te\u0000\n': '\u2028',
      experiment_id: '9400000001',
      nested: { list: [1, 'zwei', null, { drei: true }] },
    });
    assert.deepEqual(event.groups, { company: ['acme', 'umbrella'] });
  });

  test('that cannot be sent cost only themselves', async (t) => {
    const circle = {};
    circle.self = circle;
    let deep = {};
    for (let i = 0; i < 50; i++) {
      deep = { deep };
    }
    const bad = [
      circle,
      { big: 1n },
      deep,
      'text',
      ['list'],
      new Proxy(
        {},
        {
          ownKeys() {
            throw new Error('trap');
          },
        },
      ),
      () => {},
    ];
    let at = 0;
    const { amplitude, dispatcher, logger } = await start(t, {
      eventProperties: () => {
        if (at === bad.length) {
          throw new Error('no properties today');
        }
        return bad[at];
      },
      userProperties: () => ({ plan: 'premium' }),
    });
    for (at = 0; at <= bad.length; at++) {
      decide(dispatcher, `user_${at}`);
    }
    await dispatcher.flush();
    assert.equal(viewed(amplitude).length, bad.length + 1);
    for (const event of viewed(amplitude)) {
      assert.deepEqual(Object.keys(event.event_properties), [
        'flag_key',
        'variation_key',
        'rule_key',
        'enabled',
      ]);
    }
    assert.equal(amplitude.store.user('user_0').user_properties.plan, 'premium');
    assert.equal(logger.warnings.length, 1);
    assertReconciles(dispatcher.stats());
  });

  test('may be 40 levels deep, as Amplitude takes them', async (t) => {
    let deep = 'bottom';
    for (let i = 0; i < 39; i++) {
      deep = { deep };
    }
    const { amplitude, dispatcher } = await start(t, { eventProperties: () => ({ deep }) });
    decide(dispatcher, 'user_1');
    await dispatcher.flush();
    assert.deepEqual(viewed(amplitude)[0].event_properties.deep, deep);
  });

  test('of several flags of one user share one $identify only if they are the same', async (t) => {
    let plan = 'free';
    const { amplitude, dispatcher } = await start(t, { userProperties: () => ({ plan }) });
    decide(dispatcher, 'user_1', { flagKey: 'a' });
    decide(dispatcher, 'user_1', { flagKey: 'b' });
    plan = 'premium';
    decide(dispatcher, 'user_1', { flagKey: 'c' });
    await dispatcher.flush();
    assert.deepEqual(
      storedEvents(amplitude).map(
        ({ event_type, user_properties }) => user_properties?.$set ?? event_type,
      ),
      [
        { '[Optimizely] a': 'one_page', '[Optimizely] b': 'one_page', plan: 'free' },
        'Experiment Viewed',
        'Experiment Viewed',
        { '[Optimizely] c': 'one_page', plan: 'premium' },
        'Experiment Viewed',
      ],
    );
  });

  test('eventType, propertyPrefix and disabledValue', async (t) => {
    const silent = await start(t, {
      eventType: false,
      propertyPrefix: 'exp: ',
      disabledValue: 'variation',
    });
    decide(silent.dispatcher, 'user_1', { enabled: false, variationKey: 'control' });
    decide(silent.dispatcher, 'user_1', { flagKey: 'none', enabled: false, variationKey: null });
    await silent.dispatcher.flush();
    assert.deepEqual(
      storedEvents(silent.amplitude).map(({ event_type, user_properties }) => [
        event_type,
        user_properties,
      ]),
      [['$identify', { $set: { 'exp: checkout_flow': 'control', 'exp: none': 'off' } }]],
    );
    const named = await start(t, { eventType: 'Flag "Seen"' });
    decide(named.dispatcher, 'user_1');
    await named.dispatcher.flush();
    assert.equal(storedEvents(named.amplitude)[1].event_type, 'Flag "Seen"');
  });

  test('of any text arrive unchanged, in bodies that parse', async (t) => {
    const random = seededRandom(7);
    const text = (most) => {
      let result = '';
      for (let left = 1 + random(most); left > 0; left--) {
        const kind = random(6);
        const codePoint =
          kind === 0
            ? random(0x20)
            : kind === 1
              ? random(0x80)
              : kind === 2
                ? 0x2028 + random(2)
                : kind === 3
                  ? 0x10000 + random(0x10000)
                  : kind === 4
                    ? 0xe000 + random(0x1ffe)
                    : random(0xd800);
        result += String.fromCodePoint(codePoint);
      }
      return result;
    };
    let properties;
    const { amplitude, dispatcher } = await start(t, {
      eventProperties: () => properties,
      minIdLength: 1,
    });
    const sent = [];
    for (let i = 0; i < 3000; i++) {
      properties = { [text(8)]: text(40), list: [text(4), { [text(4)]: text(4) }] };
      const decisionInfo = { flagKey: text(20), variationKey: text(20), ruleKey: text(20) };
      const userId = `id ${i} ${text(30)}`;
      decide(dispatcher, userId, decisionInfo);
      sent.push({ userId, decisionInfo, properties });
    }
    await dispatcher.flush();
    const events = amplitude.requests.flatMap(
      ({ jsonBytes }) =>
        JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(jsonBytes)).events,
    );
    const received = events.filter((event) => event.event_type === 'Experiment Viewed');
    assert.equal(received.length, sent.length);
    sent.forEach(({ userId, decisionInfo, properties: added }, i) => {
      const { flagKey, variationKey, ruleKey } = decisionInfo;
      assert.equal(received[i].user_id, userId);
      assert.deepEqual(received[i].event_properties, {
        flag_key: flagKey,
        variation_key: variationKey,
        rule_key: ruleKey,
        enabled: true,
        ...added,
      });
    });
  });
});

test('decisions of the older APIs become the same two events', async (t) => {
  const decisionTypes = [
    'flag',
    'feature',
    'feature-variable',
    'all-feature-variables',
    'ab-test',
    'feature-test',
  ];
  const { amplitude, dispatcher } = await start(t, { decisionTypes, dedupe: false });
  const client = createClient(6);
  dispatcher.attach(client);
  client.isFeatureEnabled('checkout_flow', 'user_1', US_PREMIUM);
  client.isFeatureEnabled('homepage_banner', 'user_1');
  client.getFeatureVariableString('checkout_flow', 'title', 'user_1', US_PREMIUM);
  client.activate('legacy_ab', 'user_1');
  client.activate('checkout_ab', 'user_1', US_PREMIUM);
  client.getVariation('checkout_ab', 'user_1'); // in no variation
  await dispatcher.flush();
  assert.deepEqual(
    viewed(amplitude).map(({ event_properties: p }) => [
      p.flag_key,
      p.variation_key,
      p.rule_key,
      p.enabled,
    ]),
    [
      ['checkout_flow', 'control', 'checkout_ab', false],
      ['homepage_banner', 'on', null, true],
      ['checkout_flow', 'control', 'checkout_ab', false],
      ['legacy_ab', 'a', 'legacy_ab', true],
      ['checkout_ab', 'control', 'checkout_ab', true],
      ['checkout_ab', null, 'checkout_ab', false],
    ],
  );
});

test('without consent decisions are counted, and never stored', async (t) => {
  const { amplitude, dispatcher, drops } = await start(t, { optOut: true });
  decide(dispatcher, 'user_1');
  assert.equal(dispatcher.stats().queue.bytes, 0);
  dispatcher.setOptOut(false);
  decide(dispatcher, 'user_1');
  dispatcher.setOptOut(true);
  decide(dispatcher, 'user_2');
  const report = await dispatcher.flush();
  assert.equal(report.delivered, 1);
  assert.deepEqual(
    viewed(amplitude).map((event) => event.user_id),
    ['user_1'],
  );
  const { opted_out } = dispatcher.stats().decisions.dropped;
  assert.equal(opted_out, 2);
  assert.deepEqual(
    drops.flatMap(({ reason, decisions }) => decisions.map(({ userId }) => [reason, userId])),
    [
      ['opted_out', 'user_1'],
      ['opted_out', 'user_2'],
    ],
  );
  assert.throws(() => dispatcher.setOptOut('yes'), { name: 'TypeError', code: 'ERR_OA_OPTION' });
  assertReconciles(dispatcher.stats());
});
