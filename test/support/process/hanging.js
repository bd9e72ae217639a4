'use strict';

/**
 * A Lambda function whose handler decides and never ends, as a child process that is killed when its time is up:
 *
 *   node hanging.js URL TIMEOUT_MILLIS
 */

const { createDispatcher } = require('../../../lib/index.js');
const { withFlush } = require('../../../lib/lambda.js');
const { createNotification } = require('../optimizely/sdk.js');

const [, , serverUrl, timeout] = process.argv;
const dispatcher = createDispatcher({ apiKey: 'function-key', serverUrl });

const handler = withFlush(async () => {
  dispatcher.onDecision(createNotification('user_1'));
  dispatcher.onDecision(createNotification('user_2'));
  await new Promise(() => {});
}, dispatcher);

const end = performance.now() + Number(timeout);
handler({}, { getRemainingTimeInMillis: () => end - performance.now() });
setTimeout(() => process.kill(process.pid, 'SIGKILL'), Number(timeout));
