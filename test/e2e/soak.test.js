'use strict';

/**
 * A stream of decisions under a stream of faults: each decision that Amplitude accepts arrives once and in order, and
 * memory does not grow.
 *
 *   OA_SOAK_SECONDS=180 node --test test/e2e/soak.test.js   minutes instead of seconds
 *   OA_SOAK_SEED=7                                          other faults at other moments
 *   OA_SOAK_LANES=1                                         the option maxConcurrent
 */

const assert = require('node:assert/strict');
const { it } = require('node:test');
const { isDeepStrictEqual } = require('node:util');
const { createDispatcher } = require('../../lib/index.js');
const { faults, startAmplitude } = require('../support/amplitude/server.js');
const { quietLogger } = require('../support/dispatcher/loggers.js');
const { createNotification } = require('../support/optimizely/sdk.js');
const { seededRandom } = require('../support/util/random.js');

const SECONDS = Number(process.env.OA_SOAK_SECONDS ?? 4);
const SEED = Number(process.env.OA_SOAK_SEED ?? 1);
const MAX_CONCURRENT = Number(process.env.OA_SOAK_LANES ?? 4);
const USERS = Array.from({ length: 500 }, (_, i) => `user_${i}`);
const FLAGS = ['checkout_flow', 'homepage_banner', 'search_ranking'];
const BAD_USER = 'user_13'; // its decisions are always refused
const EXPECTED_DROPS = [`invalid_event ${BAD_USER}`, `quota_exceeded ${BAD_USER}`];
const FAULTS_OF_REQUESTS = 0.4;
const MAX_PENDING = 3000;
const MAX_USERS_AT_ONCE = 60;
const MAX_DECISIONS_IN_A_ROW = 6;
const REQUEST_TIMEOUT_MILLIS = 200;
const PAUSE_MILLIS = 15_000; // of throttled users at /batch
const THROTTLE_FROM_SECONDS = 60;
const MEMORY_FROM_SECONDS = 60;
const MEMORY_RATIO = 1.2;

/** Cut every connection, and listen again on the same port at once. */
const restart = (amplitude) => async () => {
  await amplitude.stop();
  await amplitude.start();
  return null;
};

/** Make a fault that changes at random with each request. The bad user is refused when no other fault is drawn. */
function createFaults(amplitude, random, withThrottling) {
  const pick = (list) => list[random(list.length)];
  const someUsers = () => new Set(Array.from({ length: 3 }, () => pick(USERS)));
  const always = [
    'unavailable',
    'badGatewayPage',
    'errorAfterAccepting',
    'requestTimeout',
    'rateLimited',
    'forbiddenPage',
    'resetBeforeReading',
    'resetBeforeAccepting',
    'resetAfterAccepting',
    'truncated',
    'truncatedChunked',
    'notHttp',
    'byteByByte',
    'interim',
    'closeAfterAnswer',
  ].map((name) => faults[name]);
  const makers = [
    ...always,
    () => faults.emptyBody(500),
    () => faults.wrongContentLength(10),
    () => faults.silence(),
    () => faults.accepted(faults.silence()),
    () => faults.accepted(faults.rubbish()),
    () => faults.tooManyBytes(1500 + random() * 20_000),
    () => faults.tooManyEvents(2 + random() * 200),
    () => restart(amplitude),
    ...(withThrottling ? [() => faults.throttledUsers(someUsers())] : []),
  ];
  const refusal = () =>
    pick([
      faults.rejectUsers(BAD_USER),
      faults.rejectUsers(BAD_USER, { list: 'first' }),
      faults.rejectUsers(BAD_USER, { list: 'none' }),
      faults.dailyQuotaUsers(BAD_USER),
    ]);
  const drawn = new Map();
  const draw = () => {
    if (random() >= FAULTS_OF_REQUESTS) {
      return refusal();
    }
    const maker = pick(makers);
    drawn.set(maker, (drawn.get(maker) ?? 0) + 1);
    return maker();
  };
  // A fault that acts before the body is read has to be known by then.
  let next = draw();
  const fault = (req, exchange) => {
    const current = next;
    next = draw();
    fault.beforeReading = next.beforeReading;
    return current(req, exchange);
  };
  return Object.assign(fault, { beforeReading: next.beforeReading, kinds: makers.length, drawn });
}

/** The decisions that have not arrived yet, and what went wrong. It keeps no history. */
class Ledger {
  decided = 0;
  dropped = 0;
  duplicated = 0;
  outOfOrder = 0;
  profilesChecked = 0;
  staleProfiles = 0;
  #unchecked = new Set();
  #users = new Map(
    USERS.map((userId) => [
      userId,
      { next: 0, latest: -1, missing: new Set(), last: {}, profile: {} },
    ]),
  );

  /** Make a decision that the user never had before. */
  decide(userId, flagKey) {
    const user = this.#users.get(userId);
    const variationKey = `v${user.next}`;
    user.missing.add(user.next++);
    user.last[`[Optimizely] ${flagKey}`] = variationKey;
    this.decided++;
    this.#unchecked.add(userId);
    return createNotification(userId, { flagKey, variationKey });
  }

  store({ user_id: userId, event_type: type, event_properties: properties, ...rest }) {
    const user = this.#users.get(userId);
    if (type === '$identify') {
      Object.assign(user.profile, rest.user_properties.$set); // the store forgets users with their events
      return;
    }
    const number = Number(properties.variation_key.slice(1));
    this.duplicated += user.missing.delete(number) ? 0 : 1;
    this.outOfOrder += number < user.latest ? 1 : 0;
    user.latest = Math.max(user.latest, number);
  }

  drop({ userId, variationKey }) {
    this.dropped++;
    this.#users.get(userId).missing.delete(Number(variationKey.slice(1)));
  }

  get missing() {
    return [...this.#users.values()].reduce((sum, { missing }) => sum + missing.size, 0);
  }

  /** Compare the changed profiles with the last decisions, when nothing is in flight. */
  checkProfiles() {
    for (const userId of this.#unchecked) {
      const { last, profile } = this.#users.get(userId);
      this.staleProfiles += userId !== BAD_USER && !isDeepStrictEqual(profile, last) ? 1 : 0;
    }
    this.profilesChecked += this.#unchecked.size;
    this.#unchecked.clear();
  }
}

