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
const { recordingLogger } = require('../support/dispatcher/loggers.js');
const { createNotification } = require('../support/optimizely/sdk.js');
const {
  EVENT_TYPE,
  ROWS,
  audit,
  flushAll,
  groupByUser,
  isWanted,
  labelOf,
  playRow,
  storedLabels,
} = require('../support/amplitude/matrix.js');

const LONG_MILLIS = 60_000; // longer than any of this takes
const PAUSE_MILLIS = 15_000; // of throttled users at /batch
const MOST_PROBED = 20; // decisions
/** How often a decision is sent when bad ones are listed one by one: each halving some times, and the last 16 together. */
const MOST_TIMES_LISTED = 24;
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
  await flushAll(row)(client);
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
    const properties = {};
    for (const event of store.events({ user: userId })) {
      Object.assign(properties, event.user_properties?.$set);
      if (event.event_type === EVENT_TYPE) {
        const { flag_key: flagKey, variation_key: variationKey, enabled } = event.event_properties;
        assert.equal(properties[propertyOf(flagKey)], valueOf({ enabled, variationKey }));
      }
    }
  }
}

/** Only decisions that Amplitude refuses are dropped or held, and onDrop gets each that is dropped. */
function assertDrops(row, decided, { dropped, stats }) {
  const refused = decided.filter(({ userId }) => !isWanted(row, userId));
  const nameOf = (userId, info) => `${userId} ${labelOf(info)}`;
  const refusedNames = refused.map(({ userId, decisionInfo }) => nameOf(userId, decisionInfo));
  const names = new Set(dropped.map((drop) => nameOf(drop.userId, drop)));
  assert.equal(names.size, dropped.length);
  assert.deepEqual(
    [...names].filter((name) => !refusedNames.includes(name)),
    [],
  );
  const held = refused.length - dropped.length;
  assert.ok(held === 0 || row.held);
  assert.ok(dropped.length === 0 || row.refused);
  for (const { reason, statusCode, message, insertId } of dropped) {
    assert.equal(reason, row.refused);
    assert.ok(statusCode >= 400 && message.startsWith(`${statusCode}: `), message);
    assert.match(insertId, /^[0-9a-f]{32}$/);
  }
  const { decisions } = stats();
  assert.equal(decisions.seen, decided.length);
  assert.equal(decisions.accepted, decided.length);
  assert.equal(decisions.delivered, decided.length - refused.length);
  assert.equal(decisions.dropped.total, dropped.length);
  assert.equal(decisions.dropped[row.refused] ?? 0, dropped.length);
  assert.equal(decisions.pending, held);
}

const viewedIn = ({ body }) => body.events.filter(({ event_type: type }) => type === EVENT_TYPE);

/** In an outage the beginning of the same request is sent again, with the same ids. */
function isProbed({ requests: [first, second] }) {
  const sent = viewedIn(second);
  assert.ok(sent.length <= MOST_PROBED && sent.length > 0);
  assert.deepEqual(sent, viewedIn(first).slice(0, sent.length));
}

/** What is held although it was refused is dropped with the next decision that is accepted. */
async function isDroppedInTheEnd({ requests }, client) {
  const { accepted } = client.stats().decisions;
  client.decide(createNotification('user_1', { variationKey: 'the last one' }));
  while (client.stats().decisions.pending > 0) {
    await client.flush({ timeoutMillis: 1000 });
  }
  assert.equal(client.dropped.length, accepted - client.stats().decisions.delivered + 1);
  assert.equal(new Set(client.dropped.map(({ reason }) => reason)).size, 1);
  assert.ok(requests.at(-1).status >= 400);
}

