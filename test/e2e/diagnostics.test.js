'use strict';

/** The path of a decision in the debug log and in the channels of node:diagnostics_channel. */

const assert = require('node:assert/strict');
const { test } = require('node:test');
const channels = require('node:diagnostics_channel');

const { createNotification } = require('../support/optimizely/sdk.js');
const { start } = require('../support/dispatcher/harness.js');
const { recordingLogger } = require('../support/dispatcher/loggers.js');

/** Subscribe to a channel for one test; returns the list of messages, which grows. */
function listen(t, name) {
  const messages = [];
  const note = (message) => messages.push(message);
  channels.subscribe(`optimizely-amplitude:${name}`, note);
  t.after(() => channels.unsubscribe(`optimizely-amplitude:${name}`, note));
  return messages;
}

/** As Promise.withResolvers() of newer versions. */
function withResolvers() {
  let resolve;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

test('channels publish decisions, requests and drops', async (t) => {
  const [decisions, requests, drops] = ['decision', 'request', 'drop'].map((name) =>
    listen(t, name),
  );
  const { amplitude, dispatcher } = await start(t, { onDrop: undefined });
  for (const userId of ['user_1', 'user_1', 'abc', 'user_2']) {
    dispatcher.onDecision(createNotification(userId));
  }
  dispatcher.onDecision({ type: 'feature', userId: 'user_1', decisionInfo: {} });
  assert.deepEqual(
    decisions.map(({ userId, outcome }) => [userId, outcome]),
    [
      ['user_1', 'queued'],
      ['user_1', 'repeat'],
      ['abc', 'id_too_short'],
      ['user_2', 'queued'],
      ['user_1', 'ignored'],
    ],
  );
  assert.deepEqual(decisions[0], {
    type: 'flag',
    userId: 'user_1',
    flagKey: 'checkout_flow',
    variationKey: 'one_page',
    ruleKey: 'checkout_ab',
    enabled: true,
    outcome: 'queued',
  });

  amplitude.setFault(amplitude.faults.rejectUsers(['user_2']));
  await dispatcher.flush();
  assert.deepEqual(
    requests.map(({ number, decisions: carried, statusCode, retry }) => [
      number,
      carried,
      statusCode,
      retry,
    ]),
    [
      [1, 2, 400, false],
      [2, 1, 200, true],
    ],
  );
  assert.deepEqual(
    drops.map(({ reason, decisions: [{ userId }] }) => [reason, userId]),
    [['invalid_event', 'user_2']],
  );
});

test('the debug log traces a decision', async (t) => {
  const { dispatcher, logger } = await start(t);
  dispatcher.onDecision(createNotification('user_1'));
  dispatcher.onDecision(createNotification('user_1'));
  await dispatcher.flush();
  const lines = logger.lines.filter(({ level }) => level === 'debug').map(({ message }) => message);
  assert.match(lines[0], /^decision \(flag\) of user_1 on checkout_flow = one_page: queued$/);
  assert.match(lines[1], /suppressed/);
  assert.match(lines[2], /^request 1: 1 decision, 2 events, \d+ bytes \(gzip\) -> 200/);
  assert.equal(lines[3], 'request 1 carried the decision of user_1 on checkout_flow');
});

test('a drop at the end names its number and its reason', async (t) => {
  const { amplitude, dispatcher, logger } = await start(t);
  amplitude.setFault('silence');
  dispatcher.onDecision(createNotification('user_1'));
  await dispatcher.close({ timeoutMillis: 0 });
  assert.ok(
    logger.lines.some(
      ({ message }) =>
        message === '1 decision dropped (closed): the dispatcher was closed before delivery',
    ),
    JSON.stringify(logger.lines),
  );
});

test('the debug log says which option keeps a decision out', async (t) => {
  const flag = (ruleKey) => createNotification('user_1', { ruleKey });
  const cases = [
    [{ resolveUser: () => null }, flag('rule'), 'resolveUser returned null'],
    [{ beforeSend: () => null }, flag('rule'), 'beforeSend returned null'],
    [{ send: 'experiments' }, flag(null), "send is 'experiments', and no experiment decided"],
    [{ decisionTypes: ['feature'] }, flag('rule'), 'decisionTypes does not name its type'],
  ];
  for (const [options, notification, reason] of cases) {
    const { dispatcher, logger } = await start(t, options);
    dispatcher.onDecision(notification);
    const { message } = logger.lines.find(({ message }) => message.startsWith('decision'));
    assert.equal(
      message,
      `decision (flag) of user_1 on checkout_flow = one_page: ignored: ${reason}`,
    );
    assert.equal(dispatcher.stats().decisions.ignored, 1);
  }
});

test('a decision of an older API that is kept out is reported with its flag and variation', async (t) => {
  const outcomes = listen(t, 'decision');
  const { dispatcher, logger } = await start(t);
  const info = {
    feature: { featureKey: 'banner', featureEnabled: true, sourceInfo: {} },
    'ab-test': { experimentKey: 'checkout_ab', variationKey: 'control' },
    other: null,
  };
  for (const [type, decisionInfo] of Object.entries(info)) {
    dispatcher.onDecision({ type, userId: 'user_1', attributes: {}, decisionInfo });
  }
  assert.deepEqual(
    logger.lines.map(({ message }) => message),
    [
      '(feature) of user_1 on banner = on',
      '(ab-test) of user_1 on checkout_ab = control',
      '(other) of user_1 on undefined = undefined',
    ].map((text) => `decision ${text}: ignored: decisionTypes does not name its type`),
  );
  assert.deepEqual(
    outcomes.map(({ flagKey, variationKey, outcome }) => [flagKey, variationKey, outcome]),
    [
      ['banner', 'on', 'ignored'],
      ['checkout_ab', 'control', 'ignored'],
      [undefined, undefined, 'ignored'],
    ],
  );
});

for (const [title, options] of Object.entries({
  'a logger with debug switched off': { isLevelEnabled: (level) => level !== 'debug' },
  'a logger that cannot tell, such as the console,': { isLevelEnabled: undefined },
})) {
  test(`${title} gets none of it`, async (t) => {
    const logger = Object.assign(recordingLogger(), options);
    const { dispatcher } = await start(t, { logger });
    dispatcher.onDecision(createNotification('user_1'));
    await dispatcher.flush();
    assert.deepEqual(logger.lines, []);
    dispatcher.onDecision({ type: 'flag' });
    assert.equal(logger.lines.length, 1); // warnings come
  });
}

test('logLevel decides before the logger does, and loggerProvider is another name of it', async (t) => {
  const loggers = [false, true].map((enabled) =>
    Object.assign(recordingLogger(), { isLevelEnabled: () => enabled }),
  );
  const options = [
    { logger: undefined, loggerProvider: loggers[0], logLevel: 'debug' },
    { logger: loggers[1], logLevel: 'none' },
  ];
  for (const each of options) {
    const { dispatcher } = await start(t, each);
    dispatcher.onDecision(createNotification('user_1'));
    dispatcher.onDecision({ type: 'flag' });
    await dispatcher.flush();
  }
  assert.match(loggers[0].lines[0].message, /^decision \(flag\) of user_1/);
  assert.ok(loggers[0].lines.some(({ message }) => message.startsWith('request 1 carried')));
  assert.deepEqual(loggers[1].lines, []);
});

test('fake timers of a test runner do not hold onDrop up', { timeout: 30_000 }, async (t) => {
  const { promise, resolve } = withResolvers();
  const { dispatcher } = await start(t, {
    maxQueueBytes: 1024,
    onDrop: resolve,
  });
  const globals = {};
  const names = ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'Date'];
  for (const name of names) {
    globals[name] = globalThis[name];
    globalThis[name] = name === 'Date' ? { now: () => 0 } : () => {};
  }
  const { nextTick } = process;
  process.nextTick = () => {};
  try {
    for (let i = 0; i < 100; i++) {
      dispatcher.onDecision(createNotification(`user_${i}`));
    }
    assert.equal((await promise).reason, 'queue_full');
  } finally {
    Object.assign(globalThis, globals);
    process.nextTick = nextTick;
  }
});
