'use strict';

/**
 * The same decisions through this package, and through the usual listener that is pasted into a service with
 * Amplitude's own SDK: the same events arrive, field by field, with these exceptions.
 *
 * Deliberate differences, of an event:
 * - `insert_id` is a hash of the exposure instead of a random UUID, so that a second process, or a retry
 *   after a restart, sends the same one;
 * - `event_id` is a counter of the dispatcher's in both, which orders the events of a user in one millisecond; it is
 *   counted in other steps;
 * - `library` names this package;
 * - `time` is the moment of the decision in both, so it may differ by what a decision takes.
 * Of a request:
 * - decisions of one user in a row share one $identify, with the same values and in front of the same events;
 * - a repeated decision is not sent again within a window (unless `dedupe` is false);
 * - `client_upload_time` is not sent: it is for devices with a wrong clock;
 * - `options.min_id_length` is sent always, with Amplitude's own default.
 */

const assert = require('node:assert/strict');
const { after, afterEach, before, beforeEach, describe, it } = require('node:test');
const amplitudeSdk = require('@amplitude/analytics-node');
const { analyse } = require('../../lib/cli/collector/analysis.js');
const { summarize } = require('../../lib/cli/collector/summary.js');
const { version } = require('../../package.json');
const { startAmplitude } = require('../support/amplitude/server.js');
const { createDispatcher } = require('../support/dispatcher/harness.js');
const { US_PREMIUM, createClient, decideAllAs, decideAs } = require('../support/optimizely/sdk.js');

const DIFFERENT_FIELDS = ['insert_id', 'event_id', 'library', 'time'];
const TIME_TOLERANCE_MILLIS = 1000;

/** The pasted listener. Returns the function that flushes. */
function pasteListener(client, serverUrl) {
  const amplitude = amplitudeSdk.createInstance();
  // Its timer keeps the process alive for the interval, so the interval is short.
  const ready = amplitude.init('pasted-key', {
    serverUrl,
    flushIntervalMillis: 50,
    logLevel: amplitudeSdk.Types.LogLevel.None,
  }).promise;
  const pending = [];
  client.notificationCenter.addNotificationListener(
    'DECISION',
    ({ type, userId, decisionInfo }) => {
      if (type !== 'flag') {
        return;
      }
      const { flagKey, variationKey, ruleKey, enabled } = decisionInfo;
      const identify = new amplitudeSdk.Identify();
      identify.set(
        `[Optimizely] ${flagKey}`,
        enabled && variationKey !== null ? variationKey : 'off',
      );
      pending.push(
        amplitude.identify(identify, { user_id: userId }).promise,
        amplitude.track(
          'Experiment Viewed',
          {
            flag_key: flagKey,
            variation_key: variationKey,
            rule_key: ruleKey,
            enabled,
          },
          { user_id: userId },
        ).promise,
      );
    },
  );
  return async () => {
    await ready;
    // Its flush() does not wait for events that are still in its plugins; these promises do.
    for (const { code } of await Promise.all(pending)) {
      assert.equal(code, 200);
    }
  };
}

/** An event without the fields that differ on purpose. */
function comparable(event) {
  const rest = { ...event };
  for (const field of DIFFERENT_FIELDS) {
    delete rest[field];
  }
  return rest;
}

/** Split each $identify of several properties into one for each, in front of its event. */
function unshare(events) {
  const unshared = [];
  let shared = {};
  for (const event of events) {
    if (event.event_type === '$identify') {
      shared = { identify: event, names: Object.keys(event.user_properties.$set) };
      continue;
    }
    const name = shared.names.shift();
    unshared.push(
      {
        ...shared.identify,
        user_properties: { $set: { [name]: shared.identify.user_properties.$set[name] } },
      },
      event,
    );
  }
  assert.deepEqual(shared.names, [], 'each property has its event');
  return unshared;
}

