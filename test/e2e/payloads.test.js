'use strict';

/** The events in Amplitude for every kind of decision of the real Optimizely SDKs. */

const assert = require('node:assert/strict');
const { after, afterEach, before, beforeEach, describe, it } = require('node:test');
const { createDispatcher } = require('../../lib/index.js');
const { version } = require('../../package.json');
const { startAmplitude } = require('../support/amplitude/server.js');
const {
  DATAFILE,
  FLAGS,
  MAJORS,
  US_PREMIUM,
  createClient,
  decideAllAs,
  decideAs,
  requireSdk,
} = require('../support/optimizely/sdk.js');

const API_KEY = 'e2e-key';
const CONTROL = {
  flag_key: 'checkout_flow',
  variation_key: 'control',
  rule_key: 'checkout_ab',
  enabled: false,
};
const ONE_PAGE = {
  flag_key: 'checkout_flow',
  variation_key: 'one_page',
  rule_key: 'checkout_ab',
  enabled: true,
};
const BANNER = {
  flag_key: 'homepage_banner',
  variation_key: 'on',
  rule_key: 'default-rollout-banner',
  enabled: true,
};
const DELIVERED_OFF = {
  flag_key: 'checkout_flow',
  variation_key: 'off',
  rule_key: 'default-rollout-checkout',
  enabled: false,
};
const NO_SEARCH = {
  flag_key: 'search_ranking',
  variation_key: null,
  rule_key: null,
  enabled: false,
};

/** Whole events without the fields that differ in every run, which are checked here instead. */
function withoutTimeAndId(events) {
  let last = -1;
  return events.map(({ time, insert_id: insertId, event_id: eventId, ...rest }) => {
    assert.ok(Number.isInteger(time), `time: ${time}`);
    assert.ok(Number.isInteger(eventId) && eventId > last, `event_id: ${eventId} after ${last}`);
    last = eventId;
    assert.match(insertId, /^[0-9a-f]{32}$/);
    return rest;
  });
}

/** The expected events of one user's decisions in a row. */
function expected(userId, ...decisions) {
  const library = `optimizely-amplitude/${version}`;
  const $set = {};
  for (const { flag_key: flag, variation_key: variation, enabled } of decisions) {
    $set[`[Optimizely] ${flag}`] = enabled && variation !== null ? variation : 'off';
  }
  return [
    { event_type: '$identify', user_id: userId, library, user_properties: { $set } },
    ...decisions.map((properties) => ({
      event_type: 'Experiment Viewed',
      user_id: userId,
      library,
      event_properties: properties,
    })),
  ];
}

