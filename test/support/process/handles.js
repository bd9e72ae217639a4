'use strict';

/**
 * A program that prints, in JSON, which resources a dispatcher left open, as a test runner would find them: jest's
 * --detectOpenHandles watches async_hooks in this way.
 *
 *   node handles.js <url of the server> <what it does>
 */

const { createHook } = require('node:async_hooks');
const { setImmediate: nextTurn } = require('node:timers/promises');

const { createNotification } = require('../optimizely/sdk.js');

const ROOT = '../../..';
const [, , serverUrl, scenario] = process.argv;
/** What never keeps a process alive; jest leaves out the same. */
const IGNORED = new Set([
  'PROMISE',
  'TIMERWRAP',
  'Immediate',
  'TickObject',
  'Microtask',
  'RANDOMBYTESREQUEST',
  'ZLIB',
]);
const MAX_TURNS = 1000;

const open = new Map();
const types = [];
const hook = createHook({
  init(id, type, trigger, resource) {
    if (!IGNORED.has(type)) {
      types.push(type);
      open.set(id, { type, resource: new WeakRef(resource) });
    }
  },
  destroy: (id) => open.delete(id),
});

const stillOpen = () =>
  [...open.values()]
    .filter(({ resource }) => resource.deref()?.hasRef?.() ?? true)
    .map(({ type }) => type);

const decide = (dispatcher, count) => {
  for (let i = 0; i < count; i++) {
    dispatcher.onDecision(createNotification(`user_${i}`));
  }
};

const SCENARIOS = {
  async flushed(dispatcher) {
    decide(dispatcher, 10);
    await dispatcher.flush();
    await dispatcher.close();
  },

  async neverUsed(dispatcher) {
    await dispatcher.close();
  },

  /** The deadline passes with a request under way, and two calls wait for it. */
  async abandoned(dispatcher) {
    decide(dispatcher, 10);
    const flushed = dispatcher.flush({ timeoutMillis: 60_000 });
    await dispatcher.close({ timeoutMillis: 100 });
    await flushed;
  },

  /** Decisions that come later are reported as drops. */
  async decidesLater(dispatcher, dropped) {
    await dispatcher.close();
    decide(dispatcher, 3);
    await dropped;
  },

  /** For comparison. */
  async notClosed(dispatcher) {
    decide(dispatcher, 10);
    await dispatcher.flush();
  },
};

async function main() {
  void process.stderr; // which Node opens by itself when a socket ends
  const before = process.getActiveResourcesInfo().sort();
  hook.enable();
  const { createDispatcher } = require(ROOT);
  let tell;
  const dropped = new Promise((resolve) => {
    tell = resolve;
  });
  const dispatcher = createDispatcher({
    apiKey: 'test-key',
    serverUrl,
    onDrop: tell,
    logLevel: 'none',
  });
  await SCENARIOS[scenario](dispatcher, dropped);
  // What is destroyed is told some turns later.
  for (let turn = 0; turn < MAX_TURNS && stillOpen().length > 0; turn++) {
    await nextTurn();
  }
  hook.disable();
  const after = process.getActiveResourcesInfo().sort();
  const { pending } = dispatcher.stats().decisions;
  console.log(JSON.stringify({ types, open: stillOpen(), before, after, pending }));
}

main();
