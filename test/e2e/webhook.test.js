'use strict';

/** Amplitude's cohort webhook in front of a list that is downloaded, or read from a file. */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { describe, it } = require('node:test');

const { faults, startCohortServer } = require('../support/audiences/server.js');
const { startAudiences } = require('../support/audiences/harness.js');
const { SECRET, messageOf, post, serve } = require('../support/audiences/webhook.js');
const { MAJORS, createClient } = require('../support/optimizely/sdk.js');
const { makeFolder } = require('../support/util/folder.js');

const DATAFILE = fs.readFileSync(
  path.join(__dirname, '..', 'examples', 'audiences-datafile.json'),
  'utf8',
);
const COHORT = '7khm89cz';
const POWER = 'amplitude_power_user';
const DAY_SECONDS = 24 * 60 * 60;

/** Start a server of cohorts, audiences of it that are loaded, and their webhook. */
async function start(t, { members = ['ann', 'bob'], ...options } = {}) {
  const server = await startCohortServer(t);
  const list = members === null ? null : server.set(COHORT, members);
  const started = startAudiences(t, {
    ...server.options,
    cohorts: { [POWER]: COHORT },
    ...options,
  });
  const url = await serve(t, started.audiences.webhook({ secret: SECRET }));
  if (list !== null) {
    await started.audiences.ready();
  }
  /** When the list was computed, in seconds. */
  const listed = list === null ? null : list.lastModified / 1000;
  const send = (users, more) => post(url, messageOf(COHORT, users, more));
  const has = (...users) => users.map((user) => started.audiences.has(user, POWER));
  const size = () => started.audiences.status().cohorts[POWER].size;
  return { server, url, send, has, size, listed, ...started };
}

const usersOf = (count, prefix = 'user') =>
  Array.from({ length: count }, (_, index) => `${prefix}_${index}`);

describe('a message', () => {
  it('makes users enter and leave', async (t) => {
    const { send, has, size, listed, changes } = await start(t);
    const first = await send(['cat', 'dan', 'ann'], { time: listed + 60, id: 'a::enter::0' });
    assert.deepEqual([first.status, first.message], [200, 'done']);
    assert.deepEqual(has('ann', 'bob', 'cat', 'dan', 'eve'), [true, true, true, true, false]);
    assert.equal(size(), 4);
    await send(['ann', 'nobody'], { isIn: false, time: listed + 60, id: 'a::exit::0' });
    assert.deepEqual(has('ann', 'nobody'), [false, false]);
    assert.equal(size(), 3);
    const { previousSize, size: told, state } = changes.at(-1);
    assert.deepEqual([previousSize, told, state], [4, 3, 'fresh']);
  });

  it('counts once, by its id, and a later moment of a user counts more', async (t) => {
    const { send, has, size, listed, audiences } = await start(t);
    const message = { time: listed + 60, id: 'a::enter::0' };
    await send(['cat'], message);
    assert.equal((await send(['cat'], message)).message, 'it came before');
    await send(['cat', 'dan'], { isIn: false, time: listed + 180, id: 'c::exit::0' });
    const late = await send(['cat', 'eve'], { time: listed + 120, id: 'b::enter::0' });
    assert.deepEqual([late.status, late.message], [200, 'done']);
    assert.deepEqual(has('cat', 'dan', 'eve'), [false, false, true]);
    assert.equal(size(), 3);
    const older = await send(['zoe'], { time: listed, id: 'z::enter::0' });
    assert.deepEqual([older.status, older.message], [200, 'something later is known']);
    assert.deepEqual(has('zoe'), [false]);
    assert.deepEqual(audiences.status().webhook, {
      messages: 4,
      repeats: 1,
      late: 2,
      otherCohorts: 0,
      refused: 0,
      changes: 3,
    });
  });

  it('may have numbers for text, no id, properties, and come in any pieces', async (t) => {
    const { url, has, listed } = await start(t);
    const properties = { plan: 'pro', user_id: 'not-this-one', list: [{ user_id: 'nor-this' }] };
    const body = messageOf(COHORT, ['cät', '日本', '"quoted"'], { time: 0, properties });
    body.computed_time = listed + 60;
    for (const pieces of [1, 7, 100]) {
      const { status } = await post(url, body, { pieces });
      assert.equal(status, 200);
    }
    assert.deepEqual(has('cät', '日本', '"quoted"', 'not-this-one', 'nor-this'), [
      true,
      true,
      true,
      false,
      false,
    ]);
  });

  it('of another cohort is answered with 200, so that Amplitude does not end the sync', async (t) => {
    const { url, listed, audiences, logger } = await start(t);
    const { status } = await post(url, messageOf('other', ['cat'], { time: listed + 60 }));
    assert.equal(status, 200);
    assert.equal(audiences.status().webhook.otherCohorts, 1);
    assert.ok(logger.warnings.some((line) => /cohort "other", which no attribute has/.test(line)));
  });

  it('leaves out users without an id', async (t) => {
    const { url, has, listed, logger } = await start(t);
    const body = messageOf(COHORT, ['cat', null, ''], { time: listed + 60 });
    body.users.push({}, { user_properties: {} });
    assert.equal((await post(url, body)).status, 200);
    assert.deepEqual(has('cat'), [true]);
    assert.ok(logger.warnings.some((line) => /4 of its ids are empty/.test(line)));
  });
});

