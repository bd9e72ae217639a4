'use strict';

/** When withFlush() flushes, and how long it waits: a server that fails, a time that is up, a dispatcher that is late. */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const { setImmediate: nextTurn } = require('node:timers/promises');

const { withFlush } = require('../../lib/lambda.js');
const { SETTINGS } = require('../../lib/settings.js');
const { start, viewed } = require('../support/dispatcher/harness.js');
const { recordingLogger } = require('../support/dispatcher/loggers.js');
const { createNotification } = require('../support/optimizely/sdk.js');

const contextWith = (millis) => ({ getRemainingTimeInMillis: () => millis });

/** The context of an invocation that begins now. */
function contextFor(millis) {
  const end = performance.now() + millis;
  return { getRemainingTimeInMillis: () => end - performance.now() };
}

/**
 * A dispatcher for which a server is played: `answers` has what becomes of each flush, in turn. `flushes` has the time
 * of each.
 */
function play(...answers) {
  const logger = recordingLogger();
  const flushes = [];
  let [pending, delivered, health] = [0, 0, 'ok'];
  return {
    flushes,
    logger,
    [SETTINGS]: {
      log: { warn: (key, message) => logger.warn(message) },
      timeoutMillis: 10_000,
    },
    decide: () => pending++,
    deliver() {
      delivered += pending;
      pending = 0;
    },
    stats: () => ({ decisions: { pending, delivered }, health }),
    async flush({ timeoutMillis }) {
      flushes.push(timeoutMillis);
      const answer = answers.shift();
      let durationMillis = 5;
      health = answer === 'refused' ? 'retrying' : 'ok';
      if (answer === 'silent') {
        durationMillis = timeoutMillis;
      } else if (answer === 'up') {
        this.deliver();
      }
      return { delivered: 0, dropped: 0, pending, durationMillis };
    },
  };
}

describe('a server that fails', () => {
  /** Invoke once for each answer, with a decision each, and return the times of the flushes. */
  async function timesOf(dispatcher, invocations, { left = 28_000, options } = {}) {
    const handler = withFlush(async () => dispatcher.decide(), dispatcher, options);
    for (let i = 0; i < invocations; i++) {
      await handler({}, contextWith(left));
    }
    return dispatcher.flushes;
  }

  it('that is silent: gets one whole try, and then probes until one succeeds', async () => {
    const dispatcher = play('silent', 'silent', 'silent', 'up', 'silent', 'up', 'up');
    assert.deepEqual(await timesOf(dispatcher, 7), [1500, 500, 500, 500, 1500, 500, 1500]);
  });

  it('that answers with errors: the same', async () => {
    const dispatcher = play('refused', 'refused', 'up', 'up');
    assert.deepEqual(await timesOf(dispatcher, 4), [1500, 500, 500, 1500]);
  });

  it('whose user waits for a quota: does not fail', async () => {
    const dispatcher = play('throttled', 'throttled', 'up');
    assert.deepEqual(await timesOf(dispatcher, 3), [1500, 1500, 1500]);
  });

  it('and then only makes a user wait: fails no more', async () => {
    const dispatcher = play('silent', 'throttled', 'up');
    assert.deepEqual(await timesOf(dispatcher, 3), [1500, 500, 1500]);
  });

  it('with less than a probe of time: nothing is known of the server', async () => {
    const dispatcher = play('silent', 'silent', 'up');
    const handler = withFlush(async () => dispatcher.decide(), dispatcher);
    for (const left of [600, 28_000, 28_000]) {
      await handler({}, contextWith(left));
    }
    assert.deepEqual(dispatcher.flushes, [100, 1500, 500]);
  });

  it('a probe takes timeoutMillis, where that is less', async () => {
    const dispatcher = play('silent', 'silent', 'up');
    const options = { timeoutMillis: 200 };
    assert.deepEqual(await timesOf(dispatcher, 3, { options }), [200, 200, 200]);
  });

  it('has succeeded when something was delivered meanwhile', async () => {
    const dispatcher = play('silent', 'up');
    const handler = withFlush(async ({ deliver }) => {
      if (deliver) {
        dispatcher.deliver();
      }
      dispatcher.decide();
    }, dispatcher);
    await handler({}, contextWith(28_000));
    await handler({ deliver: true }, contextWith(28_000));
    assert.deepEqual(dispatcher.flushes, [1500, 1500]);
  });

  it('gets a whole try each five minutes', async (t) => {
    let now = 1000;
    t.mock.method(performance, 'now', () => now);
    const dispatcher = play(...Array(6).fill('silent'), 'up');
    const handler = withFlush(async () => dispatcher.decide(), dispatcher);
    for (const minutes of [0, 1, 3, 2, 0, 4, 1]) {
      now += minutes * 60_000;
      await handler({}, contextWith(28_000));
    }
    assert.deepEqual(dispatcher.flushes, [1500, 500, 500, 1500, 500, 500, 1500]);
  });

  it('is said once, until nothing is pending', async () => {
    const dispatcher = play('silent', 'silent', 'refused', 'up', 'silent', 'silent');
    await timesOf(dispatcher, 3);
    assert.equal(dispatcher.logger.warnings.length, 1);
    assert.match(
      dispatcher.logger.warnings[0],
      /^withFlush\(\): 1 decision is pending after 1500 ms, and will be delivered in a later invocation .*; logged once until/,
    );
  });

  it('is said again, when it fails again', async () => {
    const dispatcher = play('silent', 'silent', 'up', 'silent', 'silent');
    await timesOf(dispatcher, 5);
    assert.deepEqual(
      dispatcher.logger.warnings.map((message) => parseInt(message.slice('withFlush(): '.length))),
      [1, 1],
    );
  });
});

