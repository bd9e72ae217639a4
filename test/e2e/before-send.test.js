'use strict';

/** The option beforeSend: what it sees, what it may change, and that nothing gets past it. */

const assert = require('node:assert/strict');
const { createHash } = require('node:crypto');
const { describe, test } = require('node:test');

const { faults } = require('../support/amplitude/faults.js');
const { assertReconciles, start, storedEvents } = require('../support/dispatcher/harness.js');
const { createNotification } = require('../support/optimizely/sdk.js');

const DECISIONS = [
  { flagKey: 'checkout', variationKey: 'one "page"', ruleKey: 'ab', enabled: true },
  { flagKey: 'checkout', variationKey: 'control', ruleKey: 'ab', enabled: false },
  { flagKey: 'search', variationKey: null, ruleKey: null, enabled: false },
  { flagKey: 'Größe', variationKey: 'on', ruleKey: null, enabled: true },
];

/** Decide, flush, and return the events of all requests as they were sent. */
async function send(t, options, decisions = DECISIONS) {
  const { amplitude, dispatcher, logger } = await start(t, options);
  for (const decision of decisions) {
    dispatcher.onDecision(createNotification('user_12345', decision));
  }
  await dispatcher.flush();
  assertReconciles(dispatcher.stats());
  return {
    amplitude,
    dispatcher,
    logger,
    events: amplitude.requests.flatMap(({ body }) => body.events),
  };
}

/** What two runs have in common: not the time, and not a $identify's id, which covers the time. */
const comparable = ({ time, insert_id: id, ...event }) => {
  assert.ok(Number.isInteger(time));
  assert.match(id, /^[0-9a-f]{32}$/);
  return event.event_type === '$identify' ? event : { ...event, insert_id: id };
};