describe('a list', () => {
  it('that is older keeps what messages said since; a newer one replaces it', async (t) => {
    const { server, send, has, size, listed, changed } = await start(t);
    await send(['cat'], { time: listed + 60, id: 'a' });
    await send(['ann'], { isIn: false, time: listed + 60, id: 'b' });
    await send(['dan'], { time: listed + 600, id: 'c' });
    // It was computed after the first two messages, and before the third.
    server.set(COHORT, ['ann', 'bob', 'eve', 'fay'], {
      lastModified: (listed + 300) * 1000,
    });
    await changed({ size: 5 });
    assert.deepEqual(has('ann', 'bob', 'cat', 'dan', 'eve'), [true, true, false, true, true]);
    assert.equal(size(), 5);
    server.set(COHORT, ['gil'], { lastModified: (listed + 900) * 1000 });
    await changed({ size: 1 });
    assert.deepEqual(has('gil', 'dan', 'ann'), [true, false, false]);
    await send(['dan'], { time: listed + 600, id: 'c again' });
    assert.deepEqual(has('dan'), [false], 'the list knew it');
  });

  it('has to come first: messages alone make nothing known', async (t) => {
    const { audiences, url, send, has } = await start(t, { members: null });
    const status = (await audiences.ready()).cohorts[POWER]; // refused: the server has no such cohort
    await send(['ann', 'bob'], { time: 1_700_000_060, id: 'a::enter::0' });
    await post(url, messageOf(COHORT, ['bob'], { isIn: false, time: 1_700_000_120 }));
    assert.deepEqual(has('ann', 'bob', 'zoe'), [undefined, undefined, undefined]);
    assert.deepEqual(audiences.attributes('ann'), {});
    const { state, size } = audiences.status().cohorts[POWER];
    assert.deepEqual([state, size, status.state], ['refused', null, 'refused']);
  });

  it('that fails at first does not lose messages', async (t) => {
    const server = await startCohortServer(t);
    const { lastModified } = server.set(COHORT, ['ann', 'bob']);
    server.fail(COHORT, faults.status(503), { forever: true });
    const { audiences, changed } = startAudiences(t, {
      ...server.options,
      cohorts: { [POWER]: COHORT },
    });
    const url = await serve(t, audiences.webhook({ secret: SECRET }));
    const time = lastModified / 1000 + 60;
    await post(url, messageOf(COHORT, ['cat'], { time, id: 'a' }));
    await post(url, messageOf(COHORT, ['bob'], { isIn: false, time, id: 'b' }));
    assert.equal(audiences.has('cat', POWER), undefined);
    server.heal(COHORT);
    await changed({ state: 'fresh' });
    assert.deepEqual(
      ['ann', 'bob', 'cat'].map((user) => audiences.has(user, POWER)),
      [true, false, true],
    );
    assert.equal(audiences.status().cohorts[POWER].size, 2);
  });

  it('may come from a file, which is as old as its last change', async (t) => {
    const directory = makeFolder('webhook');
    const file = path.join(directory, 'power.csv');
    fs.writeFileSync(file, 'user_id\nann\nbob\n');
    const written = Math.floor(Date.now() / 1000) - 3600;
    fs.utimesSync(file, written, written);
    const { audiences } = startAudiences(t, {
      source: 'file',
      cohorts: { [POWER]: file },
      staleAfterMillis: 30 * 60 * 1000,
    });
    assert.throws(() => audiences.webhook({ secret: SECRET }), /'webhook.cohorts'.* are files/);
    const handler = audiences.webhook({ secret: SECRET, cohorts: { [POWER]: COHORT } });
    const url = await serve(t, handler);
    const { cohorts } = await audiences.ready();
    assert.equal(cohorts[POWER].state, 'stale');
    const send = (users, more) => post(url, messageOf(COHORT, users, more));
    await send(['bob'], { isIn: false, time: written - 60 });
    assert.equal(audiences.has('bob', POWER), true, 'the file is later');
    await send(['bob'], { isIn: false, time: written + 60 });
    await send(['cat'], { time: written + 3600 });
    assert.equal(audiences.has('bob', POWER), false);
    assert.equal(audiences.has('cat', POWER), true);
    assert.equal(audiences.status().cohorts[POWER].state, 'fresh', 'a message confirms');
  });
});

