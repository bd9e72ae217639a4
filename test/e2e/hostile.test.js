'use strict';

/** The listener goes on, and the counts are right, whatever the application throws or passes. */

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { setImmediate: turn } = require('node:timers/promises');

const { assertReconciles, start, viewed } = require('../support/dispatcher/harness.js');
const { createNotification } = require('../support/optimizely/sdk.js');

/** Errors that throw when they are read. */
const ERRORS = [
  { message: Symbol('no text') },
  Object.create(null),
  Object.defineProperty(new Error(), 'message', {
    get() {
      throw new Error('again');
    },
  }),
  undefined,
];

test('errors that cannot be read do not escape the listener', async (t) => {
  let error;
  const { amplitude, dispatcher } = await start(t, {
    eventProperties: () => {
      throw error;
    },
  });
  for (error of ERRORS) {
    dispatcher.onDecision({
      get type() {
        throw error;
      },
    });
    dispatcher.onDecision(createNotification(`user_${ERRORS.indexOf(error)}`));
  }
  await dispatcher.flush();
  assert.equal(viewed(amplitude).length, ERRORS.length);
  assert.equal(dispatcher.stats().decisions.invalid, ERRORS.length);
  assertReconciles(dispatcher.stats());
});

test('what cannot be read twice is counted once', async (t) => {
  const { dispatcher } = await start(t);
  dispatcher.onDecision({
    type: 'feature',
    userId: 'user_1',
    get decisionInfo() {
      throw new Error('never');
    },
  });
  dispatcher.onDecision(createNotification(Symbol('user')));
  let reads = 0;
  dispatcher.onDecision({
    ...createNotification('user_1'),
    get userId() {
      if (reads++ > 0) {
        throw new Error('once');
      }
      return 'user_1';
    },
  });
  const { seen, ignored, invalid, accepted } = dispatcher.stats().decisions;
  assert.deepEqual(
    { seen, ignored, invalid, accepted },
    { seen: 3, ignored: 1, invalid: 1, accepted: 1 },
  );
});

test('the counts are right inside a callback, too', async (t) => {
  const { dispatcher } = await start(t, {
    resolveUser: ({ userId }) => {
      assertReconciles(dispatcher.stats());
      return { userId };
    },
  });
  dispatcher.onDecision(createNotification('user_1'));
  assert.equal(dispatcher.stats().decisions.accepted, 1);
});

test('async callbacks are detected, and their rejections end nothing', async (t) => {
  const rejections = [];
  const note = (reason) => rejections.push(reason);
  process.on('unhandledRejection', note);
  t.after(() => process.off('unhandledRejection', note));
  const { dispatcher, logger } = await start(t, {
    resolveUser: async () => {
      throw new Error('late');
    },
    onDrop: async () => {
      throw new Error('late');
    },
  });
  dispatcher.onDecision(createNotification('user_1'));
  const dropping = await start(t, {
    optOut: true,
    onDrop: async () => {
      throw new Error('late');
    },
  });
  dropping.dispatcher.onDecision(createNotification('user_1'));
  await turn();
  await turn();
  assert.deepEqual(rejections, []);
  assert.match(logger.warnings[0], /resolveUser returned a promise/);
});

test('a wrong result of resolveUser costs the decision, and the log says what is wrong', async (t) => {
  const ANSWERS = [
    [
      () => {
        throw new Error('my bug');
      },
      'resolveUser threw: my bug',
    ],
    [() => undefined, 'resolveUser returned undefined: return { userId }, { deviceId } or null'],
    [() => 'user_1', 'resolveUser returned a string: return { userId }, { deviceId } or null'],
    [
      () => ({ userId: 12345678 }),
      'resolveUser returned a userId that is a number: a string is expected',
    ],
    [
      () => ({ userId: 'user_1', deviceId: true }),
      'resolveUser returned a deviceId that is a boolean: a string is expected',
    ],
  ];
  for (const [resolveUser, told] of ANSWERS) {
    const { dispatcher, logger } = await start(t, { resolveUser });
    dispatcher.onDecision(createNotification('user_1'));
    const { seen, invalid, accepted } = dispatcher.stats().decisions;
    assert.deepEqual({ seen, invalid, accepted }, { seen: 1, invalid: 1, accepted: 0 });
    assert.deepEqual(logger.warnings, [`a decision is not sent: ${told}`]);
  }
});

test('properties with a toJSON() do not replace the own ones', async (t) => {
  const { amplitude, dispatcher } = await start(t, {
    eventProperties: () => ({ toJSON: () => ({ flag_key: 'mine', more: 1 }) }),
  });
  dispatcher.onDecision(createNotification('user_1'));
  await dispatcher.flush();
  const [{ event_properties }] = viewed(amplitude);
  assert.deepEqual([event_properties.flag_key, event_properties.more], ['checkout_flow', 1]);
});

test('a flush that aborted starts nothing by itself', async (t) => {
  const { amplitude, dispatcher } = await start(t, { flushIntervalMillis: 0, flushQueueSize: 1 });
  amplitude.setFault('silence');
  dispatcher.onDecision(createNotification('user_1'));
  await dispatcher.flush({ timeoutMillis: 100, abort: true });
  const { length } = amplitude.requests;
  for (let i = 0; i < 20; i++) {
    await turn();
  }
  assert.equal(amplitude.requests.length, length);
});

test('an API key that a server quotes is not repeated', async (t) => {
  const apiKey = `sekret${'k'.repeat(20)}`;
  const { amplitude, dispatcher, logger } = await start(t, { apiKey, flushMaxRetries: 1 });
  amplitude.setFault(() => ({ status: 503, body: { code: 503, error: `bad key ${apiKey}` } }));
  dispatcher.onDecision(createNotification('user_1'));
  await dispatcher.flush();
  assert.match(dispatcher.stats().lastError.message, /bad key \*\*\*/);
  assert.doesNotMatch(JSON.stringify(logger.lines), new RegExp(apiKey));
});
