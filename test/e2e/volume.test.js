'use strict';

/** Many decisions arrive exactly once and in order; the reports of flush() and close(); and no dispatcher keeps a process alive. */

const assert = require('node:assert/strict');
const path = require('node:path');
const { afterEach, beforeEach, describe, it } = require('node:test');
const { createDispatcher } = require('../../lib/index.js');
const { faults, startAmplitude } = require('../support/amplitude/server.js');
const { assertReconciles } = require('../support/dispatcher/harness.js');
const { quietLogger } = require('../support/dispatcher/loggers.js');
const { createClient, createNotification, decideAs } = require('../support/optimizely/sdk.js');
const { runChild } = require('../support/process/child.js');

const ROOT = path.join(__dirname, '../..');
const MANY = 100_000;
/** Longer than any test may take, so that a test fails if anything waits for it. */
const FOREVER_MILLIS = 3_600_000;
const ZERO = { delivered: 0, dropped: 0, pending: 0 };

/** A report without its duration, which is checked here instead. */
function counts({ durationMillis, ...rest }) {
  assert.ok(
    durationMillis >= 0 && durationMillis < FOREVER_MILLIS,
    `durationMillis: ${durationMillis}`,
  );
  return rest;
}

describe('many decisions', () => {
  const running = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map((each) => each.close()));
  });

  /** Start a stand-in that keeps only the variations of each user, in order of arrival. */
  async function start() {
    const amplitude = await startAmplitude({
      recordBodies: false,
      maxEvents: 1,
      maxInsertIds: 10 * MANY,
    });
    const arrived = new Map();
    amplitude.store.on(
      'event',
      ({ event_type: type, user_id: userId, event_properties: properties }) => {
        if (type === 'Experiment Viewed') {
          arrived.set(userId, [...(arrived.get(userId) ?? []), properties.variation_key]);
        }
      },
    );
    const dispatcher = createDispatcher({
      apiKey: 'volume-key',
      serverUrl: amplitude.httpapi,
      flushTimeoutMillis: FOREVER_MILLIS,
      logger: quietLogger,
    });
    running.push(dispatcher, amplitude);
    return { amplitude, arrived, dispatcher };
  }

  it('of as many users, by the SDK: each arrives exactly once', async () => {
    const { amplitude, arrived, dispatcher } = await start();
    const client = createClient();
    dispatcher.attach(client);
    const expected = new Map();
    for (let i = 0; i < MANY; i++) {
      const userId = `user_${i}`;
      expected.set(userId, [decideAs(client, userId).variationKey]);
      if (i % 1000 === 0) {
        await new Promise(setImmediate); // as in a server, which does other work in between
      }
    }
    const report = counts(await dispatcher.flush());
    assert.ok(report.delivered > 0 && report.dropped + report.pending === 0);
    assert.deepEqual(arrived, expected);
    const { decisions, events } = dispatcher.stats();
    assert.equal(decisions.delivered, MANY);
    assert.equal(events.sent, 2 * MANY);
    assert.equal(amplitude.store.stats().events.duplicates, 0);
    assertReconciles(dispatcher.stats());
    await client.close();
  });

  /** 5 decisions of each of 20,000 users, in turn; no two in a row are the same. */
  function decideInTurn(dispatcher) {
    const variations = ['a', 'b', 'a', 'c', 'b'];
    const users = MANY / variations.length;
    for (const variationKey of variations) {
      for (let i = 0; i < users; i++) {
        dispatcher.onDecision(createNotification(`user_${i}`, { variationKey }));
      }
    }
    return new Map(Array.from({ length: users }, (_, i) => [`user_${i}`, variations]));
  }

  it("of fewer users, in one go: each user's arrive in order", async () => {
    const { amplitude, arrived, dispatcher } = await start();
    const expected = decideInTurn(dispatcher);
    assert.deepEqual(counts(await dispatcher.flush()), { ...ZERO, delivered: MANY });
    assert.deepEqual(arrived, expected);
    assert.equal(amplitude.store.stats().events.duplicates, 0);
    assertReconciles(dispatcher.stats());
  });

  it('while requests fail in every way: the same', async () => {
    const { amplitude, arrived, dispatcher } = await start();
    amplitude.setFault([
      'ok',
      faults.errorAfterAccepting(),
      'ok',
      faults.resetBeforeAccepting(),
      faults.unavailable(),
      'ok',
      faults.resetAfterAccepting(),
      faults.truncated(),
      faults.badGatewayPage(),
      'ok',
      faults.tooManyEvents(500),
    ]);
    const expected = decideInTurn(dispatcher);
    assert.deepEqual(counts(await dispatcher.flush()), { ...ZERO, delivered: MANY });
    assert.deepEqual(arrived, expected);
    assert.ok(
      amplitude.store.stats().events.duplicates > 0,
      'what was accepted twice was counted once',
    );
    assertReconciles(dispatcher.stats());
  });
});

