'use strict';

/**
 * The fault matrix: a row for each way in which Amplitude, or the network, can fail; the traffic that meets the fault;
 * and the count of what went wrong. It works with any client: the tests play it for this package, and the benchmark
 * for Amplitude's own SDK as well.
 *
 * A row has
 * - `name`;
 * - `fault()`, which makes the fault, and `times`, the number of requests that meet it (default: 2), and more if it
 *   `lasts` for some milliseconds; or `stopped`: the port is closed;
 * - `most`: the number of requests that a client makes at most, if it deals with the fault well;
 * - `refused`: the reason for which the decisions of BAD_USERS are dropped, for faults that refuse them;
 * - `held`: the decisions of BAD_USERS stay pending instead, until others are accepted, or longer;
 * - `flushed`: it ends only with a flush, or after minutes;
 * - `pauses`: the users that are throttled have to wait for 15 s;
 * - `devices`: the users are devices;
 * - `bisects`: it ends with a number of requests, which a bisection takes;
 * - `requestTimeoutMillis`: for faults that end with the timeout;
 * - `harmless`: the answer can be used as it is.
 */

const assert = require('node:assert/strict');

const { faults, startAmplitude } = require('./server.js');
const { createNotification } = require('../optimizely/sdk.js');

const EVENT_TYPE = 'Experiment Viewed';
const USER_COUNT = 60;
const FLAGS = ['checkout_flow', 'homepage_banner', 'search_ranking'];
const ROUNDS = 8;
const SHORT_TIMEOUT_MILLIS = 300;
const PATIENCE_MILLIS = 60_000;
const OUTAGE_MILLIS = 2000;
const HELD_FLUSH_MILLIS = 1000;
/** Some ten to find out, one for each wait, and those that deliver everything. */
const MOST_REQUESTS = 40;

const users = Array.from({ length: USER_COUNT }, (_, i) => `user_${i}`);
const BAD_USERS = Object.freeze(['user_7', 'user_11', 'user_40']);

/** A fault that is met by any request with events of these users, which it does not name. */
const onlyFor = (users, fault) => (req, exchange) =>
  exchange.events.some((event) => users.includes(event.user_id)) ? fault(req, exchange) : undefined;

/** A fault that ends so many milliseconds after the first request that meets it, and after so many requests. */
function lasting(fault, millis, times) {
  let endsAt;
  let met = 0;
  return (req, exchange) => {
    endsAt ??= performance.now() + millis;
    return met++ < times || performance.now() < endsAt ? fault(req, exchange) : undefined;
  };
}

/** An outage as it is met in the field: it lasts, and the client must not hammer. */
const outage = (name, fault, more) => ({
  name,
  fault,
  lasts: OUTAGE_MILLIS,
  most: MOST_REQUESTS,
  ...more,
});

/** 429 that lists only the last of the throttled events. */
const throttledLastEvent = (users) => (req, exchange) => {
  const answer = faults.throttledEvents(users)(req, exchange);
  return (
    answer && {
      ...answer,
      body: { ...answer.body, throttled_events: answer.body.throttled_events.slice(-1) },
    }
  );
};

/** 200 with an error in JSON, which stands for another status. */
const codeInside = (code) => faults.answer({ status: 200, body: { code, error: 'It failed' } });

/** 503 that asks for a second attempt in 1 to 2 s: HTTP dates are whole seconds. */
const retryAtDate = () => (req, exchange) =>
  faults.retryAfter(new Date(Date.now() + 2000))(req, exchange);

