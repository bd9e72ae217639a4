'use strict';

/**
 * Dispatchers share half of the thread pool; a busy one does not prevent another one from sending, and in a small pool
 * a silent server prevents nothing.
 */

const assert = require('node:assert/strict');
const path = require('node:path');
const { it } = require('node:test');
const { createDispatcher } = require('../../lib/index.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { quietLogger } = require('../support/dispatcher/loggers.js');
const { createNotification } = require('../support/optimizely/sdk.js');
const { startChild } = require('../support/process/child.js');

const ACTOR = path.join(__dirname, '..', 'support', 'process', 'actor.js');
// Half of the default four threads, which cannot be changed once the pool is used.
const PLACES = 2;
const MANY_REQUESTS = 200;

it('a dispatcher gets its turn while as many others as there are places send without a break', async (t) => {
  const amplitude = await startAmplitude();
  const connect = (apiKey) => {
    const dispatcher = createDispatcher({
      apiKey,
      serverUrl: amplitude.httpapi,
      flushIntervalMillis: 0,
      logger: quietLogger,
    });
    t.after(() => dispatcher.close({ timeoutMillis: 0 }));
    return dispatcher;
  };
  t.after(() => amplitude.close());

  // Each request that comes in causes the next decision, so there is always one to send.
  let count = 0;
  const decide = (dispatcher) => dispatcher.onDecision(createNotification(`user_${count++}`));
  const busy = new Map(
    Array.from({ length: PLACES }, (_, i) => [`busy_${i}`, connect(`busy_${i}`)]),
  );
  let enough;
  const sentMany = new Promise((resolve) => {
    enough = resolve;
  });
  amplitude.server.on('request', () => {
    if (count < MANY_REQUESTS * PLACES) {
      busy.forEach(decide);
    } else {
      enough();
    }
  });
  busy.forEach(decide);
  await amplitude.waitFor(({ requests }) => requests.length >= 10);

  const other = connect('other');
  decide(other);
  const flushed = other.flush();
  const first = await Promise.race([flushed.then(() => 'its turn'), sentMany.then(() => 'theirs')]);
  assert.equal(first, 'its turn');
  assert.equal((await flushed).delivered, 1);
});

for (const threads of [1, 2, 3]) {
  it(`files are read while a server is silent, in a pool of ${threads}`, async (t) => {
    const amplitude = await startAmplitude();
    t.after(() => amplitude.close());
    const held = amplitude.faults.held();
    amplitude.setFault(held);
    const part = {
      // After this time, a thread that the request holds would be free.
      options: { serverUrl: amplitude.httpapi, flushQueueSize: 1, requestTimeoutMillis: 10_000 },
      decisions: 1,
      user: 'somebody',
    };
    const child = startChild(t, [ACTOR, JSON.stringify(part)], {
      env: { UV_THREADPOOL_SIZE: `${threads}` },
    });
    await amplitude.nextRequest();
    child.send({ main: 'readFiles' });
    await child.printed('files were read');
    assert.doesNotMatch(child.output, /request failed/);
    assert.equal(amplitude.requests[0].status, null);
    held.release();
    await child.printed('delivered 1');
    await child.endsWith(0);
    assert.equal(amplitude.requests.length, 1);
  });
}
