'use strict';

/** What a sender can do to the collector: memory, time, and names of any kind. */

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const { describe, it } = require('node:test');
const net = require('node:net');
const path = require('node:path');
const { promisify } = require('node:util');
const { createCollector } = require('../../lib/cli/collector/index.js');
const { Jobs } = require('../../lib/cli/collector/jobs.js');
const { Store } = require('../../lib/cli/collector/store.js');
const { parsedBytes, valueBytes } = require('../../lib/cli/collector/weight.js');
const { redact, shown } = require('../../lib/cli/shown.js');
const { request } = require('../support/network/request.js');

const STORE = path.join(__dirname, '../../lib/cli/collector/store.js');

async function start(t, options) {
  const collector = createCollector(options);
  await collector.listen();
  t.after(() => collector.close());
  const { url } = collector;
  return {
    collector,
    url,
    post: (events, target = '/2/httpapi') =>
      request(url + target, { body: { api_key: 'key', events } }),
    get: (target) => request(url + target),
    put: (target, body) => request(url + target, { method: 'PUT', body }),
  };
}

const nest = (depth) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

describe('memory', () => {
  /** Fill a store of 32 MB in a process of its own; resolve to the heap that it takes, in parts of what it says that it weighs. */
  async function ratioOf(makeEvents) {
    const script = `
      const { Store } = require(${JSON.stringify(STORE)});
      const heap = () => { gc(); gc(); return process.memoryUsage().heapUsed; };
      const make = ${makeEvents};
      const store = new Store({ maxBytes: 32 * 1024 * 1024 });
      const before = heap();
      let last;
      for (let round = 0, sent = 0; sent < 80e6; round++) {
        const text = JSON.stringify(make(round));
        sent += Math.max(text.length, 200_000);
        store.ingest('key', JSON.parse(text));
      }
      console.log((heap() - before) / store.bytes, store.bytes);
    `;
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '-e', script]);
    const [ratio, bytes] = stdout.split(' ').map(Number);
    assert.ok(bytes <= 32 * 1024 * 1024);
    return ratio;
  }

  const list = (count, item) => `(r) => Array.from({ length: ${count} }, (x, i) => (${item}))`;
  const FLOODS = {
    'dense values': list(
      1,
      `{ user_id: 'user_' + r, event_type: 'X', event_properties: { a: Array.from({ length: 100_000 }, () => ({})) } }`,
    ),
    'user properties': list(
      1,
      `{ user_id: 'user_' + r, event_type: '$identify', user_properties: { $set: Object.fromEntries(Array.from({ length: 900 }, (y, j) => ['p' + j, ('x' + r + '_' + j).padEnd(1000, 'y')])) } }`,
    ),
    'changes of one user': list(
      500,
      `{ user_id: 'user_1', event_type: '$identify', user_properties: { $set: { ['[Optimizely] f' + i]: 'v' + r } } }`,
    ),
    'users with devices': list(
      500,
      `{ user_id: 'user_' + r + '_' + i, device_id: 'device_' + r + '_' + i, event_type: 'a' }`,
    ),
    numbers: list(
      300,
      `{ user_id: 'user_' + i, event_type: 'a', event_properties: Object.fromEntries(Array.from({ length: 20 }, (y, k) => ['n' + k, k + 0.5 + r])) }`,
    ),
    'names of flags': list(
      500,
      `{ user_id: 'user_' + i, event_type: 'E', event_properties: { flag_key: 'flag_' + r + '_' + i, variation_key: 'v' + r, rule_key: 'r' + r + i } }`,
    ),
    'wide characters': list(
      200,
      `{ user_id: 'üser_' + i, event_type: 'ы', event_properties: { p: 'ы'.repeat(900) + r } }`,
    ),
  };
  for (const [name, makeEvents] of Object.entries(FLOODS)) {
    it(`is what the store says, in a flood of ${name}`, async () => {
      const ratio = await ratioOf(makeEvents);
      assert.ok(ratio < 1.35, `${ratio} times of it`);
    });
  }

  it('of parsed JSON is estimated before it is parsed', () => {
    const dense = `[${'{},'.repeat(1000)}{}]`;
    assert.ok(parsedBytes(Buffer.from(dense)) >= valueBytes(JSON.parse(dense)));
    const plain = JSON.stringify({ a: 'x'.repeat(10_000) });
    assert.ok(parsedBytes(Buffer.from(plain)) < 3 * plain.length);
  });

  it('is not given to dense JSON', async (t) => {
    const { url, collector } = await start(t);
    const body = `{"api_key":"key","events":[{"user_id":"user_1","event_type":"X","event_properties":{"a":[${'{},'.repeat(6e6)}{}]}}]}`;
    assert.equal((await request(`${url}/batch`, { body })).status, 413);
    assert.equal(collector.store.events().length, 0);
  });
});

