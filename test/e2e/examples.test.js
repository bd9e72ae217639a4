'use strict';

/** The examples run as they stand: what is decided over real requests is what Amplitude gets, and they end well. */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { describe, it, test } = require('node:test');

const { startAmplitude } = require('../support/amplitude/server.js');
const { startCohortServer } = require('../support/audiences/server.js');
const { startChild } = require('../support/process/child.js');
const { request } = require('../support/network/request.js');

const ROOT = path.join(__dirname, '..', '..');
const EXAMPLES = path.join(ROOT, 'test', 'examples');
const ROUTE = path.join(ROOT, 'test', 'support', 'process', 'route.mjs');
const PLATFORM = path.join(ROOT, 'test', 'support', 'process', 'platform.mjs');
const RUNTIME = path.join(ROOT, 'test', 'lambda', 'runtime.js');

const API_KEY = 'example-key';
const QUERY = '?country=US&plan=premium';

const NODE_MAJOR = Number(process.versions.node.split('.')[0]);
const FASTIFY = { skip: NODE_MAJOR < 20 && 'Fastify 5 is for Node 20 and later' };

/** What became of a decision of each user; see test/support/optimizely/sdk.js. */
const ONE_PAGE = [
  'one_page',
  { flag_key: 'checkout_flow', variation_key: 'one_page', rule_key: 'checkout_ab', enabled: true },
];
const CONTROL = [
  'off',
  { flag_key: 'checkout_flow', variation_key: 'control', rule_key: 'checkout_ab', enabled: false },
];
const DELIVERY = [
  'on',
  {
    flag_key: 'checkout_flow',
    variation_key: 'on',
    rule_key: 'checkout_targeted_delivery',
    enabled: true,
  },
];
const search = (variation) => [
  variation,
  { flag_key: 'search_ranking', variation_key: variation, rule_key: 'search_ab', enabled: true },
];

/** Start an example that posts to a stand-in of its own. Resolves to both. */
async function start(t, ...args) {
  const amplitude = await startAmplitude();
  t.after(() => amplitude.close());
  const env = { AMPLITUDE_API_KEY: API_KEY, AMPLITUDE_SERVER_URL: amplitude.httpapi, PORT: '0' };
  return { amplitude, child: startChild(t, args, { env }) };
}

/** The same, when it is a server; `ask(path)` resolves to the answer. */
async function serve(t, ...args) {
  const { amplitude, child } = await start(t, ...args);
  await child.printed('http://\\S+\\n');
  const origin = child.stdout.trim();
  return { amplitude, child, origin, ask: (target) => request(origin + target) };
}

/** Every event that was sent, also those that Amplitude would drop as a repeat. */
const sentEvents = (amplitude) => amplitude.requests.flatMap(({ body }) => body.events);

/** That these decisions came, { user: [the property, what the event says] }, once each and nothing else; users in any order. */
function assertDelivered(amplitude, expected, flagKey = 'checkout_flow') {
  assert.ok(
    amplitude.requests.every(({ body, status }) => body.api_key === API_KEY && status === 200),
  );
  const events = sentEvents(amplitude);
  const of = (type) =>
    events
      .filter((event) => event.event_type === type)
      .sort((a, b) => (a.user_id < b.user_id ? -1 : 1));
  const users = Object.keys(expected).sort();
  assert.equal(events.length, 2 * users.length);
  assert.deepEqual(
    of('$identify').map((event) => [event.user_id, event.user_properties]),
    users.map((user) => [user, { $set: { [`[Optimizely] ${flagKey}`]: expected[user][0] } }]),
  );
  assert.deepEqual(
    of('Experiment Viewed').map((event) => [event.user_id, event.event_properties]),
    users.map((user) => [user, expected[user][1]]),
  );
}

async function endsCleanly(child, code = 0, signal = null) {
  await child.endsWith(code, signal);
  assert.equal(child.stderr, '');
}

/** A client that holds a connection and sends nothing, as a browser's early connection or a load balancer does. */
async function connectIdle(t, origin) {
  const { hostname, port } = new URL(origin);
  const socket = net.connect({ host: hostname, port: Number(port) });
  t.after(() => socket.destroy());
  socket.on('error', () => {}); // the server may reset it
  await once(socket, 'connect');
}

