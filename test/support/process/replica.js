'use strict';

/**
 * One process of a fleet with a store of exposures. `process.argv[2]` is JSON: serverUrl, port (of Redis; null without a
 * store), and users: it decides once for each of so many, delivers, and ends. Without `users` it obeys messages:
 * { userId, attributes } decides with the real SDK and delivers; it replies with the decision's value.
 */

const { createDispatcher } = require('../dispatcher/harness.js');
const { quietLogger } = require('../dispatcher/loggers.js');
const { createClient, createNotification, decideAs } = require('../optimizely/sdk.js');

const { serverUrl, port, users } = JSON.parse(process.argv[2]);
const { Redis } = require('ioredis');
const redis = port === null ? null : new Redis(port, { maxRetriesPerRequest: 1 });

const dispatcher = createDispatcher({
  apiKey: 'fleet-key',
  serverUrl,
  logger: quietLogger,
  flushTimeoutMillis: 60_000,
  // A busy machine takes its time, and what is tested is not the deadline.
  dedupe: redis === null ? {} : { store: { client: redis, timeoutMillis: 20_000 } },
});

async function runOnce() {
  for (let i = 0; i < users; i++) {
    dispatcher.onDecision(createNotification(`user_${i}`));
  }
  await dispatcher.close();
  const { store } = dispatcher.stats();
  process.send({ store });
  redis?.disconnect();
  process.disconnect();
}

function obey() {
  const client = createClient();
  dispatcher.attach(client);
  process.on('message', async (message) => {
    if (message === 'end') {
      await dispatcher.close();
      redis?.disconnect();
      process.disconnect();
      return;
    }
    const { enabled, variationKey } = decideAs(client, message.userId, message.attributes);
    const report = await dispatcher.flush();
    process.send({ value: enabled ? variationKey : 'off', pending: report.pending });
  });
}

if (users === undefined) {
  obey();
} else {
  runOnce();
}