function assertReconciled({
  decisions: { seen, ignored, invalid, deduplicated, accepted, delivered, dropped, pending },
}) {
  assert.equal(seen, ignored + invalid + deduplicated + accepted);
  assert.equal(accepted, delivered + dropped.total + pending);
}

it(`${SECONDS} s under random faults, seed ${SEED}, ${MAX_CONCURRENT} requests at a time`, async (t) => {
  const random = seededRandom(SEED);
  const amplitude = await startAmplitude({
    recordBodies: false,
    maxEvents: 1000,
    maxInsertIds: 200_000,
  });
  t.after(() => amplitude.close());
  const fault = createFaults(amplitude, random, SECONDS >= THROTTLE_FROM_SECONDS);
  const ledger = new Ledger();
  const reasons = new Set(); // the reasons of drops, each with its user
  const dispatcher = createDispatcher({
    apiKey: 'soak',
    serverUrl: amplitude.batch,
    requestTimeoutMillis: REQUEST_TIMEOUT_MILLIS,
    flushMaxRetries: 1000,
    maxConcurrent: MAX_CONCURRENT,
    logger: quietLogger,
    onDrop({ reason, decisions }) {
      for (const decision of decisions) {
        reasons.add(`${reason} ${decision.userId}`);
        ledger.drop(decision);
      }
    },
  });
  t.after(() => dispatcher.close({ timeoutMillis: 0 }));
  amplitude.store.on('event', (event) => ledger.store(event));
  amplitude.setFault(fault);

  const startedAt = performance.now();
  const elapsed = () => (performance.now() - startedAt) / 1000 / SECONDS;
  const peaks = [0, 0, 0, 0]; // of each quarter
  let catchingUp = false;
  while (elapsed() < 1) {
    const count = catchingUp ? 0 : Math.ceil(random() * MAX_USERS_AT_ONCE);
    for (let i = 0; i < count; i++) {
      const userId = USERS[Math.floor(random() ** 2 * USERS.length)]; // the first ones more often
      for (let left = Math.ceil(random() * MAX_DECISIONS_IN_A_ROW); left > 0; left--) {
        dispatcher.onDecision(ledger.decide(userId, FLAGS[random(FLAGS.length)]));
      }
    }
    // A flush ends a back-off, so that the faults come in quick succession.
    await dispatcher.flush({ timeoutMillis: random() * 100, abort: random() < 0.05 });
    const stats = dispatcher.stats();
    assertReconciled(stats);
    const { pending } = stats.decisions;
    catchingUp = pending > MAX_PENDING || (catchingUp && pending > 0);
    if (pending === 0) {
      ledger.checkProfiles();
    }
    amplitude.requests.length = 0;
    const quarter = Math.min(3, Math.floor(elapsed() * 4));
    peaks[quarter] = Math.max(peaks[quarter], process.memoryUsage.rss());
  }
  amplitude.setFault(faults.rejectUsers(BAD_USER));
  const report = await dispatcher.flush({ timeoutMillis: 2 * PAUSE_MILLIS });

  const { decisions, requests } = dispatcher.stats();
  assertReconciled({ decisions });
  t.diagnostic(
    `${decisions.accepted} decisions, ${requests.sent} requests, ${requests.failed} of them failed, ` +
      `${ledger.profilesChecked} profiles compared, ` +
      `${amplitude.store.stats().events.duplicates} events repeated; RSS ${peaks.map((peak) => Math.round(peak / 2 ** 20)).join(', ')} MB`,
  );
  assert.equal(report.pending, 0);
  assert.equal(decisions.accepted, ledger.decided);
  assert.equal(decisions.accepted, decisions.delivered + decisions.dropped.total);
  assert.equal(decisions.dropped.total, ledger.dropped);
  assert.deepEqual(
    [...reasons].filter((reason) => !EXPECTED_DROPS.includes(reason)),
    [],
  );
  assert.equal(ledger.missing, 0);
  ledger.checkProfiles();
  assert.ok(ledger.profilesChecked > 0);
  assert.deepEqual([ledger.duplicated, ledger.outOfOrder, ledger.staleProfiles], [0, 0, 0]);
  assert.equal(dispatcher.stats().queue.bytes, 0);
  if (SECONDS >= MEMORY_FROM_SECONDS) {
    assert.equal(fault.drawn.size, fault.kinds, 'every fault was drawn');
    assert.ok(
      peaks[3] <= peaks[2] * MEMORY_RATIO,
      `RSS of the last two quarters: ${peaks[2]} and ${peaks[3]}`,
    );
  }
});