/** Four requests, of which one repeats another, while another client only holds a connection; then SIGTERM. */
async function assertServes(t, ...args) {
  const { amplitude, child, ask, origin } = await serve(t, ...args);
  await connectIdle(t, origin);
  const answers = [];
  for (const user of ['user_9', 'user_0', 'user_9', 'user_11']) {
    answers.push((await ask(`/checkout/${user}${QUERY}`)).json);
  }
  assert.deepEqual(
    answers,
    ['one_page', 'control', 'one_page', 'on'].map((variation) => ({ variation })),
  );
  child.kill('SIGTERM');
  await endsCleanly(child, null, 'SIGTERM');
  assertDelivered(amplitude, { user_0: CONTROL, user_11: DELIVERY, user_9: ONE_PAGE });
}

describe('a server', { concurrency: 2 }, () => {
  it('of Node alone', (t) => assertServes(t, path.join(EXAMPLES, 'http.js')));
  it('of Express', (t) => assertServes(t, path.join(EXAMPLES, 'express.js')));
  it('of Fastify', FASTIFY, (t) => assertServes(t, path.join(EXAMPLES, 'fastify.js')));
  it('of Next.js, reloaded for each request', (t) =>
    assertServes(t, ROUTE, path.join(EXAMPLES, 'next.mjs')));
});

test('a function: delivered when its result is there', async (t) => {
  const { amplitude, child } = await start(t, RUNTIME, path.join(EXAMPLES, 'lambda.js'));
  await endsCleanly(child);
  const { statusCode, body } = JSON.parse(child.stdout).result;
  assert.deepEqual([statusCode, JSON.parse(body)], [200, { variation: 'one_page' }]);
  assertDelivered(amplitude, { user_9: ONE_PAGE });
});

describe('a platform that suspends the process when a request is over', () => {
  const usersOf = (amplitude) => [...new Set(sentEvents(amplitude).map((event) => event.user_id))];

  /** Have a request served by an instance that is resumed for it, and wait until it is suspended again. */
  async function serveAndSuspend({ child, ask }, userId, variation) {
    child.thaw();
    const { json } = await ask(`/checkout/${userId}${QUERY}`);
    assert.deepEqual(json, { variation });
    await child.stopped();
  }

  for (const name of ['next-after.mjs', 'vercel.mjs']) {
    it(`${name} delivers before that`, async (t) => {
      const served = await serve(t, PLATFORM, path.join(EXAMPLES, name));
      await serveAndSuspend(served, 'user_9', 'one_page');
      assertDelivered(served.amplitude, { user_9: ONE_PAGE });
      await serveAndSuspend(served, 'user_0', 'control');
      assertDelivered(served.amplitude, { user_0: CONTROL, user_9: ONE_PAGE });
      assert.equal(served.child.stderr, '');
    });

    it(`${name} delivers with the next request what an outage left`, async (t) => {
      const served = await serve(t, PLATFORM, path.join(EXAMPLES, name));
      served.amplitude.setFault('silence', 1);
      await serveAndSuspend(served, 'user_9', 'one_page');
      await serveAndSuspend(served, 'user_0', 'control');
      assert.deepEqual(usersOf(served.amplitude), ['user_9', 'user_0']);
      assert.match(served.child.stderr, /1 decision is pending/);
    });
  }

  it('next.mjs, which is for a server, would deliver nothing', async (t) => {
    const served = await serve(t, PLATFORM, path.join(EXAMPLES, 'next.mjs'));
    await serveAndSuspend(served, 'user_9', 'one_page');
    assert.equal(served.amplitude.requests.length, 0);
  });

  it('cloud-run.js delivers before it answers', async (t) => {
    const { amplitude, child, ask } = await serve(t, path.join(EXAMPLES, 'cloud-run.js'));
    const expected = {};
    for (const [user, decision] of [
      ['user_9', ONE_PAGE],
      ['user_0', CONTROL],
      ['user_9', ONE_PAGE],
    ]) {
      child.thaw();
      await ask(`/checkout/${user}${QUERY}`);
      expected[user] = decision;
      assertDelivered(amplitude, expected);
      await child.freeze();
    }
    assert.equal(amplitude.requests.length, 2);
    child.thaw();
    child.kill('SIGTERM');
    await endsCleanly(child, null, 'SIGTERM');
  });
});

test('workers: each delivers what it decided, and ends', async (t) => {
  const { amplitude, child } = await start(
    t,
    path.join(EXAMPLES, 'workers.js'),
    'user_0',
    'user_4',
  );
  await endsCleanly(child);
  assert.deepEqual(child.stdout.trim().split('\n').sort(), ['user_0: vector', 'user_4: bm25']);
  assertDelivered(
    amplitude,
    { user_0: search('vector'), user_4: search('bm25') },
    'search_ranking',
  );
  assert.equal(amplitude.requests.length, 2);
});

