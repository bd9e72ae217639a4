'use strict';

/** What becomes of a message, with an addon and a merge that are played. */

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { MAX_MESSAGE_IDS, Receiver } = require('../../lib/audiences/receiver.js');
const { createLog } = require('../../lib/log.js');
const { quietLogger } = require('../support/dispatcher/loggers.js');

const COHORTS = new Map([['abc', { slot: 3 }]]);
const MESSAGE = {};

/** A receiver, of which the addon has room for `room` users until a merge makes as much room again. */
function start({ room = Infinity, merges = true } = {}) {
  const calls = [];
  const changed = [];
  const moved = [];
  let free = room;
  let turns = 0;
  const native = {
    changes: 0,
    stats: () => ({ changes: native.changes }),
    change(message, slot, isIn, time, from, count) {
      const done = Math.min(count, native.users - from, free);
      free -= done;
      calls.push({ slot, isIn, time, from, done, turns });
      const isFull = done < Math.min(count, native.users - from);
      return { status: isFull ? 'too_large' : 'ok', done, entered: done, left: 0, late: 0 };
    },
  };
  const merged = [];
  const refresher = {
    merge() {
      merged.push(calls.length);
      if (!merges) {
        return new Promise(() => {});
      }
      free = room;
      return Promise.resolve();
    },
  };
  const count = () => {
    turns++;
    timer = setImmediate(count);
  };
  let timer = setImmediate(count);
  const receiver = new Receiver({
    native,
    refresher,
    log: createLog(quietLogger),
    onMoved: (cohort, { done }) => moved.push(done),
    onChanged: (cohort, outcome) => changed.push({ cohort, ...outcome }),
  });
  const take = async (users, fields) => {
    native.users = users;
    try {
      return await receiver.take(
        MESSAGE,
        {
          cohortId: 'abc',
          messageId: '',
          computedTime: 1_700_000_000,
          isIn: true,
          users,
          ...fields,
        },
        COHORTS,
      );
    } finally {
      clearImmediate(timer);
    }
  };
  return { receiver, native, take, calls, changed, moved, merged };
}

test('a large message is taken in slices, with a turn of the loop between them', async () => {
  const { take, calls, changed } = start();
  assert.deepEqual(await take(20_000), [200, 'done']);
  assert.deepEqual(
    calls.map(({ from }) => from),
    [0, 4096, 8192, 12288, 16384],
  );
  const turns = calls.map((call) => call.turns);
  assert.deepEqual(turns, [...new Set(turns)], 'each in another turn');
  assert.deepEqual(calls[0], {
    slot: 3,
    isIn: true,
    time: 1_700_000_000_000,
    from: 0,
    done: 4096,
    turns: 0,
  });
  assert.equal(changed.length, 1);
  assert.equal(changed[0].entered, 20_000);
});

test('without room it waits for a merge, and goes on where it was', async () => {
  const { take, calls, changed, moved, merged } = start({ room: 3000 });
  assert.deepEqual(await take(7000), [200, 'done']);
  assert.deepEqual(
    calls.map(({ from, done }) => [from, done]),
    [
      [0, 3000],
      [3000, 3000],
      [6000, 1000],
    ],
  );
  assert.equal(merged.length, 2);
  assert.equal(changed[0].entered, 7000);
  assert.deepEqual(moved, [3000, 3000, 1000], 'each part counts at once');
});

test('when there is no room in time, it is to be sent again, and is no repeat then', async () => {
  const { receiver, native, take, changed } = start({ room: 10, merges: false });
  const [status] = await take(20, { messageId: 'a' });
  assert.equal(status, 503);
  assert.deepEqual([changed.length, receiver.messages], [0, 0]);
  native.change = () => ({ status: 'ok', done: 20, entered: 10, left: 0, late: 0 });
  assert.deepEqual(await take(20, { messageId: 'a' }), [200, 'done']);
  assert.deepEqual(await take(20, { messageId: 'a' }), [200, 'it came before']);
});

test('many changes are merged, and nobody waits for that', async () => {
  const { native, take, merged } = start({ merges: false });
  native.changes = 64 * 1024 - 1;
  await take(1);
  assert.equal(merged.length, 0);
  native.changes++;
  await take(1);
  assert.equal(merged.length, 1);
});

test('a bounded number of ids is remembered, the latest', async () => {
  const { receiver, take } = start();
  for (let index = 0; index <= MAX_MESSAGE_IDS; index++) {
    await take(1, { messageId: `m${index}` });
  }
  await take(1, { messageId: 'm1' });
  assert.equal(receiver.repeats, 1);
  await take(1, { messageId: 'm0' });
  assert.equal(receiver.repeats, 1);
});

test('a time may be in milliseconds, and not far ahead', async () => {
  const { take, calls } = start();
  await take(1, { computedTime: 1_700_000_000_123 });
  assert.equal(calls[0].time, 1_700_000_000_123);
  const ahead = Math.floor(Date.now() / 1000) + 2 * 24 * 60 * 60;
  assert.equal((await take(1, { computedTime: ahead }))[0], 400);
  assert.equal(calls.length, 1);
});
