'use strict';

/**
 * The cost of a decision, as ratios within one run and with wide margins: these tests find quadratic growth, and code
 * that became ten times slower. `npm run bench` has the numbers.
 */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http = require('node:http');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');
const { createDispatcher } = require('../../lib/index.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { isWasm } = require('../support/dispatcher/engine.js');
const { quietLogger } = require('../support/dispatcher/loggers.js');
const { certificates } = require('../support/network/certificates.js');
const { createNotification } = require('../support/optimizely/sdk.js');
const { startChild } = require('../support/process/child.js');

/** There may be other load on the machine. */
const ATTEMPTS = { least: 5, most: 20 };
const ID_LENGTH = 16;
const LIB = path.join(__dirname, '..', '..', 'lib');

const idOf = (number) => String(number).padStart(ID_LENGTH, 'u');

/** CPU of this process, in microseconds. */
function cpuMicros() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/**
 * Assert that `measure` takes at most `most` times as long as `base`. The shortest of several measurements counts,
 * because other load can only make one longer; there are more of them when the ratio is not met at first.
 */
async function assertRatio(most, measure, base) {
  let [value, unit] = [Infinity, Infinity];
  for (let i = 0; i < ATTEMPTS.least || (i < ATTEMPTS.most && value > most * unit); i++) {
    value = Math.min(value, await measure());
    unit = Math.min(unit, await base());
  }
  assert.ok(value <= most * unit, `${(value / unit).toFixed(2)} times, instead of at most ${most}`);
}

describe('the cost of a decision', () => {
  let server;
  let silent = false;
  let nextUser = 0;
  const dispatchers = [];

  before(async () => {
    server = http.createServer((request, response) => {
      request.resume().on('end', () => {
        if (!silent) {
          response.end('{"code":200}');
        }
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(async () => {
    await Promise.all(dispatchers.map((dispatcher) => dispatcher.close({ timeoutMillis: 0 })));
    server.closeAllConnections();
    server.close();
  });

  function start(options) {
    const dispatcher = createDispatcher({
      apiKey: 'cost',
      serverUrl: `http://127.0.0.1:${server.address().port}/2/httpapi`,
      flushTimeoutMillis: 3_600_000,
      requestTimeoutMillis: 3_600_000,
      maxQueueBytes: 2 ** 30,
      logger: quietLogger,
      ...options,
    });
    dispatchers.push(dispatcher);
    return dispatcher;
  }

  function decide(onDecision, count) {
    for (let i = 0; i < count; i++) {
      onDecision(createNotification(idOf(nextUser++)));
    }
  }

  /** CPU time of one of so many decisions, in microseconds; all are queued before the first is sent. */
  async function costOf(dispatcher, count) {
    const started = cpuMicros();
    decide(dispatcher.onDecision, count);
    const { delivered } = await dispatcher.flush();
    assert.equal(delivered, count);
    return (cpuMicros() - started) / count;
  }

  it('does not grow with the queue', async () => {
    const dispatcher = start();
    await costOf(dispatcher, 50_000);
    await assertRatio(
      2,
      () => costOf(dispatcher, 200_000),
      () => costOf(dispatcher, 20_000),
    );
  });

  it('does not grow when the table of exposures is full', async () => {
    const maxEntries = 20_000;
    const roomy = start();
    const full = start({ dedupe: { maxEntries } });
    for (const dispatcher of [roomy, full]) {
      await costOf(dispatcher, 6 * maxEntries); // until no entry is left from the time when the table filled up
    }
    await assertRatio(
      2,
      () => costOf(full, maxEntries),
      () => costOf(roomy, maxEntries),
    );
  });

  it('is small on the event loop when it is a repeat', async () => {
    const dispatcher = start();
    const notifications = Array.from({ length: 1000 }, (_, i) => createNotification(idOf(i)));
    const timeOf = (listener) => {
      const started = process.hrtime.bigint();
      for (let round = 0; round < 50; round++) {
        for (const notification of notifications) {
          listener(notification);
        }
      }
      return Number(process.hrtime.bigint() - started);
    };
    const seen = new Map();
    const remember = ({ userId, decisionInfo }) =>
      seen.set(`${userId} ${decisionInfo.flagKey}`, decisionInfo.variationKey);
    // Two look-ups in a Map with a new key: the least that any listener in JavaScript can do.
    await assertRatio(
      5,
      () => timeOf(dispatcher.onDecision),
      () => timeOf(remember),
    );
    assert.equal(dispatcher.stats().decisions.accepted, notifications.length);
  });

  it('is less than 100 bytes and its user id in memory', async () => {
    const count = 50_000;
    const dispatcher = start();
    silent = true;
    decide(dispatcher.onDecision, count);
    const { pending } = dispatcher.stats().decisions;
    assert.equal(pending, count);
    const bytes = dispatcher.stats().queue.bytes / pending;
    assert.ok(bytes < 100 + ID_LENGTH, `${bytes} bytes`);
    silent = false;
  });

  it('leaves no memory behind', async () => {
    const dispatcher = start();
    await costOf(dispatcher, 20_000);
    assert.equal(dispatcher.stats().queue.bytes, 0);
  });
});

describe('the cost of a TLS connection', { skip: isWasm && "it is Node's own" }, () => {
  /** Prints the least CPU of a decision over a new connection: with Node's list of CAs, and with one CA. */
  const SCRIPT = `
    const [lib, serverUrl, caFile] = process.argv.slice(1);
    const { createDispatcher } = require(lib);
    const { createNotification } = require(lib.replace(/lib$/, 'test/support/optimizely/sdk.js'));
    async function leastCpu(options) {
      const dispatcher = createDispatcher({ apiKey: 'cost', serverUrl, dedupe: false, ...options });
      let least = Infinity;
      for (let i = 0; i < 12; i++) {
        const before = process.cpuUsage();
        dispatcher.onDecision(createNotification('user_1'));
        const { delivered } = await dispatcher.flush();
        const { user, system } = process.cpuUsage(before);
        least = delivered === 1 ? Math.min(least, user + system) : NaN;
      }
      await dispatcher.close();
      return least;
    }
    (async () => console.log(JSON.stringify([await leastCpu({}), await leastCpu({ caFile })])))();`;

  it('does not depend on how many CAs are trusted', async (t) => {
    const amplitude = await startAmplitude({ tls: true });
    amplitude.setFault('closeAfterAnswer');
    try {
      const { caFile } = certificates();
      const child = startChild(t, ['-e', SCRIPT, LIB, amplitude.httpapi, caFile], {
        env: { NODE_EXTRA_CA_CERTS: caFile },
      });
      await child.endsWith(0);
      const [withList, withOne] = JSON.parse(child.stdout);
      assert.ok(withList <= 5 * withOne, `${withList} and ${withOne} microseconds`);
      assert.equal(amplitude.connections, 24);
    } finally {
      await amplitude.close();
    }
  });
});