describe('flush() and close()', () => {
  let amplitude;
  let dispatcher;
  let drops;
  let nextUser = 0;

  beforeEach(async () => {
    amplitude = await startAmplitude();
    createOther();
  });
  afterEach(async () => {
    await dispatcher.close({ timeoutMillis: 0 });
    await amplitude.close();
  });

  function createOther(options) {
    const told = []; // a drop may be reported when the next test has begun
    drops = told;
    dispatcher = createDispatcher({
      apiKey: 'flush-key',
      serverUrl: amplitude.httpapi,
      logger: quietLogger,
      flushIntervalMillis: FOREVER_MILLIS,
      flushTimeoutMillis: FOREVER_MILLIS,
      requestTimeoutMillis: FOREVER_MILLIS,
      onDrop: (drop) => told.push(drop),
      ...options,
    });
  }

  function decide(count) {
    for (let i = 0; i < count; i++) {
      dispatcher.onDecision(createNotification(`user_${nextUser++}`));
    }
  }

  it('with nothing queued: at once', async () => {
    const before = performance.now();
    const report = await dispatcher.flush();
    assert.ok(report.durationMillis <= performance.now() - before);
    assert.deepEqual(counts(report), ZERO);
    decide(3);
    assert.deepEqual(counts(await dispatcher.flush()), { ...ZERO, delivered: 3 });
    assert.deepEqual(counts(await dispatcher.flush()), ZERO);
    assert.equal(amplitude.requests.length, 1);
  });

  it('flushes that overlap: each reports what was undelivered when it was called', async () => {
    const [one, two] = [faults.held(), faults.held()];
    amplitude.setFault([one, two]);
    decide(3);
    const first = dispatcher.flush();
    const again = dispatcher.flush();
    await amplitude.nextRequest();
    decide(2);
    const second = dispatcher.flush();
    decide(1);
    const third = dispatcher.flush();

    one.release();
    assert.deepEqual(counts(await first), { ...ZERO, delivered: 3 });
    assert.deepEqual(counts(await again), { ...ZERO, delivered: 3 });
    assert.equal(dispatcher.stats().decisions.pending, 3);
    decide(1); // after all of the calls, so no flush waits for it
    await amplitude.nextRequest();
    two.release();
    assert.deepEqual(counts(await second), { ...ZERO, delivered: 5 });
    assert.deepEqual(counts(await third), { ...ZERO, delivered: 6 });
    assertReconciles(dispatcher.stats());
  });

  it('flushes of different deadlines: each has its own', async () => {
    const held = faults.held();
    amplitude.setFault([held]);
    decide(4);
    const patient = dispatcher.flush();
    assert.deepEqual(counts(await dispatcher.flush({ timeoutMillis: 20 })), {
      ...ZERO,
      pending: 4,
    });
    assert.deepEqual(counts(await dispatcher.flush({ timeoutMillis: 0 })), { ...ZERO, pending: 4 });
    held.release();
    assert.deepEqual(counts(await patient), { ...ZERO, delivered: 4 });
  });

  it('what is dropped is neither delivered nor pending', async () => {
    amplitude.setFault(
      faults.rejectUsers([`user_${nextUser}`, `user_${nextUser + 2}`], { list: 'first' }),
    );
    decide(5);
    assert.deepEqual(counts(await dispatcher.flush()), { delivered: 3, dropped: 2, pending: 0 });
    assert.equal(dispatcher.stats().decisions.dropped.invalid_event, 2);
    assert.equal(drops.flatMap((drop) => drop.decisions).length, 2);
    assertReconciles(dispatcher.stats());
  });

  it('at the deadline, with a server that is silent: pending, and not lost', async () => {
    createOther({ requestTimeoutMillis: 300 });
    amplitude.setFault(['silence']);
    decide(5);
    const report = await dispatcher.flush({ timeoutMillis: 50 });
    assert.ok(report.durationMillis >= 49);
    assert.deepEqual(counts(report), { ...ZERO, pending: 5 });
    assert.equal(dispatcher.stats().decisions.pending, 5);
    assert.deepEqual(counts(await dispatcher.flush()), { ...ZERO, delivered: 5 });
    assert.deepEqual(drops, []);
    assertReconciles(dispatcher.stats());
  });

  it('with abort: the dead request is abandoned, and the next flush starts a new one', async () => {
    amplitude.setFault(['silence']);
    decide(5);
    assert.deepEqual(counts(await dispatcher.flush({ timeoutMillis: 50, abort: true })), {
      ...ZERO,
      pending: 5,
    });
    await amplitude.waitFor(
      () => amplitude.requests.length === 1 && amplitude.requests[0].complete,
    );
    assert.deepEqual(counts(await dispatcher.flush()), { ...ZERO, delivered: 5 });
    assert.equal(amplitude.requests.length, 2);
    const ids = amplitude.requests.map(({ body }) => body.events.map((event) => event.insert_id));
    assert.deepEqual(ids[1], ids[0]);
  });

  it('a flush ends the wait between two attempts', async () => {
    // The back-off after so many failures would last for minutes.
    const failures = 9;
    amplitude.setFault('unavailable', failures);
    decide(2);
    const reports = [];
    for (let i = 0; i <= failures; i++) {
      while (dispatcher.stats().requests.failed < i) {
        await new Promise(setImmediate);
      }
      reports.push(dispatcher.flush());
    }
    for (const report of await Promise.all(reports)) {
      assert.deepEqual(counts(report), { ...ZERO, delivered: 2 });
    }
  });

  it('invalid deadlines are replaced by the default', async () => {
    for (const timeoutMillis of [NaN, -1, '5', null, {}, Infinity]) {
      decide(1);
      assert.deepEqual(counts(await dispatcher.flush({ timeoutMillis })), {
        ...ZERO,
        delivered: 1,
      });
    }
  });

  it('close() delivers what there is; later decisions are dropped and counted', async () => {
    decide(7);
    const closing = dispatcher.close();
    assert.equal(dispatcher.close(), closing);
    decide(2);
    assert.deepEqual(counts(await closing), { ...ZERO, delivered: 7 });
    decide(1);
    const { decisions } = dispatcher.stats();
    assert.deepEqual(
      [decisions.accepted, decisions.delivered, decisions.dropped.closed],
      [10, 7, 3],
    );
    assert.deepEqual(counts(await dispatcher.flush()), ZERO);
    assertReconciles(dispatcher.stats());
  });

  it('close() at its deadline drops the rest, and reports it', async () => {
    amplitude.setFault('silence');
    const earliest = Date.now();
    decide(300);
    assert.deepEqual(counts(await dispatcher.close({ timeoutMillis: 50 })), {
      ...ZERO,
      dropped: 300,
    });
    await new Promise(setImmediate);
    const dropped = drops.flatMap(({ reason, message, statusCode, decisions }) => {
      assert.equal(reason, 'closed');
      assert.ok(typeof message === 'string' && message.length > 0);
      assert.equal(statusCode, 0);
      assert.ok(decisions.length <= 256);
      return decisions;
    });
    assert.equal(dropped.length, 300);
    const { userId, time, insertId, ...rest } = dropped[0];
    assert.match(userId, /^user_\d+$/);
    assert.ok(time >= earliest && time <= Date.now());
    assert.match(insertId, /^[0-9a-f]{32}$/);
    assert.deepEqual(rest, {
      flagKey: 'checkout_flow',
      variationKey: 'one_page',
      ruleKey: 'checkout_ab',
      enabled: true,
    });
    assert.equal(new Set(dropped.map((decision) => decision.userId)).size, 300);
    assertReconciles(dispatcher.stats());
  });
});

