'use strict';

/**
 * A Lambda function with its runtime, as a child process: each message { userId, flush } is an invocation, and the
 * answer is the dispatcher's stats when the handler has returned.
 */

const { createDispatcher } = require('../../../lib/index.js');
const { withFlush } = require('../../../lib/lambda.js');
const { createNotification } = require('../optimizely/sdk.js');

const LONG_MILLIS = 60_000;

const dispatcher = createDispatcher({
  apiKey: 'function-key',
  serverUrl: process.argv[2],
  flushQueueSize: 1,
  requestTimeoutMillis: LONG_MILLIS,
});

const handler = async ({ userId }) => dispatcher.onDecision(createNotification(userId));
const flushing = withFlush(handler, dispatcher);
const context = { getRemainingTimeInMillis: () => LONG_MILLIS };

process.on('message', async (event) => {
  await (event.flush ? flushing : handler)(event, context);
  process.send(dispatcher.stats());
});
