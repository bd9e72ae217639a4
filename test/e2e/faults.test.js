'use strict';

/**
 * Nothing is lost, counted twice or out of order, whatever Amplitude answers, even if it does not answer.
 *
 * All tests here run at the same time, because they mostly wait: a few for the pause of 15 s of a throttled user.
 */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const { faults, startAmplitude } = require('../support/amplitude/server.js');
const { connect, connectRow } = require('../support/dispatcher/harness.js');
const { createNotification } = require('../support/optimizely/sdk.js');
const {
  EVENT_TYPE,
  ROWS,
  audit,
  groupByUser,
  isWanted,
  labelOf,
  playRow,
  storedLabels,
} = require('../support/amplitude/matrix.js');

const LONG_MILLIS = 60_000; // longer than any of this takes
const PAUSE_MILLIS = 15_000; // of throttled users at /batch
const PATIENT = { timeoutMillis: LONG_MILLIS };
const CONCURRENT = { concurrency: 1000, timeout: LONG_MILLIS };

/** Connect a client to a stand-in of its own; both end with the test. */
async function start(t, options, { path = '/2/httpapi', ...amplitudeOptions } = {}) {
  const amplitude = await startAmplitude(amplitudeOptions);
  const client = connect(amplitude.url + path, options);
  t.after(async () => {
    await client.close();
    await amplitude.close();
  });
  return { amplitude, ...client };
}

const countStored = (amplitude) => amplitude.store.events({ type: EVENT_TYPE }).length;
const valueOf = ({ enabled, variationKey }) => (enabled ? variationKey : 'off');
const propertyOf = (flagKey) => `[Optimizely] ${flagKey}`;

// ---- the matrix --------------------------------------------------------------------------------------

/** Wait without a flush until everything has arrived; then flush, so that the last answer is read. */
const settleByTimer = (row) => async (client, amplitude, decided) => {
  const wanted = decided.filter(({ userId }) => isWanted(row, userId)).length;
  await amplitude.waitFor(() => countStored(amplitude) >= wanted, PATIENT);
  await client.flush();
};

function assertProfiles(row, decided, store) {
  for (const [userId, infos] of groupByUser(decided)) {
    if (!isWanted(row, userId)) {
      assert.equal(store.user(userId), undefined);
      continue;
    }
    const last = Object.fromEntries(infos.map((info) => [propertyOf(info.flagKey), valueOf(info)]));
    assert.deepEqual(store.user(userId).user_properties, last, userId);
    // Each event had the properties of its own decision, not those of an earlier one.
    for (const {
      decisions,
      event_properties: { flag_key: flagKey, variation_key: variationKey, enabled },
    } of store.events({ user: userId, type: EVENT_TYPE })) {
      assert.equal(decisions[propertyOf(flagKey)], valueOf({ enabled, variationKey }));
    }
  }
}

/** Only decisions that Amplitude refuses are dropped, and onDrop gets each of them. */
function assertDrops(row, decided, { dropped, stats }) {
  const refused = decided.filter(({ userId }) => !isWanted(row, userId));
  const nameOf = (userId, info) => `${userId} ${labelOf(info)}`;
  assert.deepEqual(
    dropped.map((drop) => nameOf(drop.userId, drop)).sort(),
    refused.map(({ userId, decisionInfo }) => nameOf(userId, decisionInfo)).sort(),
  );
  for (const { reason, statusCode, message, insertId } of dropped) {
    assert.equal(reason, row.refused);
    assert.ok(statusCode >= 400 && message.startsWith(`${statusCode}: `), message);
    assert.match(insertId, /^[0-9a-f]{32}$/);
  }
  const { decisions } = stats();
  assert.equal(decisions.seen, decided.length);
  assert.equal(decisions.accepted, decided.length);
  assert.equal(decisions.delivered, decided.length - refused.length);
  assert.equal(decisions.dropped.total, refused.length);
  assert.equal(decisions.dropped[row.refused] ?? 0, refused.length);
  assert.equal(decisions.pending, 0);
}

/** In an outage the same request is sent again, not parts of it. */
const isRepeated = ({ requests: [first, second] }) => assert.deepEqual(second.body, first.body);