describe('an analysis', () => {
  it('lets other work in between, and gives the older result until it is done', async () => {
    const store = new Store();
    const see = (i) => ({ user_id: `user_${i}`, event_type: 'X' });
    store.ingest(
      'key',
      Array.from({ length: 2000 }, (item, i) => see(i)),
    );
    const jobs = new Jobs(store);
    let isBusy = false;
    const start = () => {
      let users = 0;
      return {
        add: () => {
          users++;
          const end = performance.now() + (isBusy ? 0.5 : 0);
          while (performance.now() < end) {
            // as much work as a large user makes
          }
        },
        finish: () => String(users),
      };
    };
    assert.deepEqual(await jobs.get('count', start), { text: '2000', isStale: false });

    isBusy = true;
    store.ingest('key', [see(2000)]);
    let turns = 0;
    let isOver = false;
    const countTurns = () => {
      turns++;
      return isOver || setImmediate(countTurns);
    };
    countTurns();
    let result = await jobs.get('count', start);
    assert.deepEqual(result, { text: '2000', isStale: true });
    while (result.isStale) {
      result = await jobs.get('count', start);
    }
    isOver = true;
    assert.equal(result.text, '2001');
    assert.ok(turns > 10, `${turns} turns of the loop`);
  });

  it('may look at all users again, in slices, too', async () => {
    const store = new Store();
    const ids = Array.from({ length: 200 }, (item, i) => `user_${i}`);
    store.ingest(
      'key',
      ids.map((id) => ({ user_id: id, event_type: 'X' })),
    );
    const seen = [[], []];
    let turns = 0;
    const countTurns = () => seen[1].length < 200 && ++turns && setImmediate(countTurns);
    countTurns();
    const start = () => ({
      add: ({ id }) => seen[0].push(id),
      again: ({ id }) => {
        assert.equal(seen[0].length, 200);
        seen[1].push(id);
        const end = performance.now() + 0.5;
        while (performance.now() < end) {
          // as much work as a large user makes
        }
      },
      finish: () => 'done',
    });
    const jobs = new Jobs(store);
    while ((await jobs.get('twice', start)).text === null) {
      // it is being worked on
    }
    assert.deepEqual(seen, [ids, ids]);
    assert.ok(turns > 3, `${turns} turns of the loop`);
  });
});

describe('bodies', () => {
  /** Begin an upload of which nothing more will come; resolve to the socket once the collector has what was sent. */
  async function begin(url, bytes) {
    const socket = net.connect(new URL(url).port, '127.0.0.1');
    socket.on('error', () => {});
    const head = `POST /batch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${2 * bytes}\r\n\r\n`;
    await new Promise((resolve) => {
      socket.write(Buffer.concat([Buffer.from(head), Buffer.alloc(bytes, 32)]), resolve);
    });
    return socket;
  }

  it('have a bound together, behind which others wait', async (t) => {
    const { url, post } = await start(t, { maxReadingBytes: 100_000 });
    const event = { user_id: 'user_1', event_type: 'X' };
    assert.equal((await post([event])).status, 200);
    const socket = await begin(url, 90_000);
    const large = [
      {
        ...event,
        event_properties: { a: ['x'.repeat(1000)], b: Array(30).fill('y'.repeat(1000)) },
      },
    ];
    let status = 200;
    while (status === 200) {
      ({ status } = await post(large)); // until the collector has read what was sent before
    }
    assert.equal(status, 503);
    assert.equal((await post([event])).status, 200, 'a small one fits');
    socket.destroy();
    while (status === 503) {
      ({ status } = await post(large));
    }
    assert.equal(status, 200);
  });

  it('of which nothing more comes are given up', async (t) => {
    const { url } = await start(t, { bodyIdleMillis: 100 });
    const socket = await begin(url, 1000);
    await new Promise((resolve) => {
      socket.on('close', resolve);
    });
  });
});