describe('many changes', () => {
  it('are merged in the background, with the same answers and the right size', async (t) => {
    const { send, has, size, listed, audiences } = await start(t);
    const COUNT = 25;
    for (let index = 0; index < COUNT; index++) {
      const { status } = await send(usersOf(10_000, `m${index}`), {
        time: listed + 60,
        id: `a::enter::${index}`,
      });
      assert.equal(status, 200);
    }
    assert.equal(size(), 2 + COUNT * 10_000);
    await send(usersOf(10_000, 'm3'), { isIn: false, time: listed + 120, id: 'b::exit::0' });
    assert.deepEqual(has('m0_0', 'm0_9999', 'm24_5000', 'm3_77', 'ann'), [
      true,
      true,
      true,
      false,
      true,
    ]);
    assert.equal(size(), 2 + (COUNT - 1) * 10_000);
    const { users, webhook } = audiences.status();
    assert.ok(users > 2, 'some are in the table');
    assert.ok(webhook.changes < 128 * 1024);
    const late = await send(['m3_5'], { time: listed + 90, id: 'late' });
    assert.equal(late.status, 200);
    assert.deepEqual(has('m3_5'), [false]);
  });

  it('survive a list, merged or not', async (t) => {
    const { server, send, has, size, changed, listed, audiences } = await start(t);
    for (let index = 0; index < 8; index++) {
      await send(usersOf(10_000, `m${index}`), { time: listed + 600, id: `${index}` });
    }
    server.set(COHORT, ['eve'], { lastModified: (listed + 300) * 1000 });
    await changed({ previousSize: 80_002 });
    assert.deepEqual(has('eve', 'ann', 'm0_1', 'm7_9999'), [true, false, true, true]);
    for (let index = 0; index < 16; index++) {
      await send(usersOf(10_000, `n${index}`), { time: listed + 900, id: `n${index}` });
    }
    assert.equal(size(), 1 + 24 * 10_000);
    assert.deepEqual(has('eve', 'm0_1', 'm7_9999', 'n0_0', 'n15_9999'), [
      true,
      true,
      true,
      true,
      true,
    ]);
    // What was given up one by one is later than this list.
    server.set(COHORT, ['eve', 'old'], { lastModified: (listed + 450) * 1000 });
    await server.answered(COHORT, server.requests.length + 1);
    const seen = server.requests.length;
    await server.answered(COHORT, seen + 1);
    assert.match(
      audiences.status().cohorts[POWER].lastError.message,
      /messages of the webhook are later than it/,
    );
    assert.deepEqual(has('old', 'm0_1', 'n0_0'), [false, true, true]);
  });
});

describe('a snapshot', () => {
  it('has what was merged, for the next process', async (t) => {
    const directory = makeFolder('webhook');
    const { server, audiences, send, listed, size } = await start(t, { snapshot: { directory } });
    await send(['bob'], { isIn: false, time: listed + 60, id: 'first' });
    for (let index = 0; index < 7; index++) {
      await send(usersOf(10_000, `m${index}`), { time: listed + 60, id: `${index}` });
    }
    while (audiences.status().webhook.changes > 0) {
      await new Promise((resolve) => setImmediate(resolve)); // the merge begins by itself
    }
    while (audiences.status().users < 70_000) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(size(), 70_001);
    // It is written before the merge is over, and the list is asked for after that.
    await server.asked(COHORT, server.requests.length + 1);
    await audiences.close();
    server.fail(COHORT, faults.status(503), { forever: true });
    const { audiences: next } = startAudiences(t, {
      ...server.options,
      cohorts: { [POWER]: COHORT },
      snapshot: { directory },
    });
    assert.equal(next.has('m6_9999', POWER), true);
    assert.equal(next.has('bob', POWER), false);
    assert.equal(next.status().cohorts[POWER].size, 70_001);
  });
});