/** The checks of a single row. */
const CHECKS = {
  408: isRepeated,
  '429 without a list': isRepeated,
  "403 with a firewall's page": isRepeated,
  'reset after accepting': isRepeated,
  redirect: ({ requests }) =>
    assert.ok(
      requests.every(({ url }) => url === '/2/httpapi'),
      'it is not followed',
    ),
  '503, Retry-After in seconds': ({ requests: [first, second] }) =>
    assert.ok(second.receivedAt - first.receivedAt >= 1000),
  '503, Retry-After as a date': ({ requests: [first, second] }) =>
    assert.ok(second.receivedAt - first.receivedAt >= 1000),
  '200 with rubbish': ({ store }) =>
    assert.equal(store.stats().events.duplicates, 0, 'it is not sent again'),
  'connection closed after each answer': ({ requests }) =>
    assert.ok(new Set(requests.map(({ socketId }) => socketId)).size > 1),
};

const checkRow =
  (row) =>
  ({ amplitude, client, decided }) => {
    const { lost, duplicated, outOfOrder } = audit(row, decided, amplitude.store);
    assert.deepEqual({ lost, duplicated, outOfOrder }, { lost: 0, duplicated: 0, outOfOrder: 0 });
    assert.equal(client.stats().requests.failed === 0, row.harmless === true);
    assertProfiles(row, decided, amplitude.store);
    assertDrops(row, decided, client);
    CHECKS[row.name]?.(amplitude);
  };

function matrix() {
  const modes = [
    { mode: 'with an awaited flush' },
    {
      mode: 'with the timer only',
      options: { flushIntervalMillis: 20 },
      settleWith: settleByTimer,
    },
  ];
  for (const row of ROWS) {
    for (const { mode, options, settleWith } of modes) {
      it(`${row.name}, ${mode}`, () =>
        playRow(row, connectRow(options), checkRow(row), settleWith?.(row)));
    }
  }
}

// ---- more than a row -------------------------------------------------------------------------------

/** Decide `flagCount` flags for each of `userCount` users, user after user. */
function decideMany(decide, userCount, flagCount, decisionInfo) {
  for (let user = 0; user < userCount; user++) {
    for (let flag = 0; flag < flagCount; flag++) {
      decide(createNotification(`user_${user}`, { flagKey: `flag_${flag}`, ...decisionInfo }));
    }
  }
}

/** For each request that was answered with a status: the labels of its decisions. */
const carriedBy = (requests, status) =>
  requests
    .filter((request) => request.status === status)
    .map(({ body }) =>
      body.events
        .filter(({ event_type: type }) => type === EVENT_TYPE)
        .map((event) => `${event.user_id} ${labelOf(event.event_properties)}`),
    );

/** 400 that lists the bad events of any request with some. */
const rejectEvents =
  (isBad) =>
  (req, { events }) => {
    const indexes = [...events.keys()].filter((index) => isBad(events[index]));
    return indexes.length === 0
      ? undefined
      : {
          status: 400,
          body: {
            code: 400,
            error: 'Invalid field values on some events',
            events_with_invalid_fields: { event_properties: indexes },
          },
        };
  };

