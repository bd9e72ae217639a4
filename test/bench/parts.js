'use strict';

/**
 * The time of the listener by its parts, each with all parts before it. The addon is called as lib/dispatcher.js calls
 * it. Nothing is delivered, and user ids are made in advance.
 */

const binding = require('../../lib/binding.js');
const { createLog } = require('../../lib/log.js');
const { nativeOptions } = require('../../lib/native.js');
const { resolveOptions } = require('../../lib/options.js');
const { VariantIds } = require('../../lib/sdk/variants.js');
const { createNotification } = require('./decisions.js');
const { cpuMicros, inChild, median, repeat, serveChild } = require('./measure.js');

const UNKNOWN_VARIANT = 999_999;
const REPEATED_USERS = 1000;
const ROUNDS = 40;
const COUNT = 20_000;

const HANDLERS = { log() {}, dropped() {}, requested() {}, trustNeeded() {} };

function createNative(dedupe) {
  const options = resolveOptions({
    apiKey: 'benchmark',
    serverUrl: 'http://127.0.0.1:1/x',
    maxQueueBytes: 2 ** 31,
    flushQueueSize: 2 ** 32 - 1,
    dedupe: dedupe ? {} : false,
  });
  return new binding.Dispatcher(nativeOptions(options, createLog(null)), HANDLERS);
}

/** Each returns a function of a user id. */
const PARTS = {
  variant() {
    const ids = new VariantIds(createNative(true));
    const { decisionInfo } = createNotification('user');
    return () => ids.get(decisionInfo);
  },
  call() {
    const { record } = createNative(true);
    return (userId) => record(UNKNOWN_VARIANT, userId);
  },
  record(dedupe = true) {
    const native = createNative(dedupe);
    const { record } = native;
    const id = new VariantIds(native).get(createNotification('user').decisionInfo);
    return (userId) => record(id, userId);
  },
  queue: () => PARTS.record(false),
};

/** Median nanoseconds over rounds, without those of the bare loop. */
async function child({ part, repeats }) {
  const run = PARTS[part]();
  const nanosOf = (call, users) => {
    const before = cpuMicros();
    for (let i = 0; i < users.length; i++) {
      call(users[i]);
    }
    return (1000 * (cpuMicros() - before)) / users.length;
  };
  const results = await repeat(ROUNDS, (round) => {
    const users = Array.from(
      { length: COUNT },
      (_, i) => `user_${repeats ? i % REPEATED_USERS : round * COUNT + i}`,
    );
    const bare = nanosOf((userId) => userId, users);
    return nanosOf(run, users) - bare;
  });
  return median(results);
}

const ROWS = [
  { title: 'JavaScript finds the variant', part: 'variant', repeats: true },
  { title: 'into C with the user id, and back', part: 'call', repeats: true },
  { title: 'a repeat: clock, checks, hash, the table in the cache', part: 'record', repeats: true },
  {
    title: 'a new one without de-duplication: a record in the queue',
    part: 'queue',
    repeats: false,
  },
  { title: 'a new one: the table, up to 800,000 entries', part: 'record', repeats: false },
];

async function run({ quick }) {
  const rows = [];
  for (const { title, part, repeats } of ROWS) {
    rows.push([
      title,
      median(await repeat(quick ? 1 : 5, () => inChild(__filename, { part, repeats }))),
    ]);
  }
  return {
    tables: [{ title: 'Parts of the listener: nanoseconds of CPU', columns: ['', 'ns'], rows }],
    bars: [],
  };
}

module.exports = { run };

serveChild(module, child);