describe('a request that is no message is answered with', () => {
  const statusOf = async (t, body, options) => {
    const { url, logger } = await start(t);
    const answer = await post(url, body, options);
    assert.ok(logger.warnings.some((line) => line.includes(`answered with ${answer.status}`)));
    assert.ok(!logger.warnings.join().includes(SECRET));
    return answer;
  };

  it('401 without the secret', async (t) => {
    const { url, has, listed, audiences } = await start(t);
    const body = messageOf(COHORT, ['cat'], { time: listed + 60 });
    for (const secret of [null, '', 'x', `${SECRET}x`, SECRET.slice(1), SECRET.toUpperCase()]) {
      assert.equal((await post(url, body, { secret })).status, 401);
    }
    const twice = { 'x-webhook-secret': [SECRET, SECRET] };
    assert.equal((await post(url, body, { secret: null, headers: twice })).status, 401);
    assert.deepEqual(has('cat'), [false]);
    assert.equal(audiences.status().webhook.refused, 7);
  });

  it('401 before anything of a large body is used', async (t) => {
    const { status, headers } = await statusOf(t, ' '.repeat(512 * 1024), { secret: null });
    assert.deepEqual([status, headers.connection], [401, 'close']);
    const { url } = await start(t);
    const socket = net.connect(new URL(url).port, '127.0.0.1').on('error', () => {});
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n');
    socket.write(' '.repeat(1024 * 1024 + 1));
    const [answer] = await once(socket, 'data');
    assert.match(String(answer), /^HTTP\/1.1 401 [^]*Connection: close/);
    socket.destroy();
  });

  it('405 for another method', async (t) => {
    const { status, headers } = await statusOf(t, '', { method: 'GET' });
    assert.deepEqual([status, headers.allow], [405, 'POST']);
  });

  it('415 when it is compressed', async (t) => {
    const headers = { 'Content-Encoding': 'gzip' };
    assert.equal((await statusOf(t, '{}', { headers })).status, 415);
  });

  it('413 when it announces too much, and when it sends too much', async (t) => {
    const { url } = await start(t);
    const { port } = new URL(url);
    const socket = net.connect(port, '127.0.0.1');
    socket.write(
      `POST / HTTP/1.1\r\nHost: x\r\nx-webhook-secret: ${SECRET}\r\nContent-Length: 99999999\r\n\r\n`,
    );
    socket.end(' '.repeat(1024 * 1024 + 1));
    const [answer] = await once(socket, 'data');
    assert.match(String(answer), /^HTTP\/1.1 413 /);
    socket.destroy();
    const endless = net.connect(port, '127.0.0.1').on('error', () => {});
    endless.write(
      `POST / HTTP/1.1\r\nHost: x\r\nx-webhook-secret: ${SECRET}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const answered = once(endless, 'data');
    const piece = `100000\r\n${' '.repeat(0x100000)}\r\n`;
    for (let count = 0; count < 34; count++) {
      endless.write(piece);
    }
    assert.match(String((await answered)[0]), /^HTTP\/1.1 413 [^]*Connection: close/);
    endless.destroy();
  });

  it('400 for what is no message, with a reason', async (t) => {
    const { url, has, listed } = await start(t);
    const good = messageOf(COHORT, ['cat'], { time: listed + 60, id: 'a' });
    const text = JSON.stringify(good);
    const without = (name) => ({ ...good, [name]: undefined });
    const cases = [
      ['', /the body ends early/],
      ['{}', /no cohort_id/],
      ['[]', /an array; Amplitude's default payload/],
      ['[{"user_id":"cat","amplitude_power_7khm89cz":true}]', /an array/],
      ['null', /no cohort_id/],
      ['<html>', /not JSON/],
      ['\u0000', /not JSON/],
      [text.slice(0, -1), /ends early/],
      [`${text}x`, /where none may be/],
      [`${text}{}`, /where none may be/],
      [`{"a":${'['.repeat(100_000)}`, /nested too deeply/],
      [`{"a":${'{"a":'.repeat(100_000)}`, /nested too deeply/],
      [without('cohort_id'), /no cohort_id/],
      [{ ...good, cohort_id: 5 }, /no cohort_id/],
      [{ ...good, cohort_id: 'x'.repeat(65) }, /no cohort_id/],
      [without('in_cohort'), /no in_cohort/],
      [{ ...good, in_cohort: 'true' }, /in_cohort is neither/],
      [{ ...good, in_cohort: null }, /in_cohort is neither/],
      [{ ...good, in_cohort: [] }, /in_cohort is neither/],
      [without('computed_time'), /no computed_time/],
      [{ ...good, computed_time: 'now' }, /no computed_time/],
      [{ ...good, computed_time: '' }, /no computed_time/],
      [{ ...good, computed_time: -5 }, /no computed_time/],
      [{ ...good, computed_time: Date.now() / 1000 + 2 * DAY_SECONDS }, /a day ahead/],
      [{ ...good, computed_time: '9'.repeat(60) }, /a day ahead/],
      [without('users'), /no users/],
      [{ ...good, users: null }, /users is no array/],
      [{ ...good, users: {} }, /users is no array/],
      [{ ...good, users: 'cat' }, /users is no array/],
      [{ ...good, users: ['cat'] }, /a user that is no object/],
      [{ ...good, users: [['cat']] }, /a user that is no object/],
      [{ ...good, users: [5] }, /a user that is no object/],
      [{ ...good, users: [{ user_id: 5 }] }, /a user_id that is no string/],
      [{ ...good, users: [{ user_id: ['cat'] }] }, /a user_id that is no string/],
      [text.replace('"user_id"', '"user_id":"eve","user_id"'), /a user_id is there twice/],
      [text.replace('"users"', '"users":[],"users"'), /users is there twice/],
    ];
    for (const [body, reason] of cases) {
      const { status, message } = await post(url, body, { pieces: 3 });
      assert.equal(status, 400, `${JSON.stringify(body).slice(0, 80)}: ${message}`);
      assert.match(message, reason);
    }
    assert.deepEqual(has('cat', 'eve'), [false, false]);
    assert.equal((await post(url, good)).status, 200);
    assert.deepEqual(has('cat'), [true]);
  });

  it('nothing but an error, whatever bytes of a message are others', async (t) => {
    const { url, has, listed } = await start(t);
    const text = Buffer.from(JSON.stringify(messageOf(COHORT, ['cat'], { time: listed + 60 })));
    let seed = 7;
    const random = (below) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed % below;
    };
    for (let round = 0; round < 150; round++) {
      const bytes = Buffer.from(text.subarray(0, 1 + random(text.length)));
      for (let change = random(4); change >= 0; change--) {
        bytes[random(bytes.length)] = random(256);
      }
      const { status } = await post(url, bytes.toString('latin1'), { pieces: 1 + random(5) });
      assert.ok([200, 400].includes(status), `${status}`);
    }
    assert.deepEqual(has('ann', 'bob'), [true, true]);
  });

  it('503 once the audiences are closed', async (t) => {
    const { url, audiences } = await start(t);
    await audiences.close();
    assert.equal((await post(url, messageOf(COHORT, ['cat'], { time: 1 }))).status, 503);
    assert.throws(() => audiences.webhook({ secret: SECRET }), { code: 'ERR_OA_CLOSED' });
  });

  it('503 or 200 while they close, after which nothing is known', async (t) => {
    const { server, url, audiences, has, listed } = await start(t);
    // A load is under way, so that close() takes a moment.
    server.fail(COHORT, faults.silence, { forever: true });
    await server.asked(COHORT, server.requests.length + 1);
    const body = messageOf(COHORT, usersOf(50_000), { time: listed + 60 });
    const sent = [1, 2, 3].map(() => post(url, body));
    while (!has('user_0')[0]) {
      await new Promise((resolve) => setImmediate(resolve)); // the first part counts, others follow
    }
    const closed = audiences.close();
    const answers = await Promise.all(sent);
    await closed;
    assert.ok(answers.every(({ status }) => status === 200 || status === 503));
    assert.deepEqual(has('ann', 'user_0'), [undefined, undefined]);
    assert.deepEqual(audiences.attributes('ann'), {});
  });

  it('nothing when its sender is gone', async (t) => {
    const { url, send, listed, logger } = await start(t);
    const socket = net.connect(new URL(url).port, '127.0.0.1');
    socket.write(
      `POST / HTTP/1.1\r\nHost: x\r\nx-webhook-secret: ${SECRET}\r\nContent-Length: 500\r\n\r\n{"users":[`,
    );
    await once(socket, 'connect');
    assert.equal((await send(['cat'], { time: listed + 60 })).status, 200);
    socket.destroy();
    while (!logger.warnings.some((line) => /broke off/.test(line))) {
      assert.equal((await send(['dan'], { time: listed + 60 })).status, 200);
    }
  });
});

describe('the options of webhook()', () => {
  it('are checked, and secrets are not repeated', async (t) => {
    const { audiences } = await start(t);
    const cases = [
      ['text', /webhook\(\) expects its options/],
      [null, /expects its options/],
      [{ secret: undefined }, /'webhook.secret'/],
      [{}, /'webhook.secret': expected a secret of at least 16.*got undefined: is its environment/],
      [{ secret: '' }, /'webhook.secret'.*is its environment variable set/],
      [{ secret: 'short-secret' }, /'webhook.secret'.*got a string that is shorter/],
      [{ secret: 'sixteen letters and spaces' }, /'webhook.secret'/],
      [{ secret: [] }, /'webhook.secret'/],
      [{ secret: [SECRET, 'short-secret'] }, /'webhook.secret'/],
      [{ secret: SECRET, header: 'a b' }, /'webhook.header'/],
      [{ secret: SECRET, headers: 'a' }, /unknown option 'webhook.headers'.*header/],
      [{ secret: undefined }, /got undefined: is its environment variable set\?/],
      [{ secret: SECRET, cohorts: { other: 'x' } }, /has no attribute "other"/],
      [{ secret: SECRET, cohorts: { [POWER]: 5 } }, /'webhook.cohorts'/],
      [{ secret: SECRET, cohorts: {} }, /'webhook.cohorts'.*got an empty one/],
      [{ secret: SECRET, cohorts: { [POWER]: 'x', other: 'x' } }, /got the same for two of them/],
    ];
    for (const [options, message] of cases) {
      assert.throws(
        () => audiences.webhook(options),
        (error) =>
          error.code === 'ERR_OA_OPTION' &&
          message.test(error.message) &&
          !/short-secret|sixteen/.test(error.message),
      );
    }
  });

  it('may be left out: it takes messages of whoever sends them, and the log warns', async (t) => {
    const { audiences, has, listed, logger } = await start(t);
    const url = await serve(t, audiences.webhook());
    const body = messageOf(COHORT, ['user-1'], { time: listed + 60 });
    assert.equal((await post(url, body, { secret: null })).status, 200);
    assert.deepEqual(has('user-1'), [true]);
    const warnings = logger.lines.filter(({ message }) => /whoever can reach/.test(message));
    assert.deepEqual(
      warnings.map(({ level }) => level),
      ['warn'],
    );
  });

  it('take another header, and two secrets while one replaces the other', async (t) => {
    const { audiences, has, listed } = await start(t);
    const other = 'another-secret-of-this-test';
    const handler = audiences.webhook({ secret: [SECRET, other], header: 'X-Cohort-Secret' });
    const url = await serve(t, handler);
    for (const [index, secret] of [SECRET, other].entries()) {
      const body = messageOf(COHORT, [`user-${index}`], { time: listed + 60 });
      const headers = { 'x-cohort-secret': secret };
      assert.equal((await post(url, body, { secret: null, headers })).status, 200);
      assert.equal((await post(url, body)).status, 401);
    }
    assert.deepEqual(has('user-0', 'user-1'), [true, true]);
  });

  it('say once that only this process knows', async (t) => {
    const { audiences, logger } = await start(t, { logLevel: 'info' });
    audiences.webhook({ secret: SECRET });
    const lines = logger.lines.filter(({ message }) => /of this process only/.test(message));
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['info'],
    );
  });
});

describe('a framework', () => {
  it('Express, before and behind express.json()', async (t) => {
    const express = require('express');
    const { audiences, has, listed } = await start(t);
    const app = express();
    app.post('/first', audiences.webhook({ secret: SECRET }));
    app.use(express.json({ limit: '1mb' }));
    app.use('/behind', audiences.webhook({ secret: SECRET }));
    const url = new URL(await serve(t, app)).origin;
    const send = (route, user, more) =>
      post(`${url}${route}`, messageOf(COHORT, [user], { time: listed + 60 }), more);
    assert.equal((await send('/first', 'cat')).status, 200);
    assert.equal((await send('/behind', 'dan')).status, 200);
    assert.equal((await send('/behind', 'eve', { secret: null })).status, 401);
    assert.deepEqual(has('cat', 'dan', 'eve'), [true, true, false]);
  });

  it('Express with a body as bytes, and one that nobody kept', async (t) => {
    const express = require('express');
    const { audiences, has, listed } = await start(t);
    const app = express();
    const handler = audiences.webhook({ secret: SECRET });
    app.post('/raw', express.raw({ type: () => true }), handler);
    app.post('/text', express.text({ type: () => true }), handler);
    app.post(
      '/lost',
      (request, response, next) => request.resume().on('end', () => next()),
      handler,
    );
    const url = new URL(await serve(t, app)).origin;
    const send = (route, user) =>
      post(`${url}${route}`, messageOf(COHORT, [user], { time: listed + 60 }));
    assert.equal((await send('/raw', 'cat')).status, 200);
    assert.equal((await send('/text', 'dan')).status, 200);
    const lost = await send('/lost', 'eve');
    assert.equal(lost.status, 500);
    assert.match(lost.message, /have the webhook come before it/);
    assert.deepEqual(has('cat', 'dan', 'eve'), [true, true, false]);
  });

  it('Fastify, before it reads the body', async (t) => {
    const { audiences, has, listed } = await start(t);
    const fastify = require('fastify')();
    const handler = audiences.webhook({ secret: SECRET });
    fastify.post('/amplitude', {
      onRequest: (request, reply, done) => {
        reply.hijack();
        handler(request.raw, reply.raw);
        done();
      },
      handler: () => {},
    });
    t.after(() => fastify.close());
    const url = await fastify.listen({ port: 0, host: '127.0.0.1' });
    const body = messageOf(COHORT, usersOf(10_000), { time: listed + 60 });
    assert.equal((await post(`${url}/amplitude`, body)).status, 200);
    assert.equal((await post(`${url}/amplitude`, body, { secret: null })).status, 401);
    assert.deepEqual(has('user_0', 'user_9999'), [true, true]);
  });

  it('Fastify, as a handler, whatever it makes of the body', async (t) => {
    const { audiences, has, listed } = await start(t);
    const handler = audiences.webhook({ secret: SECRET });
    const fastify = require('fastify')({ bodyLimit: 32 * 1024 * 1024 });
    fastify.post('/parsed', handler);
    fastify.register(async (scope) => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) =>
        done(null, body),
      );
      scope.post('/bytes', handler);
      scope.get('/bytes', handler);
    });
    t.after(() => fastify.close());
    const url = await fastify.listen({ port: 0, host: '127.0.0.1' });
    const body = messageOf(COHORT, usersOf(40_000), { time: listed + 60 });
    const parsed = await post(`${url}/parsed`, body);
    assert.deepEqual([parsed.status, parsed.message], [200, 'done']);
    assert.match(parsed.headers['content-type'], /^application\/json\b/);
    assert.equal((await post(`${url}/parsed`, body, { secret: null })).status, 401);
    assert.match((await post(`${url}/parsed`, { users: [] })).message, /no cohort_id/);
    const other = messageOf(COHORT, ['größe'], { time: listed + 60 });
    assert.equal((await post(`${url}/bytes`, other)).status, 200);
    const wrong = await post(`${url}/bytes`, '', { method: 'GET' });
    assert.deepEqual([wrong.status, wrong.headers.allow], [405, 'POST']);
    assert.deepEqual(has('user_0', 'user_39999', 'größe'), [true, true, true]);
  });
});

describe('AWS Lambda', () => {
  const HEADERS = { 'Content-Type': 'application/json', 'X-Webhook-Secret': SECRET };
  const lowerCase = (headers) =>
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  const lists = (headers) =>
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));
  /** What calls a function: [its name, the event of a method, headers and a body]. */
  const EVENTS = [
    [
      'API Gateway, payload 1.0',
      (method, headers) => ({
        version: '1.0',
        resource: '/cohorts',
        path: '/cohorts',
        httpMethod: method,
        headers,
        multiValueHeaders: lists(headers),
        queryStringParameters: null,
        requestContext: { httpMethod: method, path: '/cohorts', stage: '$default' },
      }),
    ],
    [
      'API Gateway, payload 2.0, or a function URL',
      (method, headers) => ({
        version: '2.0',
        routeKey: '$default',
        rawPath: '/cohorts',
        rawQueryString: '',
        headers: lowerCase(headers),
        requestContext: { http: { method, path: '/cohorts' }, stage: '$default' },
      }),
    ],
    [
      'a load balancer',
      (method, headers) => ({
        requestContext: { elb: { targetGroupArn: 'arn' } },
        httpMethod: method,
        path: '/cohorts',
        headers: lowerCase(headers),
      }),
    ],
    [
      'a load balancer with lists of headers',
      (method, headers) => ({
        requestContext: { elb: { targetGroupArn: 'arn' } },
        httpMethod: method,
        path: '/cohorts',
        multiValueHeaders: lists(lowerCase(headers)),
      }),
    ],
  ];
  const context = { getRemainingTimeInMillis: () => 3000 };

  for (const [name, eventOf] of EVENTS) {
    it(`takes an event of ${name}`, async (t) => {
      const { audiences, has, listed } = await start(t);
      const handler = audiences.webhook({ secret: SECRET });
      const text = (users) => JSON.stringify(messageOf(COHORT, users, { time: listed + 60 }));
      const call = (body, { method = 'POST', headers = HEADERS, isBase64Encoded = false } = {}) =>
        handler({ ...eventOf(method, headers), body, isBase64Encoded }, context);
      const done = await call(text(['cat', 'größe']));
      assert.deepEqual([done.statusCode, done.body], [200, '{"message":"done"}\n']);
      assert.equal(done.isBase64Encoded, false);
      const headers = done.multiValueHeaders ?? lists(done.headers);
      assert.deepEqual(headers['Content-Type'], ['application/json']);
      assert.equal('multiValueHeaders' in done, name.endsWith('lists of headers'));
      const zipped = Buffer.from(text(['日本語', ...usersOf(10_000)])).toString('base64');
      assert.equal((await call(zipped, { isBase64Encoded: true })).statusCode, 200);
      assert.deepEqual(has('cat', 'größe', '日本語', 'user_9999'), [true, true, true, true]);
      const secret = { ...HEADERS, 'X-Webhook-Secret': `${SECRET}x` };
      assert.equal((await call(text(['eve']), { headers: secret })).statusCode, 401);
      assert.equal((await call(text(['eve']), { headers: {} })).statusCode, 401);
      assert.equal((await call(text(['eve']), { method: 'PUT' })).statusCode, 405);
      const parsed = messageOf(COHORT, ['parsed'], { time: listed + 60 });
      assert.equal((await call(parsed)).statusCode, 200, 'whoever tries the function by hand');
      for (const body of [
        null,
        undefined,
        5,
        {},
        [],
        '',
        '{}',
        zipped,
        text(['eve']).slice(0, -1),
      ]) {
        assert.equal((await call(body)).statusCode, 400);
      }
      assert.deepEqual(has('eve'), [false]);
      await audiences.close();
      assert.equal((await call(text(['eve']))).statusCode, 503);
    });
  }

  it('takes no more than a server does', async (t) => {
    const { audiences } = await start(t);
    const handler = audiences.webhook({ secret: SECRET });
    const [, eventOf] = EVENTS[1];
    const event = { ...eventOf('POST', HEADERS), body: ' '.repeat(33 * 1024 * 1024) };
    assert.equal((await handler(event, context)).statusCode, 413);
  });

  it('is told of what it cannot use', async (t) => {
    const { audiences, logger } = await start(t);
    const handler = audiences.webhook({ secret: SECRET });
    for (const args of [[], [null], [{}], [{ records: [] }, context], ['text', {}]]) {
      assert.equal(handler(...args), undefined);
    }
    await new Promise((resolve) => setImmediate(resolve));
    assert.match(logger.warnings.join('\n'), /the webhook could not answer/);
  });
});

for (const major of MAJORS) {
  it(`a client of SDK v${major} decides by a message at once`, async (t) => {
    const { audiences, send, listed } = await start(t, { members: [] });
    const client = createClient(major, DATAFILE);
    t.after(() => client.close());
    audiences.attach(client);
    const flags = () => {
      const user = client.createUserContext('ann');
      return [user.decide('power_tools').enabled, user.decide('guided_tour').enabled];
    };
    assert.deepEqual(flags(), [false, true]);
    await send(['ann'], { time: listed + 60 });
    assert.deepEqual(flags(), [true, false]);
    await send(['ann'], { isIn: false, time: listed + 120 });
    assert.deepEqual(flags(), [false, true]);
  });
}