describe('the migration', () => {
  /** The events of three users, without the fields for their sender and time. */
  async function decide(t, name, ...end) {
    const { amplitude, child, ask } = await serve(t, path.join(EXAMPLES, 'migration', name));
    for (const user of ['user_0', 'user_11', 'user_9']) {
      await ask(`/${user}${QUERY}`);
    }
    child.kill('SIGTERM');
    await endsCleanly(child, ...end);
    assertDelivered(amplitude, { user_0: CONTROL, user_11: DELIVERY, user_9: ONE_PAGE });
    return sentEvents(amplitude).map(
      ({ event_type, user_id, user_properties, event_properties }) => ({
        event_type,
        user_id,
        user_properties,
        event_properties,
      }),
    );
  }

  it('changes neither property nor event', async (t) => {
    const before = await decide(t, 'before.js');
    assert.deepEqual(await decide(t, 'after.js', null, 'SIGTERM'), before);
  });
});

test('the client of the application has one shape, for CommonJS and for ES modules', async () => {
  const [required, imported] = [
    require('../examples/optimizely.js'),
    await import('../examples/optimizely.mjs'),
  ];
  assert.deepEqual(
    [Object.keys(required), Object.keys(imported)],
    [['optimizely'], ['optimizely']],
  );
  for (const { optimizely } of [required, imported]) {
    await optimizely.onReady();
    const user = optimizely.createUserContext('user_9', { country: 'US', plan: 'premium' });
    assert.equal(user.decide('checkout_flow').variationKey, 'one_page');
    await optimizely.close();
  }
});

test('code that decides waits for the datafile: an earlier decision is null, without a notification', () => {
  const deciding = ['examples', 'examples/migration', 'lambda', 'demo']
    .flatMap((folder) =>
      fs
        .readdirSync(path.join(ROOT, 'test', folder))
        .map((name) => path.join(ROOT, 'test', folder, name)),
    )
    .filter((file) => /\.m?js$/.test(file))
    .map((file) => [file, fs.readFileSync(file, 'utf8')])
    .filter(([, source]) => source.includes('.decide('));
  assert.ok(deciding.length >= 10);
  for (const [file, source] of deciding) {
    assert.match(source, /\.onReady\(/, file);
  }
});

test('the list of examples has each of them, and how to run it', () => {
  const readme = fs.readFileSync(path.join(EXAMPLES, 'README.md'), 'utf8');
  const names = ['', 'migration'].flatMap((folder) =>
    fs
      .readdirSync(path.join(EXAMPLES, folder))
      .filter((name) => /\.m?js$/.test(name))
      .map((name) => path.posix.join(folder, name)),
  );
  assert.equal(names.length, 14);
  for (const name of names.filter((name) => !name.startsWith('optimizely.'))) {
    assert.match(
      readme,
      new RegExp(`^\\| \\[${name}\\]\\(${name}\\) .*\`node test/.*${name}`, 'm'),
    );
  }
  for (const [file] of readme.matchAll(/\btest\/[\w/.]+\.m?js\b/g)) {
    assert.ok(fs.existsSync(path.join(ROOT, file)), file);
  }
});

describe('audiences.js', () => {
  const AUDIENCES = path.join(EXAMPLES, 'audiences.js');
  const EXPECTED = 'user_9: power_tools\nuser_2: guided_tour\n';

  it('reads a file', async (t) => {
    const child = startChild(t, [AUDIENCES, 'user_9', 'user_2']);
    assert.deepEqual(await child.ended, { code: 0, signal: null });
    assert.deepEqual([child.stdout, child.stderr], [EXPECTED, '']);
  });

  it('downloads a cohort, and gives neither flag without it', async (t) => {
    const server = await startCohortServer(t);
    const env = {
      AMPLITUDE_API_KEY: server.options.apiKey,
      AMPLITUDE_SECRET_KEY: server.options.secretKey,
      AMPLITUDE_COHORTS_URL: server.url,
      AMPLITUDE_COHORT: '7khm89cz',
    };
    const without = startChild(t, [AUDIENCES, 'user_9', 'user_2'], { env });
    assert.deepEqual(await without.ended, { code: 0, signal: null });
    assert.equal(without.stdout, 'user_9: nothing\nuser_2: nothing\n');
    assert.match(without.stderr, /there is no such cohort/);
    server.set('7khm89cz', ['user_9']);
    const child = startChild(t, [AUDIENCES, 'user_9', 'user_2'], { env });
    assert.deepEqual(await child.ended, { code: 0, signal: null });
    assert.deepEqual([child.stdout, child.stderr], [EXPECTED, '']);
  });
});