const ROWS = [
  { name: '503', fault: () => faults.unavailable() },
  { name: '502 with an HTML page', fault: () => faults.badGatewayPage() },
  { name: '500 after accepting', fault: () => faults.errorAfterAccepting() },
  { name: '408', fault: () => faults.requestTimeout() },
  { name: '503, Retry-After in seconds', fault: () => faults.retryAfter(1), times: 1 },
  { name: '503, Retry-After as a date', fault: retryAtDate, times: 1 },
  {
    name: '429 for some users',
    fault: () => faults.throttledUsers(BAD_USERS),
    times: 1,
    pauses: true,
  },
  {
    name: '429 for some devices',
    fault: () => faults.throttledDevices(BAD_USERS),
    times: 1,
    pauses: true,
    devices: true,
  },
  {
    name: '429 that lists events only',
    fault: () => faults.throttledEvents(BAD_USERS),
    times: 1,
    pauses: true,
  },
  {
    name: '429 that lists one event of a user',
    fault: () => throttledLastEvent(BAD_USERS),
    times: 1,
    pauses: true,
  },
  { name: '429 without a list', fault: () => faults.rateLimited() },
  {
    name: '429 for the daily quota',
    fault: () => faults.dailyQuotaUsers(BAD_USERS),
    times: Infinity,
    refused: 'quota_exceeded',
  },
  { name: '413 by bytes', fault: () => faults.tooManyBytes(8000), times: Infinity },
  { name: '413 by events', fault: () => faults.tooManyEvents(50), times: Infinity },
  {
    name: '400 that lists the bad events',
    fault: () => faults.rejectUsers(BAD_USERS),
    times: Infinity,
    refused: 'invalid_event',
  },
  {
    name: '400 that lists the first bad event',
    fault: () => faults.rejectUsers(BAD_USERS, { list: 'first' }),
    times: Infinity,
    refused: 'invalid_event',
    most: 120,
  },
  {
    name: '400 without a list',
    fault: () => faults.rejectUsers(BAD_USERS, { list: 'none' }),
    times: Infinity,
    refused: 'invalid_event',
    held: true,
    most: 300,
  },
  {
    name: "403 in JSON for some users' events",
    fault: () => onlyFor(BAD_USERS, faults.forbidden()),
    times: Infinity,
    held: true,
    most: 80,
  },
  {
    name: "500 for some users' events",
    fault: () => onlyFor(BAD_USERS, faults.status(500)),
    times: Infinity,
    held: true,
    most: 80,
  },
  { name: "403 with a firewall's page", fault: () => faults.forbiddenPage() },
  { name: '404', fault: () => faults.notFound() },
  ...[401, 403, 404, 405, 410, 415].map((code) =>
    outage(`${code} in JSON for everything, for a while`, () => faults.status(code)),
  ),
  // If it ended before it is known for an outage, sizes would begin at that of one decision, and grow.
  outage('413 for everything, for a while', () => faults.tooManyEvents(0), {
    times: 14,
    bisects: true,
  }),
  outage('400 for everything, for a while', () => faults.status(400)),
  outage('503 for everything, for a while', () => faults.unavailable()),
  outage("200 with a captive portal's page, for a while", () => faults.htmlPage()),
  outage('200 with "code":400 in it, for a while', () => codeInside(400)),
  outage('200 with "code":500 in it, for a while', () => codeInside(500)),
  {
    name: 'wrong API key, fixed later',
    fault: () => faults.invalidApiKey(),
    times: 1,
    flushed: true,
    most: 10,
  },
  { name: 'redirect', fault: () => faults.redirect('/elsewhere') },
  { name: 'connection refused, then a restart', stopped: true },
  { name: 'reset before reading', fault: () => faults.resetBeforeReading() },
  { name: 'reset before accepting', fault: () => faults.resetBeforeAccepting() },
  { name: 'reset after accepting', fault: () => faults.resetAfterAccepting() },
  { name: 'answer cut short', fault: () => faults.truncated() },
  { name: 'chunked answer cut short', fault: () => faults.truncatedChunked() },
  { name: 'Content-Length too small', fault: () => faults.wrongContentLength(-10), harmless: true },
  {
    name: 'Content-Length too large',
    fault: () => faults.wrongContentLength(10),
    requestTimeoutMillis: SHORT_TIMEOUT_MILLIS,
  },
  { name: 'Content-Length that is not a number', fault: () => faults.wrongContentLength('many') },
  { name: 'no HTTP', fault: () => faults.notHttp() },
  { name: '500 with an empty body', fault: () => faults.emptyBody(500) },
  {
    name: '200 with an empty body',
    fault: () => faults.accepted(faults.emptyBody()),
    harmless: true,
  },
  { name: '200 with rubbish', fault: () => faults.accepted(faults.rubbish()), harmless: true },
  { name: '200 with an HTML page', fault: () => faults.accepted(faults.htmlPage()) },
  {
    name: 'silence until the timeout',
    fault: () => faults.silence(),
    requestTimeoutMillis: SHORT_TIMEOUT_MILLIS,
  },
  {
    name: 'silence after accepting',
    fault: () => faults.accepted(faults.silence()),
    requestTimeoutMillis: SHORT_TIMEOUT_MILLIS,
  },
  {
    name: 'one byte at a time',
    fault: () => faults.byteByByte(),
    requestTimeoutMillis: PATIENCE_MILLIS, // a turn of the loop for each
    harmless: true,
  },
  { name: '1xx before the answer', fault: () => faults.interim(), harmless: true },
  {
    name: 'connection closed after each answer',
    fault: () => faults.closeAfterAnswer(),
    times: Infinity,
    harmless: true,
  },
];

/**
 * Make decisions whose order matters: each has a value that its flag never had before. In every other round all flags
 * of a user are decided, in the others one of them.
 */
function createTraffic() {
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, userId] of users.entries()) {
      const flags = round % 2 === 0 ? FLAGS : [FLAGS[(round + i) % FLAGS.length]];
      for (const flagKey of flags) {
        rounds.push(
          createNotification(userId, {
            flagKey,
            variationKey: `v${round}`,
            enabled: (round + i) % 5 > 0,
          }),
        );
      }
    }
  }
  return rounds;
}

