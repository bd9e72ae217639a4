'use strict';

/**
 * The fault matrix: a row for each way in which Amplitude, or the network, can fail; the traffic that meets the fault;
 * and the count of what went wrong. It works with any client: the tests play it for this package, and the benchmark
 * for Amplitude's own SDK as well.
 *
 * A row has
 * - `name`;
 * - `fault()`, which makes the fault, and `times`, the number of requests that meet it (default: 2); or
 *   `stopped`: the port is closed;
 * - `refused`: the reason for which the decisions of BAD_USERS are never accepted, for faults that refuse them;
 * - `pauses`: the users that are throttled have to wait for 15 s;
 * - `devices`: the users are devices;
 * - `requestTimeoutMillis`: for faults that end with the timeout;
 * - `harmless`: the answer can be used as it is.
 */

const { faults, startAmplitude } = require('./server.js');
const { createNotification } = require('../optimizely/sdk.js');

const EVENT_TYPE = 'Experiment Viewed';
const USER_COUNT = 60;
const FLAGS = ['checkout_flow', 'homepage_banner', 'search_ranking'];
const ROUNDS = 8;
const SHORT_TIMEOUT_MILLIS = 300;
const PATIENCE_MILLIS = 60_000;

const users = Array.from({ length: USER_COUNT }, (_, i) => `user_${i}`);
const BAD_USERS = Object.freeze(['user_7', 'user_11', 'user_40']);

/** 403 in JSON to any request with events of these users, which it does not name. */
const forbiddenFor = (bad) => (req, exchange) =>
  exchange.events.some((event) => bad.includes(event.user_id))
    ? faults.forbidden()(req, exchange)
    : undefined;

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
  },
  {
    name: '400 without a list',
    fault: () => faults.rejectUsers(BAD_USERS, { list: 'none' }),
    times: Infinity,
    refused: 'invalid_event',
  },
  {
    name: '403 for some events, without a list',
    fault: () => forbiddenFor(BAD_USERS),
    times: Infinity,
    refused: 'invalid_event',
  },
  { name: "403 with a firewall's page", fault: () => faults.forbiddenPage() },
  { name: '404', fault: () => faults.notFound() },
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
  {
    name: '200 with an HTML page',
    fault: () => faults.accepted(faults.htmlPage()),
    harmless: true,
  },
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
  { name: 'one byte at a time', fault: () => faults.byteByByte(), harmless: true },
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
const isWanted = (row, userId) => !(row.refused && BAD_USERS.includes(userId));

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

/**
 * Play a row: half of the traffic meets the fault, and the other half follows while the first half is in flight.
 *
 * `connect(serverUrl, row)` resolves to a client `{decide(notification), flush(), failed(), close()}`,
 * where failed() resolves when a request has failed; it is optional.
 * `settle(client, amplitude, decided)` waits for the decisions, with client.flush() unless told otherwise.
 * Resolves to what `look({amplitude, client, decided})` returns at the end, before both are closed.
 */
async function playRow(row, connect, look, settle = (client) => client.flush()) {
  const amplitude = await startAmplitude();
  const client = await connect(row.pauses ? amplitude.batch : amplitude.httpapi, row);
  try {
    const decided = createTraffic();
    const half = decided.length / 2;
    if (row.stopped) {
      await amplitude.stop();
    } else {
      amplitude.setFault(row.fault(), row.times ?? 2);
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

module.exports = { EVENT_TYPE, ROWS, audit, groupByUser, isWanted, labelOf, playRow, storedLabels };