for (const major of MAJORS) {
  describe(`SDK v${major}`, () => {
    let amplitude;
    let client;
    let dispatcher;

    before(async () => {
      amplitude = await startAmplitude();
    });
    after(() => amplitude.close());

    beforeEach(async () => {
      amplitude.requests.length = 0;
      client = createClient(major);
      await client.onReady();
      dispatcher = createDispatcher({ apiKey: API_KEY, serverUrl: amplitude.httpapi });
      dispatcher.attach(client);
    });
    afterEach(async () => {
      await dispatcher.close();
      await client.close();
    });

    /** Flush, check every request, and return the sent events in order. */
    async function flushed() {
      const report = await dispatcher.flush();
      assert.equal(report.dropped + report.pending, 0);
      const sent = amplitude.requests.flatMap(({ body, headers, status }) => {
        assert.equal(status, 200);
        assert.equal(headers['content-type'], 'application/json');
        assert.equal(body.api_key, API_KEY);
        assert.deepEqual(body.options, { min_id_length: 5 });
        return body.events;
      });
      assert.equal(
        new Set(sent.map((event) => event.insert_id)).size,
        sent.length,
        'insert_ids are unique',
      );
      return sent;
    }

    /** Flush, and assert that exactly these events were sent. */
    async function assertSent(...events) {
      const sent = await flushed();
      assert.deepEqual(withoutTimeAndId(sent), events.flat());
      return sent;
    }

    it('decide: $identify, then Experiment Viewed, at the time of the decision', async () => {
      const earliest = Date.now();
      decideAs(client, 'user_9');
      const latest = Date.now();
      const [identify, viewed] = await assertSent(expected('user_9', ONE_PAGE));
      for (const { time } of [identify, viewed]) {
        assert.ok(time >= earliest && time <= latest);
      }
      const { user_properties: properties } = amplitude.store.user('user_9');
      assert.deepEqual(properties, { '[Optimizely] checkout_flow': 'one_page' });
    });

    it('decide: the control of an experiment has its flag off', async () => {
      decideAs(client, 'user_1');
      await assertSent(expected('user_1', CONTROL));
      assert.equal(
        amplitude.store.user('user_1').user_properties['[Optimizely] checkout_flow'],
        'off',
      );
    });

    it('decide: a targeted delivery, and the delivery to everyone else', async () => {
      decideAs(client, 'user_11');
      decideAs(client, 'user_2', { country: 'FR' });
      await assertSent(
        expected('user_11', {
          flag_key: 'checkout_flow',
          variation_key: 'on',
          rule_key: 'checkout_targeted_delivery',
          enabled: true,
        }),
        expected('user_2', DELIVERED_OFF),
      );
    });

    it('decide: a user who is in no variation: null stays null', async () => {
      decideAs(client, 'user_1', US_PREMIUM, 'search_ranking');
      await assertSent(expected('user_1', NO_SEARCH));
    });

    it('decide: a user who is forced by the datafile', async () => {
      decideAs(client, 'qa_user');
      await assertSent(expected('qa_user', ONE_PAGE));
    });

    it('decide: the options of decisions change nothing here', async () => {
      const options = [
        'DISABLE_DECISION_EVENT',
        'EXCLUDE_VARIABLES',
        'INCLUDE_REASONS',
        'IGNORE_USER_PROFILE_SERVICE',
      ];
      options.forEach((option, i) =>
        decideAs(client, `qa_user`, { ...US_PREMIUM, nothing: i }, FLAGS[i % 3], [option]),
      );
      const sent = withoutTimeAndId(await flushed());
      // The fourth repeats the flag of the first.
      assert.deepEqual(
        sent
          .filter((event) => event.event_type !== '$identify')
          .map((event) => event.event_properties.flag_key),
        FLAGS,
      );
      assert.deepEqual(sent[1].event_properties, ONE_PAGE);
      assert.equal(dispatcher.stats().decisions.deduplicated, 1);
    });

    it('decide: attributes are not sent', async () => {
      decideAs(client, 'user_9', {
        ...US_PREMIUM,
        $opt_bucketing_id: 'user_9',
        email: 'user@example.com',
      });
      await assertSent(expected('user_9', ONE_PAGE));
      assert.doesNotMatch(amplitude.requests[0].jsonBytes.toString(), /example\.com|opt_bucketing/);
    });

    it('decide: an unknown flag is no decision', async () => {
      decideAs(client, 'user_1', US_PREMIUM, 'nope');
      await assertSent();
      assert.equal(dispatcher.stats().decisions.seen, 0);
    });

    it('decideForKeys: one $identify for the flags', async () => {
      client
        .createUserContext('user_1', US_PREMIUM)
        .decideForKeys(['homepage_banner', 'checkout_flow']);
      await assertSent(expected('user_1', BANNER, CONTROL));
    });

    it('decideAll: one $identify with N values, then N Experiment Viewed', async () => {
      decideAllAs(client, 'user_1');
      await assertSent(expected('user_1', CONTROL, BANNER, NO_SEARCH));
      assert.equal(amplitude.requests.length, 1);
      assert.deepEqual(amplitude.store.user('user_1').user_properties, {
        '[Optimizely] checkout_flow': 'off',
        '[Optimizely] homepage_banner': 'on',
        '[Optimizely] search_ranking': 'off',
      });
    });

    it('decideAll: ENABLED_FLAGS_ONLY leaves flags out of the answer, not out of the decisions', async () => {
      const decisions = decideAllAs(client, 'user_2', { country: 'FR' }, ['ENABLED_FLAGS_ONLY']);
      assert.deepEqual(Object.keys(decisions), ['homepage_banner']);
      await assertSent(expected('user_2', DELIVERED_OFF, BANNER, NO_SEARCH));
    });

    it('several users: each has an $identify', async () => {
      decideAllAs(client, 'user_1');
      decideAllAs(client, 'user_2', { country: 'FR' });
      await assertSent(
        expected('user_1', CONTROL, BANNER, NO_SEARCH),
        expected('user_2', DELIVERED_OFF, BANNER, NO_SEARCH),
      );
    });

    it('a change arrives, and back again: the profile ends where the user is', async () => {
      const user = client.createUserContext('user_9', US_PREMIUM);
      for (const variationKey of ['one_page', 'control', 'one_page']) {
        user.setForcedDecision({ flagKey: 'checkout_flow' }, { variationKey });
        user.decide('checkout_flow');
        user.decide('checkout_flow');
      }
      const sent = withoutTimeAndId(await flushed()).filter(
        (event) => event.event_type !== '$identify',
      );
      assert.deepEqual(
        sent.map((event) => event.event_properties.variation_key),
        ['one_page', 'control', 'one_page'],
      );
      assert.equal(
        amplitude.store.user('user_9').user_properties['[Optimizely] checkout_flow'],
        'one_page',
      );
      assert.equal(dispatcher.stats().decisions.deduplicated, 3);
    });

    it('forced decisions: of a flag (without rule), and of a rule', async () => {
      const flag = client.createUserContext('user_19', {});
      flag.setForcedDecision({ flagKey: 'checkout_flow' }, { variationKey: 'one_page' });
      flag.decide('checkout_flow');
      const rule = client.createUserContext('user_20', {});
      rule.setForcedDecision(
        { flagKey: 'checkout_flow', ruleKey: 'checkout_ab' },
        { variationKey: 'control' },
      );
      rule.decide('checkout_flow');
      await assertSent(
        expected('user_19', { ...ONE_PAGE, rule_key: null }),
        expected('user_20', CONTROL),
      );
    });

    it('the older APIs are ignored, and counted', async () => {
      const calls = [
        () => client.isFeatureEnabled('checkout_flow', 'user_1', US_PREMIUM),
        () => client.isFeatureEnabled('homepage_banner', 'user_1'),
        () => client.getFeatureVariableString('checkout_flow', 'title', 'user_1', US_PREMIUM),
        () => client.getAllFeatureVariables('checkout_flow', 'user_1', US_PREMIUM),
        () => client.activate('legacy_ab', 'user_1', US_PREMIUM),
        () => client.activate('checkout_ab', 'user_1', US_PREMIUM),
        () => client.getVariation('legacy_ab', 'user_1'),
      ];
      calls.forEach((call) => call());
      client.getEnabledFeatures('user_1', US_PREMIUM); // one notification for each flag
      await assertSent();
      const { seen, ignored, accepted, invalid } = dispatcher.stats().decisions;
      assert.deepEqual(
        { seen, ignored, accepted, invalid },
        { seen: 10, ignored: 10, accepted: 0, invalid: 0 },
      );
      assert.equal(amplitude.requests.length, 0);
    });

    it('track() of Optimizely sends nothing', async () => {
      client.track('purchase', 'user_1', US_PREMIUM);
      await assertSent();
      assert.equal(dispatcher.stats().decisions.seen, 0);
    });

    it('stats: decisions and events add up', async () => {
      decideAllAs(client, 'user_1');
      decideAllAs(client, 'user_1');
      await flushed();
      const { decisions, requests, events } = dispatcher.stats();
      assert.deepEqual(
        [
          decisions.seen,
          decisions.deduplicated,
          decisions.accepted,
          decisions.delivered,
          decisions.pending,
          decisions.dropped.total,
        ],
        [6, 3, 3, 3, 0, 0],
      );
      assert.equal(requests.sent, 1);
      assert.equal(requests.bytes, amplitude.requests[0].rawBytes.length);
      assert.equal(events.sent, 4);
    });

    if (major >= 6) {
      it('decideAsync, decideForKeysAsync, decideAllAsync are sent likewise', async () => {
        const decideAllOf = (userId) => client.createUserContext(userId, US_PREMIUM);
        await decideAllOf('user_1').decideAsync('checkout_flow');
        await decideAllOf('user_9').decideForKeysAsync(['checkout_flow', 'homepage_banner']);
        await decideAllOf('user_3').decideAllAsync();
        await assertSent(
          expected('user_1', CONTROL),
          expected('user_9', ONE_PAGE, BANNER),
          expected('user_3', CONTROL, BANNER, NO_SEARCH),
        );
      });

      it('a holdout', async () => {
        const datafile = JSON.parse(DATAFILE);
        datafile.holdouts = [
          {
            id: '9500000001',
            key: 'global_holdout',
            status: 'Running',
            layerId: 'layer_9',
            audienceIds: [],
            includedFlags: [],
            excludedFlags: [],
            variations: [{ id: '9510000001', key: 'ho_off', featureEnabled: false, variables: [] }],
            trafficAllocation: [{ entityId: '9510000001', endOfRange: 10_000 }],
          },
        ];
        const other = createClient(major, JSON.stringify(datafile));
        dispatcher.attach(other);
        decideAs(other, 'user_9');
        await assertSent(
          expected('user_9', {
            flag_key: 'checkout_flow',
            variation_key: 'ho_off',
            rule_key: 'global_holdout',
            enabled: false,
          }),
        );
        await other.close();
      });
    }
  });
}