describe('a process', () => {
  /**
   * Run a program with `dispatcher`, `client` and `decideAs` in a process of its own, with timers that never expire.
   * Resolves to its output, its end and the stored events.
   */
  async function run(t, program, fault = null) {
    const amplitude = await startAmplitude();
    t.after(() => amplitude.close());
    amplitude.setFault(fault);
    const source = `
      const { createDispatcher } = require(${JSON.stringify(ROOT)});
      const { createClient, decideAs } = require(${JSON.stringify(path.join(ROOT, 'test/support/optimizely/sdk.js'))});
      const dispatcher = createDispatcher({
        apiKey: 'child-key', serverUrl: ${JSON.stringify(amplitude.httpapi)},
        flushIntervalMillis: ${FOREVER_MILLIS}, requestTimeoutMillis: ${FOREVER_MILLIS}, flushTimeoutMillis: ${FOREVER_MILLIS},
      });
      const client = createClient();
      dispatcher.attach(client);
      (async () => { ${program} })();`;
    const ended = await runChild(t, ['-e', source]);
    return { ...ended, events: amplitude.store.events().length };
  }

  const ENDS = {
    'that decided nothing': ['', 0],
    'that flushed': ['decideAs(client, "user_1"); await dispatcher.flush();', 2],
    'that flushed twice': [
      'for (const id of ["user_1", "user_2"]) { decideAs(client, id); await dispatcher.flush(); }',
      4,
    ],
    'that closed': ['decideAs(client, "user_1"); await dispatcher.close();', 2],
    'that did not flush, after its decisions were delivered': ['decideAs(client, "user_1");', 2],
    'that flushed a thousand': [
      'for (let i = 0; i < 1000; i++) decideAs(client, `user_${i}`); await dispatcher.flush();',
      2000,
    ],
  };
  for (const [name, [program, events]] of Object.entries(ENDS)) {
    it(`${name} ends by itself`, async (t) => {
      assert.deepEqual(await run(t, program), {
        code: 0,
        signal: null,
        stdout: '',
        stderr: '',
        events,
      });
    });
  }

  it('ends at the deadline of its last flush when the server is silent', async (t) => {
    const program =
      'decideAs(client, "user_1"); console.log((await dispatcher.close({ timeoutMillis: 100 })).dropped);';
    const { code, signal, stdout, events } = await run(t, program, 'silence');
    assert.deepEqual(
      { code, signal, stdout, events },
      { code: 0, signal: null, stdout: '1\n', events: 0 },
    );
  });

  it('that exits does so at once, and logs what is lost', async (t) => {
    const program =
      'decideAs(client, "user_1"); dispatcher.flush(); setImmediate(() => process.exit(7));';
    const { code, signal, stderr } = await run(t, program, 'silence');
    assert.deepEqual({ code, signal }, { code: 7, signal: null });
    assert.match(stderr, /1 decision undelivered/);
  });

  it('that exits with an event of its own undelivered says so', async (t) => {
    const program =
      'dispatcher.track("Order", {}, { user_id: "user_1" }); setImmediate(() => process.exit(7));';
    const { stderr } = await run(t, program, 'silence');
    assert.match(stderr, /exits with 1 decision or event undelivered: await flush\(\)/);
  });
});