describe('this package and the pasted listener', () => {
  let ours;
  let theirs;
  let client;
  let dispatcher;
  let flushTheirs;

  before(async () => {
    [ours, theirs] = await Promise.all([startAmplitude(), startAmplitude()]);
  });
  after(() => Promise.all([ours.close(), theirs.close()]));

  beforeEach(() => {
    ours.requests.length = 0;
    theirs.requests.length = 0;
    client = createClient();
    flushTheirs = pasteListener(client, theirs.httpapi);
  });
  afterEach(async () => {
    await dispatcher.close();
    await client.close();
  });

  /** Let both listen to the decisions of `decide`; return the events of each. */
  async function listen(decide, options) {
    dispatcher = createDispatcher({ apiKey: 'our-key', serverUrl: ours.httpapi, ...options });
    dispatcher.attach(client);
    decide();
    await Promise.all([dispatcher.flush(), flushTheirs()]);
    const sent = (amplitude) => amplitude.requests.flatMap(({ body }) => body.events);
    return { ours: sent(ours), theirs: sent(theirs) };
  }

  it('send the same events for single decisions, in the same order', async () => {
    const sent = await listen(() => {
      decideAs(client, 'user_1'); // off, control
      decideAs(client, 'user_9'); // on, one_page
      decideAs(client, 'user_11'); // a targeted delivery
      decideAs(client, 'user_2', { country: 'FR' }); // the delivery for everyone else
      decideAs(client, 'user_3', US_PREMIUM, 'search_ranking'); // no variation: nulls
      decideAs(client, 'user_0', US_PREMIUM, 'search_ranking', ['DISABLE_DECISION_EVENT']);
      decideAs(client, 'üser "with" \\ all\nsorts 😀');
      client.isFeatureEnabled('checkout_flow', 'user_1', US_PREMIUM); // not sent by either
    });
    assert.equal(sent.theirs.length, 14);
    assert.deepEqual(sent.ours.map(comparable), sent.theirs.map(comparable));
    sent.ours.forEach((event, i) => {
      assert.ok(Math.abs(event.time - sent.theirs[i].time) < TIME_TOLERANCE_MILLIS);
    });
  });

  it('differ in the listed fields, and in no other', async () => {
    const sent = await listen(() => decideAs(client, 'user_9'));
    const fields = (event) => Object.keys(event).sort();
    sent.ours.forEach((event, i) => {
      assert.deepEqual(fields(event), fields(sent.theirs[i]));
      assert.equal(event.library, `optimizely-amplitude/${version}`);
      assert.match(sent.theirs[i].library, /^amplitude-node-ts\//);
    });
    const [our, their] = [ours.requests[0], theirs.requests[0]];
    assert.deepEqual(
      Object.keys(our.body).sort(),
      Object.keys(their.body)
        .filter((name) => name !== 'client_upload_time')
        .sort(),
    );
    assert.deepEqual(our.body.options, { min_id_length: 5 });
    assert.equal(our.headers['content-type'], their.headers['content-type']);
  });

  it('decideAll: the same, when the shared $identify is taken apart', async () => {
    const sent = await listen(() => {
      for (let i = 0; i < 50; i++) {
        decideAllAs(client, `user_${i}`);
      }
    });
    assert.equal(sent.theirs.length, 50 * 3 * 2);
    assert.equal(sent.ours.length, 50 * (1 + 3));
    assert.deepEqual(unshare(sent.ours).map(comparable), sent.theirs.map(comparable));
  });

  it('repeats: the same with dedupe: false; otherwise each exposure once', async () => {
    const decide = () => {
      for (let i = 0; i < 60; i++) {
        decideAs(client, `user_${i % 20}`);
      }
    };
    const all = await listen(decide, { dedupe: false });
    assert.deepEqual(all.ours.map(comparable), all.theirs.map(comparable));
    await dispatcher.close();
    ours.requests.length = 0;
    theirs.requests.length = 0;

    const once = await listen(decide);
    const first = all.theirs.slice(0, 20 * 2).map(comparable);
    assert.deepEqual(once.ours.map(comparable), first);
    assert.equal(once.theirs.length, 60 * 2);
  });

  it('leave the same profiles', async () => {
    const ids = Array.from({ length: 100 }, (_, i) => `profile_${i}`);
    await listen(() => {
      for (const id of ids) {
        decideAllAs(client, id);
        decideAs(client, id, { country: 'FR' });
      }
    });
    for (const id of ids) {
      assert.deepEqual(ours.store.user(id).user_properties, theirs.store.user(id).user_properties);
    }
  });
});

describe('the formats', () => {
  const DAY_MILLIS = 24 * 60 * 60 * 1000;
  const FLAGS = ['checkout_flow', 'homepage_banner', 'search_ranking'];

  /** A story of decisions that change, and of checkouts and purchases; returns what the collector has then. */
  async function tell(t, options) {
    const amplitude = await startAmplitude();
    const client = createClient();
    const dispatcher = createDispatcher({
      apiKey: 'key',
      serverUrl: amplitude.httpapi,
      disabledValue: 'variation', // a $exposure always has the variation
      ...options,
    });
    t.after(async () => {
      await dispatcher.close();
      await client.close();
      await amplitude.close();
    });
    dispatcher.attach(client);
    let step = 0;
    const act = async (users, type) => {
      await dispatcher.flush();
      const time = Date.now() + ++step; // later than the decisions
      const events = users.map((id) => ({ event_type: type, user_id: id, time }));
      amplitude.store.ingest('key', events);
      while (Date.now() <= time) {
        // the next decisions come later
      }
    };
    const users = Array.from({ length: 120 }, (item, i) => `user_${i}`);
    const every = (n) => users.filter((id, i) => i % n === 0);
    users.forEach((id) => decideAs(client, id));
    every(2).forEach((id) => decideAllAs(client, id));
    await act(every(3), 'Checkout');
    every(5).forEach((id) => decideAs(client, id, { country: 'FR' }));
    await act(every(4), 'Checkout');
    every(10).forEach((id) => decideAllAs(client, id)); // back again
    await act(every(6), 'Purchase');
    return amplitude.store;
  }

  /** Without the users in no variation, whom Amplitude Experiment does not count; checkout_flow has one named off. */
  const withVariation = (charts) =>
    charts.map((rows, i) =>
      FLAGS[i] === 'checkout_flow' ? rows : rows.filter(({ variation }) => variation !== 'off'),
    );

  /** The charts of each flag, with an event of the format's as the first step. */
  const analyses = (store, viewed) =>
    FLAGS.map(
      (flag) =>
        analyse(store, {
          flag,
          steps: [viewed, 'Checkout', 'Purchase'],
          windowMillis: DAY_MILLIS,
          segment: 'Checkout',
          now: Date.now() + DAY_MILLIS / 2,
        }).rows,
    );

  it('give the same numbers in funnels, segments and counts', async (t) => {
    const [own, theirs] = ['Experiment Viewed', '[Experiment] Exposure'];
    const expected = analyses(await tell(t, { format: 'event' }), own);
    const [checkout, , search] = expected;
    assert.deepEqual(
      checkout.map(({ variation }) => variation),
      ['control', 'off', 'on', 'one_page'],
    );
    assert.ok(checkout.every(({ funnel }) => funnel.every((users) => users > 0)));
    assert.ok(
      search.some(({ variation, users }) => variation === 'off' && users > 0),
      'users in no variation',
    );
    for (const [format, viewed] of [
      ['merged', own],
      ['exposure', theirs],
      [['exposure', 'identify'], theirs],
      [['event', 'exposure'], own],
      [['event', 'exposure'], theirs],
      [['merged', 'exposure'], theirs],
    ]) {
      const store = await tell(t, { format });
      const select = viewed === theirs ? withVariation : (charts) => charts;
      assert.deepEqual(
        select(analyses(store, viewed)),
        select(expected),
        `${format}, by ${viewed}`,
      );
      assert.deepEqual(
        summarize(store).flags.map(({ flag, users }) => [flag, users]),
        [
          [FLAGS[0], 120],
          [FLAGS[1], 60],
          [FLAGS[2], 60],
        ],
      );
    }
  });

  it('set the same properties, or those of Amplitude Experiment', async (t) => {
    const profiles = async (format, prefix) => {
      const store = await tell(t, { format });
      return Array.from({ length: 120 }, (item, i) =>
        Object.fromEntries(
          Object.entries(store.user(`user_${i}`).user_properties)
            .filter(([name]) => name.startsWith(prefix))
            .map(([name, value]) => [name.slice(prefix.length), value]),
        ),
      );
    };
    const expected = await profiles('event', '[Optimizely] ');
    assert.deepEqual(await profiles('merged', '[Optimizely] '), expected);
    assert.deepEqual(await profiles('identify', '[Optimizely] '), expected);
    assert.deepEqual(await profiles(['exposure', 'identify'], '[Optimizely] '), expected);
    // Where a user is in no variation there is no property, in place of off.
    const withoutNull = expected.map(({ search_ranking: search, ...rest }) =>
      search === undefined || search === 'off' ? rest : { ...rest, search_ranking: search },
    );
    assert.notDeepEqual(withoutNull, expected);
    assert.deepEqual(await profiles('exposure', '[Experiment] '), withoutNull);
    assert.deepEqual(await profiles(['merged', 'exposure'], '[Experiment] '), withoutNull);
  });
});