function oneAmongMany() {
  it('one throttled user of 1000 waits for its pause, and all others do not', async (t) => {
    const { amplitude, decide, flush, stats } = await start(t, {}, { path: '/batch' });
    amplitude.setFault(faults.throttledUsers('user_500'), 1);
    decideMany(decide, 1000, 2);
    const flushed = flush();
    await amplitude.waitFor(() => countStored(amplitude) === 999 * 2, PATIENT);
    assert.equal(amplitude.store.user('user_500'), undefined);

    // Its further decisions wait as well, behind the earlier ones; those of others are sent.
    for (const userId of ['user_500', 'user_1', 'user_500']) {
      decide(
        createNotification(userId, {
          flagKey: 'flag_0',
          variationKey: `late_${stats().decisions.seen}`,
        }),
      );
    }
    const lateFlushed = flush();
    await amplitude.waitFor(() => countStored(amplitude) === 999 * 2 + 1, PATIENT);
    assert.equal(amplitude.store.user('user_500'), undefined);
    assert.ok(stats().decisions.pending >= 4);

    const { delivered, dropped, pending } = await flushed;
    assert.deepEqual({ delivered, dropped, pending }, { delivered: 2000, dropped: 0, pending: 0 });
    assert.equal((await lateFlushed).pending, 0);
    assert.deepEqual(storedLabels(amplitude.store, 'user_500'), [
      'flag_0=one_page',
      'flag_1=one_page',
      'flag_0=late_2000',
      'flag_0=late_2002',
    ]);
    assert.equal(stats().decisions.delivered, 2003);
    const refused = amplitude.requests.find(({ status }) => status === 429);
    const tries = amplitude.requests.filter(({ body }) =>
      body.events.some((event) => event.user_id === 'user_500'),
    );
    assert.deepEqual(
      tries.map(({ status }) => status),
      [429, 200],
    );
    assert.ok(tries[1].receivedAt - refused.answeredAt >= PAUSE_MILLIS);
  });

  it('one refused event of 2000 is reported, and the other 1999 arrive', async (t) => {
    const { amplitude, decide, flush, dropped, stats } = await start(t);
    amplitude.setFault(
      rejectEvents(({ event_properties: properties }) => properties?.variation_key === 'bad'),
    );
    decideMany(decide, 500, 4);
    decide(createNotification('user_250', { flagKey: 'flag_2', variationKey: 'bad' }));
    decideMany(decide, 500, 4, { variationKey: 'next' });
    const report = await flush();
    assert.deepEqual([report.delivered, report.dropped, report.pending], [4000, 1, 0]);
    assert.equal(countStored(amplitude), 4000);
    assert.deepEqual(
      dropped.map(({ reason, userId, flagKey, variationKey }) => [
        reason,
        userId,
        flagKey,
        variationKey,
      ]),
      [['invalid_event', 'user_250', 'flag_2', 'bad']],
    );
    assert.deepEqual(
      storedLabels(amplitude.store, 'user_250').filter((label) => label.startsWith('flag_2=')),
      ['flag_2=one_page', 'flag_2=next'],
    );
    assert.equal(stats().decisions.dropped.invalid_event, 1);
  });

  it('a refused decision that shares a $identify with others costs none of them', async (t) => {
    const { amplitude, decide, flush, dropped } = await start(t);
    // The shared $identify is refused, too, because of the value that it sets.
    amplitude.setFault(rejectEvents((event) => JSON.stringify(event).includes('"bad"')));
    const variations = ['a', 'b', 'bad', 'c'];
    variations.forEach((variationKey, i) =>
      decide(createNotification('user_1', { flagKey: `flag_${i}`, variationKey })),
    );
    await flush();
    assert.deepEqual(
      dropped.map(({ flagKey }) => flagKey),
      ['flag_2'],
    );
    assert.deepEqual(storedLabels(amplitude.store, 'user_1'), ['flag_0=a', 'flag_1=b', 'flag_3=c']);
    assert.deepEqual(amplitude.store.user('user_1').user_properties, {
      '[Optimizely] flag_0': 'a',
      '[Optimizely] flag_1': 'b',
      '[Optimizely] flag_3': 'c',
    });
  });
}

