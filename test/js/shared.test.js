'use strict';

/** The listeners on `process` are one for each event, however often the package is loaded. */

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { loadCopy } = require('../support/process/copies.js');

const EVENTS = ['beforeExit', 'exit', 'SIGTERM', 'SIGINT'];
const COPIES = 15; // more than the listeners about which Node.js warns

const count = () => EVENTS.map((event) => process.listenerCount(event));

test('of many copies of the package, until the last dispatcher is closed', async (t) => {
  const warned = t.mock.fn();
  process.on('warning', warned);
  t.after(() => process.removeListener('warning', warned));
  const before = count();
  const one = before.map((listeners) => listeners + 1);
  loadCopy();
  assert.deepEqual(count(), before, 'loading listens to nothing');
  const opened = Array.from({ length: COPIES }, () => {
    const { closeOnSignal, createDispatcher } = loadCopy();
    const dispatcher = createDispatcher({ apiKey: 'a-key' });
    return { dispatcher, takeBack: closeOnSignal(dispatcher), closeOnSignal };
  });
  assert.equal(new Set(opened.map(({ closeOnSignal }) => closeOnSignal)).size, COPIES);
  assert.deepEqual(count(), one);
  // In the order in which they came: what listens is of a copy that is not used any more.
  for (const { dispatcher, takeBack } of opened) {
    assert.deepEqual(count(), one);
    takeBack();
    await dispatcher.close();
  }
  assert.deepEqual(count(), before);
  await new Promise(setImmediate); // warnings come later
  assert.equal(warned.mock.callCount(), 0);
});