describe('what options change', () => {
  let amplitude;
  before(async () => {
    amplitude = await startAmplitude();
  });
  after(() => amplitude.close());

  async function sentWith(options, decide) {
    amplitude.requests.length = 0;
    const client = createClient();
    const dispatcher = createDispatcher({
      apiKey: API_KEY,
      serverUrl: amplitude.httpapi,
      ...options,
    });
    dispatcher.attach(client);
    decide(client);
    await dispatcher.close();
    await client.close();
    return amplitude.requests.flatMap(({ body }) => body.events);
  }

  it("disabledValue: 'variation' records the control by its name, and no variation as off", async () => {
    const [identify] = await sentWith({ disabledValue: 'variation' }, (client) =>
      decideAllAs(client, 'user_1'),
    );
    assert.deepEqual(identify.user_properties, {
      $set: {
        '[Optimizely] checkout_flow': 'control',
        '[Optimizely] homepage_banner': 'on',
        '[Optimizely] search_ranking': 'off',
      },
    });
  });

  it('eventType: false sends the user property alone; propertyPrefix names it', async () => {
    const sent = await sentWith({ eventType: false, propertyPrefix: 'flag: ' }, (client) =>
      decideAllAs(client, 'user_1'),
    );
    assert.deepEqual(
      sent.map((event) => event.event_type),
      ['$identify'],
    );
    assert.deepEqual(
      Object.keys(sent[0].user_properties.$set),
      FLAGS.map((flag) => `flag: ${flag}`),
    );
  });

  it("format: 'merged' sends one event that sets the property and those of the callbacks", async () => {
    const [event, ...others] = await sentWith(
      {
        format: 'merged',
        eventProperties: () => ({ price: 5, variation_key: 'mine' }),
        userProperties: () => ({ plan: 'pro', '[Optimizely] checkout_flow': 'mine' }),
      },
      (client) => decideAs(client, 'user_9'),
    );
    assert.deepEqual(others, []);
    assert.equal(event.event_type, 'Experiment Viewed');
    assert.deepEqual(event.event_properties, {
      flag_key: 'checkout_flow',
      variation_key: 'one_page',
      rule_key: 'checkout_ab',
      enabled: true,
      price: 5,
    });
    assert.deepEqual(event.user_properties, {
      '[Optimizely] checkout_flow': 'one_page',
      plan: 'pro',
    });
  });

  it("format: 'exposure' sends Amplitude's own, with the properties of the callback", async () => {
    const sent = await sentWith(
      {
        format: 'exposure',
        groups: { company: 'acme' },
        eventProperties: () => ({ price: 5, variant: 'mine', variation_key: 'kept' }),
      },
      (client) => {
        decideAs(client, 'user_1'); // control, whose flag is off
        decideAs(client, 'user_3', US_PREMIUM, 'search_ranking'); // no variation
      },
    );
    assert.deepEqual(
      sent.map(({ event_type: type, groups, user_properties: user }) => [type, groups, user]),
      Array(2).fill(['$exposure', { company: 'acme' }, undefined]),
    );
    assert.deepEqual(
      sent.map(({ event_properties: properties }) => properties),
      [
        {
          flag_key: 'checkout_flow',
          variant: 'control',
          experiment_key: 'checkout_ab',
          price: 5,
          variation_key: 'kept',
        },
        { flag_key: 'search_ranking', price: 5, variation_key: 'kept' },
      ],
    );
  });

  it('eventType names the event', async () => {
    const sent = await sentWith({ eventType: 'Gesehen: "é"' }, (client) =>
      decideAs(client, 'user_1'),
    );
    assert.equal(sent[1].event_type, 'Gesehen: "é"');
  });

  it('minIdLength is sent', async () => {
    await sentWith({ minIdLength: 1 }, (client) => decideAs(client, 'u'));
    assert.deepEqual(amplitude.requests[0].body.options, { min_id_length: 1 });
    assert.equal(amplitude.requests[0].body.events[0].user_id, 'u');
  });

  it('optOut drops everything, and setOptOut(false) ends that', async () => {
    const dropped = [];
    const sent = await sentWith({ optOut: true, onDrop: (drop) => dropped.push(drop) }, (client) =>
      decideAllAs(client, 'user_1'),
    );
    assert.deepEqual(sent, []);
    assert.ok(dropped.length > 0 && dropped.every((drop) => drop.reason === 'opted_out'));
  });

  it('a query in serverUrl arrives', async () => {
    await sentWith({ serverUrl: `${amplitude.httpapi}?a=b&c=%20` }, (client) =>
      decideAs(client, 'user_1'),
    );
    assert.equal(amplitude.requests[0].url, '/2/httpapi?a=b&c=%20');
  });

  it('the Batch API takes the same', async () => {
    const sent = await sentWith({ serverUrl: amplitude.batch }, (client) =>
      decideAllAs(client, 'user_1'),
    );
    assert.equal(amplitude.requests[0].url, '/batch');
    assert.equal(sent.length, 4);
  });

  it('compression sends the same in fewer bytes', async () => {
    const decide = (client) => {
      for (let i = 0; i < 100; i++) {
        decideAllAs(client, `user_${i}`);
      }
    };
    const plain = await sentWith({ compression: false, flushQueueSize: 2000 }, decide);
    const [{ rawBytes: plainBytes }] = amplitude.requests;
    const packed = await sentWith({ compression: true, flushQueueSize: 2000 }, decide);
    const [{ rawBytes: packedBytes, headers }] = amplitude.requests;
    assert.equal(headers['content-encoding'], 'gzip');
    assert.deepEqual(withoutTimeAndId(packed), withoutTimeAndId(plain));
    assert.ok(packedBytes.length * 4 < plainBytes.length);
  });
});

it('every SDK that is tested is the one it is said to be', () => {
  assert.deepEqual(
    MAJORS.map((major) => 'createStaticProjectConfigManager' in requireSdk(major)),
    [true, false, false],
  );
});
