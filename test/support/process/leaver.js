'use strict';

/**
 * A process that has given decisions and events to a spool, and stays: `process.argv[2]` is JSON with options of
 * createDispatcher(), `decisions`, [[userId, flagKey, variationKey, enabled]], and `tracked`, arguments of track().
 * The message 'deliver' has it flush and answer the report.
 */

const { createDispatcher } = require('../../../lib/index.js');
const { quietLogger } = require('../dispatcher/loggers.js');

const { options, decisions, tracked = [] } = JSON.parse(process.argv[2]);
const dispatcher = createDispatcher({ logger: quietLogger, dedupe: false, ...options });
for (const [userId, flagKey, variationKey, enabled] of decisions) {
  dispatcher.onDecision({
    type: 'flag',
    userId,
    attributes: {},
    decisionInfo: { flagKey, variationKey, ruleKey: 'rule', enabled },
  });
}
tracked.forEach((given) => dispatcher.track(...given));
process.on('message', async () => process.send(await dispatcher.flush()));
process.stdout.write('ready\n');
