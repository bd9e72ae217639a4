'use strict';

/**
 * A process with a spool. `process.argv[2]` is JSON: options, life (its number), and progress, a file of two numbers of
 * eight bytes: how many listeners have returned, and how many of their decisions are in memory only.
 *
 * It decides without an end, `perTurn` in a turn of the loop, or in a millisecond if it is `slow`, in the names of USERS, until it is killed; or `count`
 * decisions, and then obeys messages: 'flush', 'close' and 'stats' are answered. The loop's longest delay counts from
 * its first turn.
 */

const fs = require('node:fs');
const { monitorEventLoopDelay } = require('node:perf_hooks');

const { createDispatcher } = require('../../../lib/index.js');
const { quietLogger } = require('../dispatcher/loggers.js');
const { createNotification } = require('../optimizely/sdk.js');

const USERS = 20;

const { options, life, progress, count, perTurn = 200, slow } = JSON.parse(process.argv[2]);
const delays = monitorEventLoopDelay({ resolution: 1 });
const before = performance.now();
const dispatcher = createDispatcher({
  apiKey: 'spool-key-0123456789',
  logger: quietLogger,
  dedupe: false,
  eventProperties: ({ number }) => ({ life, number }),
  ...options,
});
const createMillis = performance.now() - before;
const counts = new BigUint64Array(2);
const file = progress === undefined ? null : fs.openSync(progress, 'w');
let number = 0;

function decide(many) {
  for (const end = number + many; number < end;) {
    const notification = createNotification(`user_${number % USERS}`);
    notification.number = number++;
    dispatcher.onDecision(notification);
    if (file !== null && number % 10 === 0) {
      counts[0] = BigInt(number);
      fs.writeSync(file, counts, 0, 16, 0);
    }
  }
}

function decideOn() {
  decide(perTurn);
  counts[1] = BigInt(dispatcher.stats().spool.unwritten);
  slow ? setTimeout(decideOn, 1) : setImmediate(decideOn);
}

const answers = {
  decide: ({ many }) => decide(many),
  flush: ({ timeoutMillis }) => dispatcher.flush({ timeoutMillis }),
  close: ({ timeoutMillis }) => dispatcher.close({ timeoutMillis }),
  stats: () => ({
    ...dispatcher.stats(),
    rss: process.memoryUsage().rss,
    createMillis,
    delayMillis: delays.max / 1e6,
  }),
};

if (count === undefined) {
  decideOn();
} else {
  decide(count);
  process.on('message', async (message) => {
    process.send((await answers[message.do](message)) ?? null);
  });
}
delays.enable();
process.stdout.write('ready\n');