describe('without anything pending', () => {
  /** In how many steps of the microtask queue a promise is settled; Infinity when it waits for the event loop. */
  async function stepsOf(promise) {
    let steps = 0;
    let isSettled = false;
    promise.then(() => (isSettled = true));
    while (!isSettled && steps < 100) {
      await null;
      steps++;
    }
    return isSettled ? steps : Infinity;
  }

  it('nothing is waited for', async (t) => {
    const { dispatcher, amplitude } = await start(t);
    const handler = async () => 42;
    const bare = async (...args) => {
      try {
        return await handler(...args);
      } finally {
        // as withFlush()
      }
    };
    const wrapped = withFlush(handler, dispatcher);
    const late = withFlush(handler, () => undefined);
    const expected = await stepsOf(bare({}, contextWith(3000)));
    assert.equal(await stepsOf(wrapped({}, contextWith(3000))), expected);
    assert.equal(await stepsOf(late({}, contextWith(3000))), expected);
    dispatcher.onDecision(createNotification('user_1'));
    const flushed = wrapped({}, contextWith(3000));
    assert.equal(await stepsOf(flushed), Infinity);
    await flushed;
    assert.equal(await stepsOf(wrapped({}, contextWith(3000))), expected);
    assert.equal(amplitude.requests.length, 1);
  });

  it('a client without a datafile is warned of all the same', async (t) => {
    const { dispatcher, logger } = await start(t);
    dispatcher.attach({
      notificationCenter: {
        addNotificationListener: () => 1,
        removeNotificationListener: () => true,
      },
      getOptimizelyConfig: () => null,
    });
    await withFlush(async () => {}, dispatcher)({}, contextWith(3000));
    assert.match(logger.warnings.join(), /await optimizely.onReady\(\)/);
  });
});

describe('a handler that is about to run out of time', () => {
  it('is flushed while it runs, in time for the flush to end before', async (t) => {
    const { amplitude, dispatcher } = await start(t);
    const context = contextFor(600);
    let left;
    const handler = withFlush(
      async () => {
        dispatcher.onDecision(createNotification('user_1'));
        await amplitude.waitFor(() => viewed(amplitude).length === 1);
        left = context.getRemainingTimeInMillis();
      },
      dispatcher,
      { marginMillis: 100 },
    );
    await handler({}, context);
    assert.ok(left > 100 && left < 400, `delivered ${left} ms before the end`);
  });

  it('is flushed again, for what it decides after that', async (t) => {
    const { amplitude, dispatcher } = await start(t);
    const handler = withFlush(
      async () => {
        for (const count of [1, 2]) {
          dispatcher.onDecision(createNotification(`user_${count}`));
          while (dispatcher.stats().decisions.delivered < count) {
            await nextTurn();
          }
        }
      },
      dispatcher,
      { marginMillis: 0 },
    );
    await handler({}, contextFor(2000));
    assert.equal(amplitude.requests.length, 2);
  });

  it('has one try, while the server fails', async () => {
    const dispatcher = play('silent', 'silent', 'up');
    const handler = withFlush(
      async ({ flushes = 0 }) => {
        dispatcher.decide();
        while (dispatcher.flushes.length < flushes) {
          await nextTurn();
        }
      },
      dispatcher,
      { marginMillis: 0 },
    );
    await handler({}, contextWith(28_000));
    await handler({ flushes: 2 }, contextFor(500));
    assert.equal(dispatcher.flushes.length, 2);
    await handler({}, contextWith(28_000));
    assert.equal(dispatcher.flushes.length, 3);
  });

  it('and is done before, is flushed once', async () => {
    const dispatcher = play('up', 'up');
    const handler = withFlush(async () => dispatcher.decide(), dispatcher, { marginMillis: 0 });
    await handler({}, contextFor(120));
    await new Promise((resolve) => setTimeout(resolve, 150)); // past the time of the early flush
    assert.equal(dispatcher.flushes.length, 1);
  });
});

describe('a dispatcher that a function returns', () => {
  it('is asked for at each flush', async () => {
    const dispatchers = [play('up'), play('up')];
    let [current] = dispatchers;
    const handler = withFlush(
      async () => current.decide(),
      () => current,
    );
    await handler({}, contextWith(3000));
    [, current] = dispatchers;
    await handler({}, contextWith(3000));
    assert.deepEqual(
      dispatchers.map(({ flushes }) => flushes),
      [[1500], [1500]],
    );
  });

  it('may be a promise of one, or of none', async () => {
    const dispatcher = play('up');
    for (const found of [dispatcher, undefined, null]) {
      dispatcher.decide();
      await withFlush(
        async () => {},
        async () => found,
      )({}, contextWith(3000));
    }
    assert.equal(dispatcher.flushes.length, 1);
    assert.ok(dispatcher.flushes[0] > 1400 && dispatcher.flushes[0] <= 1500);
  });

  it('as a promise that takes time, is waited for as a flush is', async () => {
    const dispatcher = play('up');
    dispatcher.decide();
    let source = new Promise(() => {});
    const handler = withFlush(
      async () => {},
      () => source,
      { timeoutMillis: 900 },
    );
    const times = [];
    for (let i = 0; i < 2; i++) {
      const started = performance.now();
      await handler({}, contextWith(3000));
      times.push(performance.now() - started);
    }
    assert.ok(times[0] > 890 && times[1] < 800, `${times} ms`);
    source = new Promise((resolve) => setImmediate(resolve, dispatcher));
    await handler({}, contextWith(3000));
    assert.equal(dispatcher.flushes.length, 1);
  });
});
