'use strict';

/**
 * What Amplitude's failures cost the invocations of a Lambda function, in real time; and that they lose nothing. A
 * process that flushes at each request is the same case without Lambda.
 */

const assert = require('node:assert/strict');
const path = require('node:path');
const { describe, it } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const { withFlush } = require('../../lib/lambda.js');
const { start, viewed } = require('../support/dispatcher/harness.js');
const { createClient, createNotification, US_PREMIUM } = require('../support/optimizely/sdk.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { startChild } = require('../support/process/child.js');

const HANGING = path.join(__dirname, '..', 'support', 'process', 'hanging.js');
const FUNCTION_MILLIS = 28_000;

/** The longest that an invocation may take: the first that meets a failing server, and those after it. */
const FIRST_MILLIS = 2000;
const NEXT_MILLIS = 600;
/** The same for one whose decisions can be delivered. */
const USUAL_MILLIS = 100;
/** How long flushes leave a failing server alone, and by how much its clock and ours may differ. */
const CLOCKS_MILLIS = 30;

/** A function with a client of the SDK; `invoke(userId)` resolves to the milliseconds that it took. */
async function startFunction(t, options, flushOptions) {
  const started = await start(t, { dedupe: false, flushTimeoutMillis: 10_000, ...options });
  const client = createClient();
  started.dispatcher.attach(client);
  const handler = withFlush(
    async ({ userId }) =>
      client.createUserContext(userId, US_PREMIUM).decide('homepage_banner').variationKey,
    started.dispatcher,
    flushOptions,
  );
  const invoke = async (userId) => {
    const begun = performance.now();
    const context = {
      getRemainingTimeInMillis: () => FUNCTION_MILLIS + begun - performance.now(),
    };
    assert.equal(await handler({ userId }, context), 'on');
    return performance.now() - begun;
  };
  return { ...started, invoke };
}

const users = (amplitude) => viewed(amplitude).map((event) => event.user_id);

describe('an invocation while the server', { concurrency: true }, () => {
  const recover = (amplitude) => amplitude.setFault(null);
  const FAILURES = {
    'is silent': [(amplitude) => amplitude.setFault('silence'), recover],
    'answers 503': [(amplitude) => amplitude.setFault('unavailable'), recover],
    'refuses connections': [(amplitude) => amplitude.stop(), (amplitude) => amplitude.start()],
  };
  for (const [title, [fail, mend]] of Object.entries(FAILURES)) {
    it(`${title} takes 2 s the first time and 0.6 s after that, and nothing is lost`, async (t) => {
      const { amplitude, dispatcher, invoke, logger } = await startFunction(t);
      await fail(amplitude);
      const [first, ...next] = [
        await invoke('user_1'),
        await invoke('user_2'),
        await invoke('user_3'),
      ];
      assert.ok(first < FIRST_MILLIS, `the first took ${first} ms`);
      assert.ok(Math.max(...next) < NEXT_MILLIS, `the next took ${next} ms`);
      const { pending, dropped } = dispatcher.stats().decisions;
      assert.deepEqual([pending, dropped.total], [3, 0]);
      assert.equal(logger.warnings.filter((message) => /pending after/.test(message)).length, 1);

      await mend(amplitude);
      assert.equal((await dispatcher.flush({ timeoutMillis: 20_000 })).pending, 0);
      assert.deepEqual(users(amplitude), ['user_1', 'user_2', 'user_3']);
    });
  }

  it('is silent takes flushTimeoutMillis, where that is less', async (t) => {
    const { amplitude, invoke } = await startFunction(t, { flushTimeoutMillis: 300 });
    amplitude.setFault('silence');
    const times = [await invoke('user_1'), await invoke('user_2')];
    assert.ok(Math.max(...times) < 400, `${times} ms`);
  });
});

it('an invocation while one user is throttled takes no longer for others', async (t) => {
  const { amplitude, dispatcher, invoke } = await startFunction(t);
  await invoke('user_1');
  amplitude.setFault(amplitude.faults.throttledUsers(['user_2']));
  await invoke('user_2');
  for (const user of ['user_3', 'user_4', 'user_5']) {
    const millis = await invoke(user);
    assert.ok(millis < USUAL_MILLIS, `${user} took ${millis} ms`);
    assert.equal(users(amplitude).at(-1), user);
  }
  assert.equal(dispatcher.stats().decisions.pending, 1);
});

it('a handler that never ends: what it decided is delivered before the function is killed', async (t) => {
  const amplitude = await startAmplitude();
  t.after(() => amplitude.close());
  const child = startChild(t, [HANGING, amplitude.httpapi, '1500']);
  await child.endsWith(null, 'SIGKILL');
  assert.deepEqual(users(amplitude), ['user_1', 'user_2']);
});

it('a process that flushes at each request tries once a second at most, and drops nothing', async (t) => {
  const { amplitude, dispatcher } = await start(t);
  amplitude.setFault('unavailable');
  const seconds = 4;
  const started = performance.now();
  let requests = 0;
  while (performance.now() - started < seconds * 1000) {
    dispatcher.onDecision(createNotification(`user_${requests++}`));
    dispatcher.flush();
    await sleep(10);
  }
  const times = amplitude.requests.map(({ receivedAt }) => receivedAt - started);
  assert.ok(times.length >= 3, `${times.length} requests`);
  // The second may come earlier, and the third waits for it.
  for (const [i, at] of times.entries()) {
    assert.ok(i === 1 || at - times[0] >= i * 1000 - CLOCKS_MILLIS, times.join(' '));
  }
  const { accepted, pending, dropped } = dispatcher.stats().decisions;
  assert.deepEqual([accepted, pending, dropped.total], [requests, requests, 0]);
});