/** The checks of a single row. */
const CHECKS = {
  408: isProbed,
  503: isProbed,
  '429 without a list': isProbed,
  "403 with a firewall's page": isProbed,
  'reset after accepting': isProbed,
  '400 without a list': isDroppedInTheEnd,
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
  (row, lanes) =>
  async ({ amplitude, client, decided }) => {
    const { lost, duplicated, outOfOrder } = audit(row, decided, amplitude.store);
    assert.deepEqual({ lost, duplicated, outOfOrder }, { lost: 0, duplicated: 0, outOfOrder: 0 });
    assert.equal(client.stats().requests.failed === 0, row.harmless === true);
    assertProfiles(row, decided, amplitude.store);
    assertDrops(row, decided, client);
    const most = (row.most ?? Infinity) + lanes - 1;
    assert.ok(amplitude.requests.length <= most, amplitude.requests.length);
    if (lanes === 1) {
      await CHECKS[row.name]?.(amplitude, client);
    }
  };

function matrix() {
  const modes = [
    { mode: 'with an awaited flush', lanes: 1 },
    {
      mode: 'with the timer only',
      lanes: 1,
      options: { flushIntervalMillis: 20 },
      settleWith: settleByTimer,
    },
    ...[2, 4, 8].map((lanes) => ({
      mode: `with ${lanes} lanes`,
      options: { maxConcurrent: lanes },
      lanes,
    })),
  ];
  for (const row of ROWS) {
    for (const { mode, options, settleWith, lanes } of modes) {
      // How many requests a bisection takes depends on the lanes; test_lanes.c has it.
      if ((settleWith !== undefined && row.flushed) || (lanes > 1 && row.bisects)) {
        continue;
      }
      // Which lane has a user who is throttled is up to a hash.
      const played = row.pauses ? { ...row, times: lanes } : row;
      it(`${row.name}, ${mode}`, () =>
        playRow(played, connectRow(options), checkRow(row, lanes), settleWith?.(row)));
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
    // What was throttled comes in one request, and what joined it meanwhile in another.
    assert.deepEqual(
      tries.map(({ status }) => status),
      [429, 200, 200],
    );
    assert.equal(viewedIn(tries[1]).length, 2);
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

  it('a server that lists one of many bad events at a time gets each decision a few times, not once for each bad one', async (t) => {
    const { amplitude, decide, flush, dropped } = await start(t);
    const isBad = ({ event_properties: properties }) => properties?.variation_key === 'bad';
    amplitude.setFault((req, { events }) =>
      rejectEvents((event) => event === events.find(isBad))(req, { events }),
    );
    for (let user = 0; user < 900; user++) {
      const variationKey = user % 6 === 0 ? 'bad' : 'good';
      decide(createNotification(`user_${user}`, { variationKey }));
    }
    const report = await flush();
    assert.deepEqual([report.delivered, report.dropped, report.pending], [750, 150, 0]);
    assert.deepEqual([...new Set(dropped.map(({ reason }) => reason))], ['invalid_event']);
    const carried = amplitude.requests.reduce((sum, request) => sum + viewedIn(request).length, 0);
    assert.ok(carried < 900 * MOST_TIMES_LISTED, `${carried} events of 900 decisions`);
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

/** 500 to any request with a decision for this variation. */
const poisonedBy = (variationKey) => (req, exchange) =>
  exchange.events.some((event) => event.event_properties?.variation_key === variationKey)
    ? faults.status(500)(req, exchange)
    : undefined;

/** The requests that were answered, in order: the number of decisions, and whether they were poisoned and accepted. */
const attemptsOf = ({ requests }, variationKey) =>
  requests.map((request) => {
    const viewed = viewedIn(request);
    return {
      count: viewed.length,
      isBad: viewed.some((event) => event.event_properties.variation_key === variationKey),
      isAccepted: request.status === 200,
    };
  });

/** For each failure of the poisoned: its number of decisions, and whether others were accepted since the one before. */
function blamesOf(attempts) {
  let isAccepted = false;
  const failures = [];
  for (const attempt of attempts) {
    if (attempt.isBad) {
      failures.push({ count: attempt.count, isBlame: failures.length > 0 && isAccepted });
      isAccepted = false;
    }
    isAccepted ||= attempt.isAccepted;
  }
  return failures;
}

/** Decide for one new user after the other, until `isDone()`. */
async function decideUntil(isDone, { decide, flush }) {
  for (let user = 0; !isDone(); user++) {
    decide(createNotification(`visitor_${user}`));
    await flush({ timeoutMillis: 50 });
  }
}

function retries() {
  for (const count of [1, 20]) {
    it(`an outage drops nothing, however often it is met by ${count}`, async (t) => {
      const { amplitude, decide, flush, dropped, stats } = await start(t, { flushMaxRetries: 1 });
      amplitude.setFault('unavailable', 4);
      decideMany(decide, count, 1);
      const report = await flush();
      assert.deepEqual([report.delivered, report.dropped, report.pending], [count, 0, 0]);
      assert.deepEqual(
        amplitude.requests.map(({ status }) => status),
        [503, 503, 503, 503, ...Array(amplitude.requests.length - 4).fill(200)],
      );
      assert.equal(dropped.length, 0);
      const { requests, health, failuresInARow, failingSince } = stats();
      assert.equal(requests.failed, 4);
      assert.equal(requests.sent, amplitude.requests.length);
      assert.deepEqual([health, failuresInARow, failingSince], ['ok', 0, null]);
    });
  }

  it('a flush that ends in an outage tells what is pending, and stats() since when', async (t) => {
    const before = Date.now();
    const { decide, failed, flush, stats } = await start(t, {}, { faults: 'unavailable' });
    decideMany(decide, 10, 2);
    flush();
    await failed();
    const report = await flush({ timeoutMillis: 500 });
    assert.deepEqual([report.delivered, report.dropped, report.pending], [0, 0, 20]);
    const { health, failuresInARow, failingSince, oldestPendingMillis, requests } = stats();
    assert.equal(health, 'retrying');
    assert.equal(failuresInARow, requests.failed);
    assert.ok(failingSince >= before && failingSince <= Date.now());
    assert.ok(oldestPendingMillis >= 0 && oldestPendingMillis <= Date.now() - before);
  });

  for (const most of [1, 3]) {
    it(`${most}: so many failures while others are accepted, and then what is bad is dropped, alone`, async (t) => {
      const client = await start(t, { flushMaxRetries: most });
      const { amplitude, decide, dropped, stats } = client;
      amplitude.setFault(poisonedBy('bad'));
      decideMany(decide, 10, 2);
      decide(createNotification('user_5', { flagKey: 'flag_1', variationKey: 'bad' }));
      decideMany(decide, 10, 2, { variationKey: 'next' });
      await decideUntil(() => dropped.length > 0 && stats().decisions.pending === 0, client);

      assert.deepEqual(
        dropped.map(({ reason, statusCode, userId, variationKey }) => [
          reason,
          statusCode,
          userId,
          variationKey,
        ]),
        [['retries_exhausted', 500, 'user_5', 'bad']],
      );
      const { delivered, accepted } = stats().decisions;
      assert.equal(delivered, accepted - 1);
      // The user's decisions around it came in order.
      assert.deepEqual(
        storedLabels(amplitude.store, 'user_5').filter((label) => label.startsWith('flag_1=')),
        ['flag_1=one_page', 'flag_1=next'],
      );

      const failures = blamesOf(attemptsOf(amplitude, 'bad'));
      const blamesBefore = (end) => failures.slice(0, end).filter(({ isBlame }) => isBlame).length;
      assert.equal(failures.at(-1).count, 1);
      assert.ok(blamesBefore(failures.length) >= most);
      const alone = failures.findIndex(({ count }) => count === 1);
      assert.ok(failures.length - 1 === alone || blamesBefore(failures.length - 1) < most);
    });
  }

  it('a user whose decisions a firewall refuses loses them in the end, and nobody else does', async (t) => {
    const client = await start(t, { flushMaxRetries: 2 });
    const { amplitude, decide, dropped, stats } = client;
    amplitude.setFault((req, exchange) =>
      exchange.events.some((event) => event.user_id === 'user_5')
        ? faults.forbidden()(req, exchange)
        : undefined,
    );
    decideMany(decide, 50, 3);
    await decideUntil(() => stats().decisions.pending === 0, client);
    assert.deepEqual(
      dropped.map(({ reason, statusCode, userId, flagKey }) => [
        reason,
        statusCode,
        userId,
        flagKey,
      ]),
      ['flag_0', 'flag_1', 'flag_2'].map((flagKey) => [
        'retries_exhausted',
        403,
        'user_5',
        flagKey,
      ]),
    );
    const { accepted, delivered } = stats().decisions;
    assert.equal(delivered, accepted - 3);
    assert.equal(amplitude.store.user('user_5'), undefined);
    assert.equal(stats().health, 'ok');
  });

  it('a batch that is split is not blamed for an outage', async (t) => {
    const { amplitude, decide, flush, dropped } = await start(t, { flushMaxRetries: 1 });
    const split = faults.tooManyEvents(10);
    let failures = 0;
    amplitude.setFault(
      (req, exchange) =>
        split(req, exchange) ?? (failures++ < 3 ? faults.unavailable()(req, exchange) : undefined),
    );
    decideMany(decide, 16, 1);
    assert.equal((await flush()).delivered, 16);
    assert.equal(dropped.length, 0);
    assert.ok(carriedBy(amplitude.requests, 503).every((labels) => labels.length <= 5));
  });

  it('a decision that was dropped goes out again when it is decided again', async (t) => {
    const client = await start(t, { flushMaxRetries: 1 });
    const { amplitude, decide, dropped, flush } = client;
    amplitude.setFault(poisonedBy('bad'));
    const bad = createNotification('user_1', { variationKey: 'bad' });
    decide(bad);
    await decideUntil(() => dropped.length > 0, client);
    amplitude.setFault(null);
    decide(bad);
    assert.equal((await flush()).pending, 0);
    assert.deepEqual(storedLabels(amplitude.store, 'user_1'), ['checkout_flow=bad']);
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

function compression() {
  for (const status of [400, 415]) {
    it(`is given up for a server that answers ${status} to it, and costs no decision`, async (t) => {
      const logger = recordingLogger();
      const { amplitude, decide, flush } = await start(t, { logger });
      amplitude.setFault((req) =>
        req.headers['content-encoding'] === 'gzip'
          ? { status, body: { code: status, error: 'what is this?' } }
          : undefined,
      );
      for (const userId of ['user_1', 'user_2', 'user_3']) {
        decide(createNotification(userId));
        assert.equal((await flush()).delivered, 1);
      }
      assert.deepEqual(
        amplitude.requests.map(({ headers }) => headers['content-encoding']),
        ['gzip', undefined, undefined, undefined],
      );
      assert.equal(
        logger.lines.filter(({ message }) => /compressed requests/.test(message)).length,
        1,
      );
    });
  }
}

describe('whatever fails', CONCURRENT, () => {
  describe('one among many', CONCURRENT, oneAmongMany);
  describe('delivers', CONCURRENT, matrix);
  describe('profiles', CONCURRENT, profiles);
  describe('flushMaxRetries', CONCURRENT, retries);
  describe('maxQueueBytes', CONCURRENT, bounds);
  describe('compression', CONCURRENT, compression);
});