function retries() {
  for (const attempts of [1, 3]) {
    it(`${attempts}: so many attempts, and then each decision is reported`, async (t) => {
      const { amplitude, decide, flush, dropped, stats } = await start(
        t,
        { flushMaxRetries: attempts },
        { faults: 'unavailable' },
      );
      decideMany(decide, 10, 2);
      const report = await flush();
      assert.deepEqual([report.delivered, report.dropped, report.pending], [0, 20, 0]);
      assert.deepEqual(
        amplitude.requests.map(({ status }) => status),
        Array(attempts).fill(503),
      );
      assert.equal(dropped.length, 20);
      assert.ok(
        dropped.every(
          ({ reason, statusCode }) => reason === 'retries_exhausted' && statusCode === 503,
        ),
      );
      const { decisions, requests } = stats();
      assert.equal(decisions.dropped.retries_exhausted, 20);
      assert.deepEqual(
        [requests.sent, requests.retried, requests.failed],
        [attempts, attempts - 1, attempts],
      );
    });
  }

  it('counts for each decision, whatever its batch was split into', async (t) => {
    const { amplitude, decide, flush, dropped } = await start(t, { flushMaxRetries: 2 });
    const split = faults.tooManyEvents(10);
    amplitude.setFault(
      (req, exchange) => split(req, exchange) ?? faults.unavailable()(req, exchange),
    );
    decideMany(decide, 16, 1);
    await flush();
    const attempts = carriedBy(amplitude.requests, 503).flat();
    assert.equal(dropped.length, 16);
    for (const drop of dropped) {
      assert.equal(drop.reason, 'retries_exhausted');
      assert.equal(
        attempts.filter((label) => label === `${drop.userId} ${labelOf(drop)}`).length,
        2,
      );
    }
  });

  it('a decision that was dropped goes out again when it is decided again', async (t) => {
    const { amplitude, decide, flush } = await start(t, { flushMaxRetries: 1 });
    amplitude.setFault('unavailable', 1);
    decideMany(decide, 1, 1);
    await flush();
    decideMany(decide, 1, 1);
    assert.equal((await flush()).delivered, 1);
    assert.equal(countStored(amplitude), 1);
  });
}

function bounds() {
  it('bounds what a dead server leaves queued; all that was queued arrives when it is back', async (t) => {
    const maxQueueBytes = 64 * 1024;
    const { amplitude, decide, failed, flush, dropped, stats } = await start(t, { maxQueueBytes });
    await amplitude.stop();
    decideMany(decide, 1000, 3);
    await failed();
    decideMany(decide, 1000, 3, { variationKey: 'later' });
    const { decisions, queue } = stats();
    assert.ok(decisions.dropped.queue_full > 0 && decisions.pending > 0);
    assert.equal(decisions.dropped.queue_full, 6000 - decisions.pending);
    assert.ok(queue.highWaterBytes <= maxQueueBytes && queue.bytes <= queue.highWaterBytes);

    await amplitude.start();
    const report = await flush();
    assert.deepEqual([report.delivered, report.dropped, report.pending], [decisions.pending, 0, 0]);
    const named = new Set(dropped.map((drop) => `${drop.reason} ${drop.userId} ${labelOf(drop)}`));
    assert.equal(named.size, decisions.dropped.queue_full);
    const stored = amplitude.store.events({ type: EVENT_TYPE });
    assert.equal(stored.length, decisions.pending);
    assert.ok(
      stored.every(
        (event) => !named.has(`queue_full ${event.user_id} ${labelOf(event.event_properties)}`),
      ),
    );
    assert.equal(stats().queue.bytes, 0);

    // There is room again.
    decideMany(decide, 10, 1, { variationKey: 'room' });
    assert.equal((await flush()).delivered, 10);
  });
}

function profiles() {
  it('are those of the last decision, also when a batch that arrived is taken apart and sent again', async (t) => {
    const { amplitude, decide, flush } = await start(t);
    const split = faults.tooManyEvents(2);
    amplitude.setFault([faults.resetAfterAccepting(), split, split, split]);
    // a and b share a $identify, c has its own; then each has its own, and c's might pass for a repeat.
    const values = { a: 'flag_0', b: 'flag_1', c: 'flag_0' };
    Object.entries(values).forEach(([variationKey, flagKey]) =>
      decide(createNotification('user_1', { flagKey, variationKey })),
    );
    await flush();
    assert.deepEqual(amplitude.store.user('user_1').user_properties, {
      '[Optimizely] flag_0': 'c',
      '[Optimizely] flag_1': 'b',
    });
    assert.deepEqual(storedLabels(amplitude.store, 'user_1'), ['flag_0=a', 'flag_1=b', 'flag_0=c']);
  });
}

describe('whatever fails', CONCURRENT, () => {
  describe('one among many', CONCURRENT, oneAmongMany);
  describe('delivers', CONCURRENT, matrix);
  describe('profiles', CONCURRENT, profiles);
  describe('flushMaxRetries', CONCURRENT, retries);
  describe('maxQueueBytes', CONCURRENT, bounds);
});