describe('beforeSend', () => {
  const OPTIONS = {
    groups: { org: 'Acme' },
    plan: { branch: 'main' },
    resolveUser: ({ userId }) => ({ userId, deviceId: 'device-1', sessionId: 7, country: 'CH' }),
    eventProperties: () => ({ price: 5, flag_key: 'mine' }),
    userProperties: () => ({ paying: true }),
  };
  const FORMATS = ['event', 'merged', 'exposure', 'identify', ['exposure', 'identify']];
  FORMATS.push(['event', 'exposure'], ['merged', 'exposure']);
  const byType = (a, b) => (a.event_type < b.event_type ? -1 : 1);
  for (const format of FORMATS) {
    for (const disabledValue of ['off', 'variation']) {
      test(`gets what would be sent without it: ${format}, ${disabledValue}`, async (t) => {
        // One decision a request, because one that is rendered apart shares no $identify.
        for (const decision of DECISIONS) {
          const options = { ...OPTIONS, format, disabledValue };
          if (format === 'exposure') {
            delete options.userProperties; // which that format refuses
          }
          const seen = [];
          const without = await send(t, options, [decision]);
          const withIt = await send(
            t,
            {
              ...options,
              beforeSend: (event) => {
                seen.push({ ...structuredClone(event), insert_id: undefined, event_id: undefined });
                return event;
              },
            },
            [decision],
          );
          assert.deepEqual(withIt.events.map(comparable), without.events.map(comparable));
          const sent = withIt.events.map((event) => ({
            ...event,
            insert_id: undefined,
            event_id: undefined,
          }));
          // With 'merged' the first one is that by which the property would be set again.
          const own = [format].flat().includes('merged') ? seen.slice(1) : seen;
          assert.deepEqual(own.sort(byType), sent.sort(byType));
        }
      });
    }
  }

  test('groups of the decision replace those of the option', async (t) => {
    const { events } = await send(t, {
      ...OPTIONS,
      resolveUser: ({ userId }) => ({ userId, groups: { team: 'a' } }),
      beforeSend: (event) => event,
    });
    for (const event of events) {
      assert.deepEqual(event.groups, { team: 'a' });
    }
  });

  test('redacts, and what is sent once goes by the redacted user', async (t) => {
    const hash = (id) => createHash('sha256').update(id).digest('hex');
    const { amplitude, dispatcher } = await start(t, {
      beforeSend: (event) => {
        event.user_id = hash(event.user_id.toLowerCase());
        delete event.event_properties?.rule_key;
        return { ...event, insert_id: 'mine', event_id: 9, ip: undefined };
      },
    });
    for (const userId of ['Ann-12345', 'ann-12345', 'ann-12345']) {
      dispatcher.onDecision(createNotification(userId, DECISIONS[0]));
    }
    await dispatcher.flush();
    const events = storedEvents(amplitude);
    assert.deepEqual(
      events.map(({ user_id }) => user_id),
      [hash('ann-12345'), hash('ann-12345')],
    );
    assert.ok(!JSON.stringify(amplitude.requests[0].body).includes('"ab"'));
    assert.ok(events.every(({ insert_id }) => /^[0-9a-f]{32}$/.test(insert_id)));
    assert.equal(dispatcher.stats().decisions.deduplicated, 2);
  });

  test('keeps out an event, or the whole decision', async (t) => {
    const one = await send(t, {
      beforeSend: (event) => (event.event_type === '$identify' ? null : event),
    });
    assert.deepEqual(
      one.events.map(({ event_type }) => event_type),
      DECISIONS.map(() => 'Experiment Viewed'),
    );
    assert.equal(one.dispatcher.stats().leftOut.events, DECISIONS.length);

    for (const format of ['event', 'merged', 'exposure']) {
      const none = await send(t, { format, beforeSend: () => null });
      assert.equal(none.events.length, 0);
      const { ignored, accepted } = none.dispatcher.stats().decisions;
      assert.deepEqual([ignored, accepted], [DECISIONS.length, 0]);
    }
    const merged = await send(t, {
      format: 'merged',
      beforeSend: (event) => (event.event_type === '$identify' ? event : null),
    });
    assert.equal(merged.events.length, 0);
    assert.equal(merged.dispatcher.stats().decisions.ignored, DECISIONS.length);
  });

  test('costs the decision when it does anything else: nothing is sent unredacted', async (t) => {
    const cycle = {};
    cycle.self = cycle;
    let deep = {};
    for (let i = 0; i < 50; i++) {
      deep = { deep };
    }
    const wrong = {
      'threw: no key': () => {
        throw new Error('no key');
      },
      'returned a promise': async (event) => event,
      'returned undefined': () => {},
      'returned string': () => 'event',
      'returned an array': (event) => [event],
      'event_type, user_id or device_id': (event) => ({ ...event, event_type: '' }),
      'event_type, user_id or device_id is': (event) => ({ ...event, user_id: 5 }),
      'more than 41 levels deep, or contains itself': (event) => ({ ...event, cycle }),
      'more than 41 levels deep': (event) => ({ ...event, deep }),
      'serialize a BigInt': (event) => ({ ...event, n: 5n }),
      'different users': (event) => ({ ...event, user_id: event.event_type }),
    };
    for (const [said, beforeSend] of Object.entries(wrong)) {
      const { events, dispatcher, logger } = await send(t, { beforeSend }, [DECISIONS[0]]);
      assert.equal(events.length, 0, said);
      assert.equal(dispatcher.stats().decisions.invalid, 1, said);
      assert.equal(logger.warnings.length, 1);
      assert.ok(
        logger.warnings[0].startsWith('a decision is not sent: beforeSend'),
        logger.warnings[0],
      );
      assert.ok(logger.warnings[0].includes(said), logger.warnings[0]);
    }
    // The second of two events counts as much as the first.
    let calls = 0;
    const { events } = await send(t, { beforeSend: (event) => (++calls === 2 ? 'x' : event) }, [
      DECISIONS[0],
    ]);
    assert.deepEqual([calls, events.length], [2, 0]);
  });

  test('is not called again for a retry, which sends the same', async (t) => {
    let calls = 0;
    const { amplitude, dispatcher } = await start(t, {
      beforeSend: (event) => ({ ...event, app_version: `${++calls}` }),
    });
    amplitude.setFault(faults.status(503), 1);
    dispatcher.onDecision(createNotification('user_12345', DECISIONS[0]));
    await dispatcher.flush();
    await dispatcher.flush();
    const sent = amplitude.requests.map(({ body }) => body.events);
    assert.ok(sent.length > 1);
    assert.equal(calls, 2);
    for (const events of sent) {
      assert.deepEqual(events, sent[0]);
    }
    assert.equal(dispatcher.stats().decisions.delivered, 1);
  });

  test('ids that Amplitude refuses are checked behind it', async (t) => {
    const { events, dispatcher } = await send(t, {
      beforeSend: (event) => ({ ...event, user_id: 'x', device_id: 'device-1' }),
    });
    assert.ok(events.length > 0 && events.every((event) => event.device_id === 'device-1'));
    assert.equal(dispatcher.stats().leftOut.ids, DECISIONS.length);
    const none = await send(t, { beforeSend: (event) => ({ ...event, user_id: null }) });
    assert.equal(none.dispatcher.stats().decisions.invalid, DECISIONS.length);
  });
});