describe('names and depths', () => {
  const field = (name, value) =>
    `{"api_key":"key","events":[{"user_id":"user_1","event_type":"X","time":"x","${name}":${value}}]}`;

  it('of any kind are refused with 400, and shown', async (t) => {
    const { url, get } = await start(t);
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const { status, json } = await request(`${url}/2/httpapi`, { body: field(name, nest(60)) });
      assert.equal(status, 400, name);
      assert.deepEqual(Object.entries(json.events_with_invalid_fields).sort(), [
        ...[
          [name, [0]],
          ['time', [0]],
        ].sort(),
      ]);
    }
    assert.equal(
      (await request(`${url}/2/httpapi`, { body: field('deep', nest(100_000)) })).status,
      400,
    );
    const { status, json } = await get('/api/user?id=user_1');
    assert.equal(status, 200);
    assert.equal(json.refused, 10, 'each once for each reason');
    assert.equal((await get('/api/events')).status, 200);
  });

  it('in an answer from elsewhere do not end the collector', async (t) => {
    const { url, post, collector } = await start(t, {
      intercept: () => ({
        status: 400,
        body: `{"error":${nest(50_000)}}`,
        json: { error: JSON.parse(nest(50_000)) },
      }),
    });
    const stream = await fetch(`${url}/api/stream`, { signal: AbortSignal.timeout(20_000) }).catch(
      () => null,
    );
    await stream?.body?.cancel();
    await post([{ user_id: 'user_1', event_type: 'X' }]);
    assert.equal(collector.store.stats().requests.total, 2);
  });

  it('are no times', async (t) => {
    const { collector } = await start(t);
    const { store } = collector;
    store.ingest('key', [{ user_id: 'user_1', event_type: 'X', time: Date.now() * 1000 }]);
    assert.ok(store.latest() <= Date.now());
    assert.equal(store.events()[0].time > Date.now(), true, 'it is shown as it came');
  });
});

describe('export and import', () => {
  it('give back what was collected, and a reset forgets it', async (t) => {
    const { collector, get, post, put } = await start(t);
    await post([
      {
        user_id: 'user_1',
        event_type: '$identify',
        user_properties: { $set: { '[Optimizely] f': 'a' } },
        time: 1,
        insert_id: '1',
      },
      {
        user_id: 'user_1',
        event_type: '$exposure',
        event_properties: { flag_key: 'f', variant: 'a' },
        time: 2,
        insert_id: '2',
      },
      { user_id: 'user_1', event_type: 'Purchase', event_properties: { amount: 1.5 }, time: 3 },
    ]);
    const { text, headers } = await get('/api/export');
    assert.match(headers['content-disposition'], /\.jsonl"$/);
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ event_type: type }) => type),
      ['$identify', '$exposure', 'Purchase'],
    );
    const before = collector.store.user('user_1');

    assert.equal((await put('/api/reset', '')).status, 200);
    assert.deepEqual([collector.store.events().length, collector.store.stats().users], [0, 0]);
    assert.deepEqual((await put('/api/import', text)).json, { stored: 3, duplicates: 0 });
    const withoutArrival = ({ events, ...user }) => ({
      ...user,
      events: events.map((event) => ({ ...event, server_received_time: 0 })),
    });
    assert.deepEqual(withoutArrival(collector.store.user('user_1')), withoutArrival(before));
    assert.equal((await put('/api/import', text)).json.duplicates, 2, 'those with an insert_id');
  });

  it('refuse a file as a whole, and say which line', async (t) => {
    const { collector, put } = await start(t);
    const good = '{"user_id":"user_1","event_type":"X"}';
    for (const bad of ['{', '1', '{"event_type":"X"}']) {
      const { status, json } = await put('/api/import', `${good}\n\n${bad}\n`);
      assert.equal(status, 400);
      assert.match(json.error, /^Line 2/);
    }
    assert.equal(collector.store.events().length, 0);
  });
});

describe('what is printed', () => {
  it('has no keys, credentials, queries and control characters', () => {
    const cases = {
      'Invalid API key: 0123456789abcdef': 'Invalid API key: …',
      '{"api_key":"abc1"}': '{"api_key":"…"}',
      "option 'apiKey': expected a text": "option 'apiKey': expected a text",
      'https://user:pw@host/a?token=1 failed': 'https://host/a?… failed',
      '/2/httpapi?api_key=secret': '/2/httpapi?…',
      'Authorization: Bearer abcdefgh': 'Authorization: Bearer …',
      '\u001b[31mred\u0007 \u202etxt\r\nnext': ' [31mred txt next',
      'nothing to hide? no': 'nothing to hide? no',
    };
    for (const [text, expected] of Object.entries(cases)) {
      assert.equal(shown(text).replace(/ +/g, ' '), expected.replace(/ +/g, ' '));
    }
    assert.equal(redact('the key k3y-of-the-app', [['k3y-of-the-app', '<key>']]), 'the key <key>');
  });
});