/** Group decisions by user, in order. */
function groupByUser(decided) {
  const byUser = new Map(users.map((userId) => [userId, []]));
  for (const notification of decided) {
    byUser.get(notification.userId).push(notification.decisionInfo);
  }
  return byUser;
}

/** The label of a decision, unique for its user, from a notification's decisionInfo or an event's properties. */
const labelOf = ({
  flagKey,
  flag_key: flag = flagKey,
  variationKey,
  variation_key: variation = variationKey,
}) => `${flag}=${variation}`;

/** Labels of a user's decisions, in the order in which the stand-in stored them. */
const storedLabels = (store, user) =>
  store.events({ user, type: EVENT_TYPE }).map((event) => labelOf(event.event_properties));

/** Whether the decisions of a user have to arrive in the end. */
const isWanted = ({ refused, held }, userId) => !((refused || held) && BAD_USERS.includes(userId));

/** Compare the decisions that have to arrive with those that are stored. */
function audit(row, decided, store) {
  const result = { decisions: 0, lost: 0, duplicated: 0, outOfOrder: 0 };
  for (const [userId, infos] of groupByUser(decided)) {
    if (!isWanted(row, userId)) {
      continue;
    }
    const positions = new Map(infos.map((info, position) => [labelOf(info), position]));
    const stored = storedLabels(store, userId);
    const distinct = new Set(stored);
    result.decisions += infos.length;
    result.lost += [...positions.keys()].filter((label) => !distinct.has(label)).length;
    result.duplicated += stored.length - distinct.size;
    let latest = -1;
    for (const label of distinct) {
      result.outOfOrder += positions.get(label) < latest ? 1 : 0;
      latest = Math.max(latest, positions.get(label));
    }
  }
  return result;
}

/** Flush until nothing is pending but what the row holds. */
const flushAll = (row) => async (client) => {
  if (!row.held || client.stats === undefined) {
    return client.flush();
  }
  const held = createTraffic().filter(({ userId }) => !isWanted(row, userId)).length;
  do {
    await client.flush({ timeoutMillis: HELD_FLUSH_MILLIS });
  } while (client.stats().decisions.pending > held);
};

/**
 * Play a row: half of the traffic meets the fault, and the other half follows while the first half is in flight.
 *
 * `connect(serverUrl, row)` resolves to a client `{decide(notification), flush(options), failed(), stats(), close()}`,
 * where failed() resolves when a request has failed; it and stats() are optional.
 * `settle(client, amplitude, decided)` waits for the decisions, with client.flush() unless told otherwise.
 * Resolves to what `look({amplitude, client, decided})` returns at the end, before both are closed.
 */
async function playRow(row, connect, look, settle = flushAll(row)) {
  const amplitude = await startAmplitude();
  const client = await connect(row.pauses ? amplitude.batch : amplitude.httpapi, row);
  try {
    const decided = createTraffic();
    const half = decided.length / 2;
    if (row.stopped) {
      await amplitude.stop();
    } else {
      const { times = 2, lasts } = row;
      if (lasts === undefined) {
        amplitude.setFault(row.fault(), times);
      } else {
        amplitude.setFault(lasting(row.fault(), lasts, times));
      }
    }
    decided.slice(0, half).forEach(client.decide);
    const settled = settle(client, amplitude, decided.slice(0, half));
    const met = row.stopped
      ? client.failed?.()
      : amplitude.waitFor(({ requests }) => requests.length > 0, {
          timeoutMillis: PATIENCE_MILLIS,
        });
    await Promise.race([met ?? settled, settled]);
    if (row.stopped) {
      await amplitude.start();
    }
    decided.slice(half).forEach(client.decide);
    await settled;
    await settle(client, amplitude, decided);
    return await look({ amplitude, client, decided });
  } finally {
    await client.close();
    await amplitude.close();
  }
}

/** Make a `look` for playRow() that asserts what a row promises of a client with stats(). */
const checkPlayed =
  (row) =>
  async ({ amplitude, client, decided }) => {
    const { lost, duplicated, outOfOrder } = audit(row, decided, amplitude.store);
    assert.deepEqual({ lost, duplicated, outOfOrder }, { lost: 0, duplicated: 0, outOfOrder: 0 });
    const { decisions } = client.stats();
    assert.equal(decisions.seen, decided.length);
    assert.equal(
      decisions.accepted,
      decisions.delivered + decisions.pending + decisions.dropped.total,
    );
    const refused = row.refused === undefined ? 0 : decisions.dropped[row.refused];
    assert.equal(decisions.dropped.total, refused, 'nothing is dropped but what is refused');
    if (row.most !== undefined) {
      assert.ok(amplitude.requests.length <= row.most, `${amplitude.requests.length} requests`);
    }
  };

module.exports = {
  EVENT_TYPE,
  ROWS,
  audit,
  checkPlayed,
  flushAll,
  groupByUser,
  isWanted,
  labelOf,
  playRow,
  storedLabels,
};
