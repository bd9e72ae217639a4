'use strict';

/**
 * README.md and docs/ are true: every block of JavaScript runs as it stands, in a project that has what an
 * application has, links work, and tables list everything that exists.
 *
 * A block begins with a comment that names its file: `// server.js`, or `// server.js, for some purpose`.
 */

const assert = require('node:assert/strict');
const { createHmac } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, it, test } = require('node:test');

const { createAudiences } = require('../../lib/audiences.js');
const { createDispatcher } = require('../../lib/index.js');
const { createAgentDecision, startAgent } = require('../support/agent/agent.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { startCohortServer } = require('../support/audiences/server.js');
const { messageOf } = require('../support/audiences/webhook.js');
const { startChild } = require('../support/process/child.js');
const { DATAFILE } = require('../support/optimizely/sdk.js');
const { startRedis } = require('../support/store/redis.js');
const { filesBelow } = require('../support/util/files.js');
const { request } = require('../support/network/request.js');

const ROOT = path.join(__dirname, '..', '..');
const DIVERT = path.join(ROOT, 'test', 'support', 'process', 'divert.js');

const MAX_README_LINES = 199;
const SDK_KEY = 'sdk-key';

const read = (file) => fs.readFileSync(path.join(ROOT, file), 'utf8');
const pagesIn = (folder) =>
  fs
    .readdirSync(path.join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => path.posix.join(folder, name));

/** The pages whose code runs. */
const PAGES = ['README.md', ...pagesIn('docs')];
/** The pages whose links are checked. */
const LINKING_PAGES = [...pagesIn('.'), ...pagesIn('docs'), ...pagesIn('test/examples')];

const FENCED = /^```(\w*).*\n([\s\S]*?)^```$/gm;

/** Every block of JavaScript: title -> { page, file, code }. */
const BLOCKS = new Map();
for (const page of PAGES) {
  for (const [, language, code] of read(page).matchAll(FENCED)) {
    if (language === 'js' || language === 'javascript') {
      const [, title, file] = /^\/\/ (([\w-]+\.m?js)\b.*)\n/.exec(code) ?? [];
      assert.ok(title, `${page}: a block does not begin with the name of its file:\n${code}`);
      assert.ok(!BLOCKS.has(title), `${page}: ${title} is there twice`);
      BLOCKS.set(title, { page, file, code });
    }
  }
}

// ---- a project to run them in ------------------------------------------------------------------------

/** Packages of this clone that an application would have, as links. */
const INSTALLED = ['@amplitude/analytics-node', '@opentelemetry/api', 'ioredis', 'prom-client'];

/** The real SDK, except that it gets its datafile from TEST_DATAFILES, and once: polling keeps a process alive. */
function sdkSource() {
  const file = require.resolve('@optimizely/optimizely-sdk');
  const names = Object.keys(require(file)).filter((name) => /^[A-Za-z]\w*$/.test(name));
  return [
    `const sdk = require(${JSON.stringify(file)});`,
    ...names.map((name) => `exports.${name} = sdk.${name};`),
    'const test = { urlTemplate: process.env.TEST_DATAFILES, autoUpdate: false };',
    'exports.createPollingProjectConfigManager = (config) =>',
    '  sdk.createPollingProjectConfigManager({ ...test, ...config });',
  ].join('\n');
}

/** Preloaded: prints the port that a server listens on. */
const ANNOUNCE = `
const { Server } = require('node:http');
const { listen } = Server.prototype;
Server.prototype.listen = function (...args) {
  this.once('listening', () => console.log('port', this.address().port));
  return listen.apply(this, args);
};
`;

function write(folder, files) {
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), text);
  }
}

function link(folder, name, target) {
  const file = path.join(folder, 'node_modules', name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.symlinkSync(target, file, 'dir');
}

function makeProject() {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-readme-')));
  write(folder, {
    'announce.cjs': ANNOUNCE,
    'node_modules/@optimizely/optimizely-sdk/index.js': sdkSource(),
  });
  link(folder, 'optimizely-amplitude', ROOT);
  INSTALLED.forEach((name) => link(folder, name, path.join(ROOT, 'node_modules', name)));
  return folder;
}

/** What the application has besides a fragment. */
const CLIENT = `
const { optimizely } = require('./optimizely.js');
dispatcher.attach(optimizely);
`;
const DECIDE = `
const decided = require('./optimizely.js').optimizely.onReady().then(() =>
  require('./optimizely.js').optimizely
    .createUserContext('user_9', { country: 'US', plan: 'premium' }).decide('checkout_flow'));
`;
const INVOKE = `
exports.handler({ userId: 'user_9' }, { getRemainingTimeInMillis: () => 5000 })
  .then((result) => process.stdout.write(JSON.stringify(result)));
`;
const DISPATCHER = `
const { createDispatcher } = require('optimizely-amplitude');
exports.dispatcher = createDispatcher({ apiKey: process.env.AMPLITUDE_API_KEY });
exports.dispatcher.attach(require('./optimizely.js').optimizely);
`;
/** The part of an OpenTelemetry SDK that collects what is observed, when the process ends. */
const OPEN_TELEMETRY = `
const { metrics } = require('@opentelemetry/api');
const callbacks = [];
const create = (name) => ({ addCallback: (callback) => callbacks.push([name, callback]) });
const meter = {
  createObservableCounter: create,
  createObservableUpDownCounter: create,
  createObservableGauge: create,
};
metrics.setGlobalMeterProvider({ getMeter: () => meter });
process.once('exit', () => {
  const observed = [];
  for (const [name, callback] of callbacks) {
    callback({ observe: (value, labels = {}) => observed.push([name, ...Object.values(labels), value]) });
  }
  console.log(JSON.stringify(observed));
});
`;

/** Why decisions are dropped, in the order of stats(). */
const REASONS = [
  'invalid_event',
  'invalid_api_key',
  'payload_too_large',
  'quota_exceeded',
  'retries_exhausted',
  'expired',
  'queue_full',
  'opted_out',
  'closed',
];

describe('the code', () => {
  const ran = new Set();
  let datafiles;

  before(async () => {
    datafiles = http.createServer(({ url }, response) => {
      response.writeHead(url === `/${SDK_KEY}.json` ? 200 : 404).end(DATAFILE);
    });
    await once(datafiles.listen(0, '127.0.0.1'), 'listening');
  });

  after(() => {
    datafiles.closeAllConnections();
    datafiles.close();
  });

  /** The code of a block, which counts as run. */
  function code(title) {
    ran.add(title);
    assert.ok(BLOCKS.has(title), `no page has ${title}`);
    return BLOCKS.get(title).code;
  }

  /** Run `files` in a project; { child, events(), sent() }: what it sent, and that as an array of [type, user, properties]. */
  async function start(t, files, main, env) {
    const amplitude = await startAmplitude();
    const folder = makeProject();
    t.after(() => fs.rmSync(folder, { recursive: true }));
    t.after(() => amplitude.close());
    write(folder, files);
    const child = startChild(
      t,
      ['--require', DIVERT, '--require', path.join(folder, 'announce.cjs'), main],
      {
        cwd: folder,
        env: {
          AMPLITUDE_API_KEY: 'readme-key',
          ID_SECRET: 'readme-secret',
          AMPLITUDE_SERVER_URL: amplitude.httpapi,
          OPTIMIZELY_SDK_KEY: SDK_KEY,
          PORT: '0',
          TEST_DATAFILES: `http://127.0.0.1:${datafiles.address().port}/%s.json`,
          TEST_SERVER_URL: amplitude.httpapi,
          ...env,
        },
      },
    );
    const events = () => amplitude.requests.flatMap(({ body }) => body.events);
    const sent = () =>
      events().map((event) => [
        event.event_type,
        event.user_id ?? event.device_id,
        event.event_type === '$identify' ? event.user_properties.$set : event.event_properties,
      ]);
    return { child, events, sent };
  }

  /** The same, to its end, which has to be a success. */
  async function run(t, files, main, env) {
    const { child, events, sent } = await start(t, files, main, env);
    await child.endsWith(0);
    assert.equal(child.stderr, '');
    return { stdout: child.stdout, events: events(), sent: sent() };
  }

  const types = (sent) => sent.map(([type]) => type);
  const DELIVERED = ['$identify', 'Experiment Viewed'];

  async function assertServes(t, client) {
    const files = { 'optimizely.js': code(client), 'server.js': code('server.js') };
    const { child, sent } = await start(t, files, 'server.js');
    await child.printed('listening on port \\d+\\n');
    const [, port] = /listening on port (\d+)/.exec(child.stdout);
    for (const [user, variation] of [
      ['user_9', 'one_page'],
      ['user_0', 'control'],
    ]) {
      const { text } = await request(`http://127.0.0.1:${port}/?user=${user}`);
      assert.equal(text, variation);
    }
    child.kill('SIGTERM');
    assert.deepEqual(await child.ended, { code: null, signal: 'SIGTERM' });
    assert.equal(child.stderr, '');
    const properties = sent().filter(([type]) => type === '$identify');
    assert.deepEqual(properties, [
      ['$identify', 'user_9', { '[Optimizely] checkout_flow': 'one_page' }],
      ['$identify', 'user_0', { '[Optimizely] checkout_flow': 'off' }],
    ]);
  }

  it('of a server', (t) => assertServes(t, 'optimizely.js'));

  it('of a server without an account', (t) => assertServes(t, 'optimizely.js, without an account'));

  it('of ES modules', async (t) => {
    const files = { 'optimizely.mjs': code('optimizely.mjs'), 'service.mjs': code('service.mjs') };
    assert.deepEqual(types((await run(t, files, 'service.mjs')).sent), DELIVERED);
  });

  it('of ES modules in a package of "type": "module"', async (t) => {
    const files = {
      'package.json': '{ "type": "module" }',
      'optimizely.js': code('optimizely.mjs'),
      'service.js': code('service.mjs').replace('./optimizely.mjs', './optimizely.js'),
    };
    assert.deepEqual(types((await run(t, files, 'service.js')).sent), DELIVERED);
  });

  for (const title of ['handler.js', 'function.js']) {
    it(`of AWS Lambda (${title})`, async (t) => {
      const files = { 'optimizely.js': code('optimizely.js'), [title]: code(title) + INVOKE };
      const { stdout, sent } = await run(t, files, title);
      assert.deepEqual(types(sent), DELIVERED);
      assert.deepEqual(JSON.parse(stdout), { checkout: 'off' });
    });
  }

  /** Run a fragment with more code behind it, in a project that has a client. */
  const runFragment = (t, title, more, files = {}, env = {}) =>
    run(
      t,
      { 'optimizely.js': code('optimizely.js'), ...files, [title]: code(title) + more },
      title,
      env,
    );

  it('of the callbacks', async (t) => {
    const { sent } = await runFragment(t, 'properties.js', CLIENT + DECIDE);
    assert.deepEqual(sent, [
      ['$identify', 'user_9', { '[Optimizely] checkout_flow': 'one_page', plan: 'premium' }],
      [
        'Experiment Viewed',
        'user_9',
        {
          flag_key: 'checkout_flow',
          variation_key: 'one_page',
          rule_key: 'checkout_ab',
          enabled: true,
          rule_type: 'experiment',
          experiment_id: '9400000001',
        },
      ],
    ]);
  });

  it('of Optimizely Agent', async (t) => {
    const agent = await startAgent();
    t.after(() => agent.stop());
    const file = 'agent-listener.js';
    const told =
      "setInterval(() => listener.status()[0].decisions > 0 && console.log('read'), 20);";
    const source = code(file).replace(/\['http.*\]/, JSON.stringify([agent.url])) + told;
    const { child, sent } = await start(t, { [file]: source }, file);
    await agent.listened();
    await agent.stream(createAgentDecision('user_9'));
    await child.printed('read');
    child.kill('SIGTERM');
    assert.deepEqual(await child.ended, { code: null, signal: 'SIGTERM' });
    assert.equal(child.stderr, '');
    assert.deepEqual(types(sent()), DELIVERED);
  });

  it('of the settings of the bridge', async (t) => {
    const file = 'bridge.js';
    const more = `
      const { accessToken, resolveUser } = module.exports;
      const users = ['bot_1', 'user_1'].map((userId) => resolveUser({ userId }));
      console.log(JSON.stringify([accessToken(), ...users]));`;
    const env = { OPTIMIZELY_AGENT_TOKEN: 'token' };
    const { stdout } = await run(t, { [file]: code(file) + more }, file, env);
    assert.deepEqual(JSON.parse(stdout), ['token', null, { userId: 'user_1' }]);
  });

  it('of exposures', async (t) => {
    const { sent } = await runFragment(t, 'exposure.js', CLIENT + DECIDE);
    assert.deepEqual(sent, [
      ['$identify', 'user_9', { '[Optimizely] checkout_flow': 'one_page' }],
      [
        '$exposure',
        'user_9',
        { flag_key: 'checkout_flow', variant: 'one_page', experiment_key: 'checkout_ab' },
      ],
    ]);
  });

  it('of the fields', async (t) => {
    const decide = DECIDE.replace(
      "country: 'US'",
      "country: 'US', amplitudeDeviceId: 'device-9', amplitudeSessionId: 1795532583000",
    );
    const { events } = await runFragment(t, 'session.js', CLIENT + decide);
    assert.equal(events.length, 2);
    for (const { user_id, device_id, session_id, country } of events) {
      assert.deepEqual(
        [user_id, device_id, session_id, country],
        ['user_9', 'device-9', 1795532583000, 'US'],
      );
    }
  });

  it('of other events', async (t) => {
    const { sent } = await runFragment(t, 'purchases.js', 'dispatcher.close();\n');
    assert.deepEqual(sent, [
      ['$identify', 'user_9', { plan: 'pro' }],
      ['Purchase', 'user_9', { amount: 10 }],
      ['Signup', 'user_9', undefined],
    ]);
  });

  it('of the redaction', async (t) => {
    const others = `
      decided.then(() => {
        const send = (userId, flagKey) => dispatcher.onDecision({
          type: 'flag', userId, attributes: {},
          decisionInfo: { flagKey, variationKey: 'on', ruleKey: 'rule', enabled: true },
        });
        send('user_8', 'internal_flag');
        dispatcher.track('Purchase', { amount: 10 }, { user_id: 'user_7' });
        dispatcher.track('Opened', undefined, { user_id: 'user_7' });
        dispatcher.track('Installed', {}, { device_id: 'device-7' });
        dispatcher.identify({ plan: 'pro' }, { user_id: 'user_7', device_id: 'device-7' });
        return dispatcher.flush();
      }).then(() => {
        const { decisions, tracked } = dispatcher.stats();
        console.log(JSON.stringify([decisions.ignored, decisions.invalid, tracked.invalid]));
      });`;
    const { events, stdout } = await runFragment(t, 'redaction.js', CLIENT + DECIDE + others);
    const hidden = (id) => id && createHmac('sha256', 'readme-secret').update(id).digest('hex');
    assert.deepEqual(
      events.map((event) => [event.event_type, event.user_id, event.device_id]),
      [
        ['$identify', 'user_9'],
        ['Experiment Viewed', 'user_9'],
        ['Purchase', 'user_7'],
        ['Opened', 'user_7'],
        ['Installed', undefined, 'device-7'],
        ['$identify', 'user_7', 'device-7'],
      ].map(([type, user, device]) => [type, hidden(user), hidden(device)]),
    );
    assert.deepEqual(JSON.parse(stdout), [1, 0, 0]);
  });

  it('of a fleet', async (t) => {
    const redis = await startRedis(t);
    const env = { REDIS_URL: `redis://127.0.0.1:${redis.port}` };
    const close = 'decided.then(() => dispatcher.close()).then(() => redis.quit());\n';
    for (const expected of [DELIVERED, []]) {
      const { sent } = await runFragment(t, 'fleet.js', CLIENT + DECIDE + close, {}, env);
      assert.deepEqual(types(sent), expected);
    }
  });

  it('of a spool', async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-readme-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const env = { SPOOL_DIRECTORY: path.join(folder, 'spool') };
    const title = 'with-spool.js';
    // The exit leaves the decision, which the next process delivers.
    const exit = 'decided.then(() => process.exit());\n';
    const left = await runFragment(t, title, CLIENT + DECIDE + exit, {}, env);
    assert.deepEqual(left.sent, []);
    const next = await runFragment(
      t,
      title,
      'setTimeout(() => dispatcher.close(), 500);\n',
      {},
      env,
    );
    assert.deepEqual(types(next.sent), DELIVERED);
  });

  it('of the older APIs', async (t) => {
    const ask =
      "optimizely.onReady().then(() => optimizely.isFeatureEnabled('homepage_banner', 'user_9'));\n";
    const { sent } = await runFragment(t, 'older.js', CLIENT + ask);
    assert.deepEqual(sent[0], ['$identify', 'user_9', { '[Optimizely] homepage_banner': 'on' }]);
  });

  for (const title of ['unit-test.js', 'delivery-test.js']) {
    it(`of a test (${title})`, async (t) => {
      const files = { 'optimizely.js': code('optimizely.js'), [title]: code(title) };
      const { stdout, sent } = await run(t, files, title, { NODE_TEST_CONTEXT: '' });
      assert.match(stdout, /^# pass 1$/m);
      assert.deepEqual(sent, []); // nothing reaches Amplitude
    });
  }

  it('of a debug log', async (t) => {
    const { stdout } = await runFragment(t, 'debug.js', CLIENT + DECIDE);
    assert.match(stdout, /decision \(flag\) of user_9 on checkout_flow = one_page: queued/);
  });

  it('of a subscription', async (t) => {
    const more = "require('./dispatcher.js');\n" + DECIDE;
    const { stdout } = await runFragment(t, 'follow.js', more, { 'dispatcher.js': DISPATCHER });
    assert.equal(stdout, 'user_9 checkout_flow one_page: queued\n');
  });

  it('of SDK 6', async (t) => {
    const decide = `optimizely.onReady().then(() =>
      optimizely.createUserContext('user_9').decide('checkout_flow'));\n`;
    assert.deepEqual(types((await runFragment(t, 'sdk6.js', decide)).sent), DELIVERED);
    const sdk = require('@optimizely/optimizely-sdk');
    assert.equal(sdk.enums, undefined);
    assert.throws(() => sdk.createInstance({ sdkKey: SDK_KEY }), /Invalid config manager/);
  });

  it('of other events', async (t) => {
    const { sent } = await runFragment(t, 'purchase.mjs', 'process.exit();\n');
    assert.deepEqual(sent, [['Purchase', 'user_9', { amount: 10 }]]);
  });

  it('of Prometheus', async (t) => {
    const more = `${DECIDE}
      decided
        .then(() => ['user_9', 'user_8'].forEach((id) => dispatcher.track('Order', {}, { user_id: id })))
        .then(() => dispatcher.flush())
        .then(() => require('prom-client').register.metrics())
        .then(console.log);`;
    const { stdout } = await runFragment(t, 'prometheus.js', more, { 'dispatcher.js': DISPATCHER });
    assert.match(stdout, /^optimizely_amplitude_decisions_total\{outcome="delivered"\} 1$/m);
    assert.match(stdout, /^optimizely_amplitude_decisions_total\{outcome="dropped"\} 0$/m);
    assert.match(stdout, /^optimizely_amplitude_dropped_decisions_total\{reason="expired"\} 0$/m);
    assert.match(stdout, /^optimizely_amplitude_health\{state="ok"\} 1$/m);
    assert.match(stdout, /^optimizely_amplitude_health\{state="configuration"\} 0$/m);
    assert.match(stdout, /^optimizely_amplitude_pending_decisions 0$/m);
    assert.match(stdout, /^optimizely_amplitude_tracked_events_total\{outcome="delivered"\} 2$/m);
    assert.match(stdout, /^optimizely_amplitude_tracked_events_total\{outcome="invalid"\} 0$/m);
    assert.doesNotMatch(stdout, /tracked_events_total\{outcome="(deduplicated|seen|accepted)"/);
    assert.match(stdout, /^optimizely_amplitude_pending_events 0$/m);
    assert.match(stdout, /^optimizely_amplitude_oldest_pending_seconds 0$/m);
    assert.match(stdout, /^optimizely_amplitude_store_failing 0$/m);
    assert.match(stdout, /^optimizely_amplitude_spool_failing 0$/m);
    const [, rules] = /^```yaml\n(groups:.*?)^```$/ms.exec(read('docs/metrics.md'));
    const names = rules.match(/\boptimizely_amplitude_\w+/g);
    assert.ok(names.length >= 8);
    for (const [, outcome] of rules.matchAll(/outcome="(\w+)"/g)) {
      assert.match(stdout, new RegExp(`decisions_total\\{outcome="${outcome}"\\} 0`));
    }
    names.forEach((name) => assert.match(stdout, new RegExp(`^${name}\\b`, 'm')));
  });

  it('of OpenTelemetry', async (t) => {
    const files = { 'dispatcher.js': OPEN_TELEMETRY + DISPATCHER };
    const { stdout } = await runFragment(t, 'opentelemetry.js', DECIDE, files);
    assert.deepEqual(JSON.parse(stdout), [
      ['optimizely_amplitude.decisions', 'ignored', 0],
      ['optimizely_amplitude.decisions', 'invalid', 0],
      ['optimizely_amplitude.decisions', 'deduplicated', 0],
      ['optimizely_amplitude.decisions', 'delivered', 1],
      ['optimizely_amplitude.decisions', 'dropped', 0],
      ['optimizely_amplitude.tracked', 'ignored', 0],
      ['optimizely_amplitude.tracked', 'invalid', 0],
      ['optimizely_amplitude.tracked', 'delivered', 0],
      ['optimizely_amplitude.tracked', 'dropped', 0],
      ...REASONS.map((reason) => ['optimizely_amplitude.dropped', reason, 0]),
      ['optimizely_amplitude.pending', 0],
      ['optimizely_amplitude.tracked_pending', 0],
      ['optimizely_amplitude.oldest_pending', 0],
      ['optimizely_amplitude.health', 'ok', 1],
      ['optimizely_amplitude.health', 'retrying', 0],
      ['optimizely_amplitude.health', 'configuration', 0],
      ['optimizely_amplitude.store_failing', 0],
      ['optimizely_amplitude.spool_failing', 0],
    ]);
  });

  it('of signals', async (t) => {
    const files = {
      'optimizely.js': code('optimizely.js'),
      'signals.js': `${code('signals.js')}${CLIENT}${DECIDE}decided.then(() => console.log('decided', typeof stopListening));\n`,
    };
    const { child, sent } = await start(t, files, 'signals.js');
    await child.printed('decided');
    child.kill('SIGINT');
    assert.deepEqual(await child.ended, { code: null, signal: 'SIGINT' });
    assert.match(child.output, /^port \d+\ndecided function\n$/);
    assert.deepEqual(types(sent()), DELIVERED);
  });

  it('of audiences', async (t) => {
    const server = await startCohortServer(t);
    server.set('7khm89cz', ['user_9']);
    const more = `
exports.ready.then(([{ cohorts }]) => {
  console.log(cohorts.amplitude_power_user.state, exports.audiences.attributes('user_9'));
  return exports.audiences.close();
});`;
    const files = {
      'audiences.js': `
process.env.AMPLITUDE_COHORTS_URL = ${JSON.stringify(server.url)};
process.env.AMPLITUDE_API_KEY = ${JSON.stringify(server.options.apiKey)};
process.env.AMPLITUDE_SECRET_KEY = ${JSON.stringify(server.options.secretKey)};
${code('audiences.js')}${more}`,
      'optimizely.js': code('optimizely.js'),
    };
    const { stdout } = await run(t, files, 'audiences.js');
    assert.equal(stdout, 'fresh { amplitude_power_user: true }\n');
  });

  it('of a webhook', async (t) => {
    const server = await startCohortServer(t);
    const { lastModified } = server.set('7khm89cz', ['user_9']);
    const message = messageOf('7khm89cz', ['user_2'], { time: lastModified / 1000 + 60 });
    const more = `
const { ready } = require('./audiences.js');
Promise.all([ready, require('node:events').once(exports.server, 'listening')]).then(async () => {
  const { status } = await fetch(\`http://127.0.0.1:\${exports.server.address().port}/\`, {
    method: 'POST',
    headers: { 'x-webhook-secret': process.env.AMPLITUDE_WEBHOOK_SECRET },
    body: ${JSON.stringify(JSON.stringify(message))},
  });
  console.log(status, audiences.attributes('user_2'));
  exports.server.close();
  exports.server.closeAllConnections?.();
  return audiences.close();
});`;
    const files = {
      'audiences.js': `
process.env.AMPLITUDE_COHORTS_URL = ${JSON.stringify(server.url)};
process.env.AMPLITUDE_API_KEY = ${JSON.stringify(server.options.apiKey)};
process.env.AMPLITUDE_SECRET_KEY = ${JSON.stringify(server.options.secretKey)};
process.env.AMPLITUDE_WEBHOOK_SECRET = 'a-secret-of-this-test';
process.env.PORT = '0';
${code('audiences.js')}`,
      'optimizely.js': code('optimizely.js'),
      'webhook.js': `require('./audiences.js');\n${code('webhook.js')}${more}`,
    };
    const { stdout } = await run(t, files, 'webhook.js');
    assert.match(stdout, /^200 \{ amplitude_power_user: true \}$/m);
  });

  it('of audiences of a fleet', async (t) => {
    const redis = await startRedis(t);
    const server = await startCohortServer(t);
    server.set('7khm89cz', ['user_9']);
    const more = `
exports.audiences.ready().then(async ({ store, cohorts }) => {
  console.log(store.state, cohorts.amplitude_power_user.size);
  await exports.audiences.close();
  redis.disconnect();
});`;
    const env = {
      REDIS_URL: `redis://127.0.0.1:${redis.port}`,
      AMPLITUDE_COHORTS_URL: server.url,
      AMPLITUDE_API_KEY: server.options.apiKey,
      AMPLITUDE_SECRET_KEY: server.options.secretKey,
    };
    const { stdout } = await runFragment(t, 'fleet-audiences.js', more, {}, env);
    assert.equal(stdout, 'ok 1\n');
  });

  it('runs, all of it', () => assert.deepEqual([...BLOCKS.keys()].sort(), [...ran].sort()));
});

// ---- links -------------------------------------------------------------------------------------------

/** The anchors of a page, as GitHub makes them of its headings. */
function anchorsOf(text) {
  const anchors = new Set();
  for (const [, heading] of text.replace(FENCED, '').matchAll(/^#+ (.*)$/gm)) {
    const anchor = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    assert.ok(!anchors.has(anchor), `two headings are #${anchor}`);
    anchors.add(anchor);
  }
  return anchors;
}

/** What is wrong with the relative links of a page: texts. */
function brokenLinks(page, text) {
  const broken = [];
  const prose = text.replace(FENCED, '').replace(/`[^`\n]*`/g, '');
  for (const [, target] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:/.test(target)) {
      continue;
    }
    const [file, anchor] = target.split('#');
    const linked = file === '' ? page : path.posix.join(path.posix.dirname(page), file);
    if (!fs.existsSync(path.join(ROOT, linked))) {
      broken.push(`${page}: there is no ${linked}`);
    } else if (anchor !== undefined && !anchorsOf(read(linked)).has(anchor)) {
      broken.push(`${page}: ${linked} has no #${anchor}`);
    }
  }
  return broken;
}

describe('the links', () => {
  for (const page of [...LINKING_PAGES, 'test/bench/README.md']) {
    it(`of ${page} work`, () => assert.deepEqual(brokenLinks(page, read(page)), []));
  }

  it('would be found if they were broken', () => {
    const text = '[a](docs/none.md) [b](README.md#none) [c](#use) `[d](none)`\n';
    assert.deepEqual(brokenLinks('README.md', text), [
      'README.md: there is no docs/none.md',
      'README.md: README.md has no #none',
    ]);
  });

  it('lead from the README to every page', () => {
    const readme = read('README.md');
    for (const page of pagesIn('docs')) {
      assert.ok(readme.includes(`(${page})`), page);
    }
  });
});

// ---- tables, and what they list ----------------------------------------------------------------------

test('the README is short', () => {
  assert.ok(read('README.md').trimEnd().split('\n').length <= MAX_README_LINES);
});

describe('the documentation names', () => {
  let dispatcher;

  before(() => {
    dispatcher = createDispatcher({ apiKey: 'key', serverUrl: 'http://127.0.0.1:9/2/httpapi' });
  });

  after(() => dispatcher.close());

  it('every method of audiences', async () => {
    const audiences = createAudiences({ source: 'file', cohorts: { name: 'none.csv' } });
    const names = Object.getOwnPropertyNames(Object.getPrototypeOf(audiences));
    names
      .filter((name) => name !== 'constructor')
      .forEach((name) => namesInRow('docs/audiences.md', name));
    await audiences.close();
  });

  const namesInRow = (page, name) =>
    assert.match(read(page), new RegExp(`^\\|[^|]*\`[^|]*(?<![\\w-])${name}\\b`, 'm'), name);

  it('every export and method', () => {
    const names = [
      ...Object.keys(require('../../lib/index.js')),
      ...Object.keys(require('../../lib/lambda.js')),
      ...Object.getOwnPropertyNames(Object.getPrototypeOf(dispatcher)),
    ];
    for (const name of names.filter((name) => name !== 'constructor')) {
      namesInRow('docs/options.md', name);
    }
  });

  it('every reason of a drop', () => {
    const { total, ...reasons } = dispatcher.stats().decisions.dropped;
    assert.equal(total, 0);
    Object.keys(reasons).forEach((reason) => namesInRow('docs/answers.md', reason));
  });

  it('every count', () => {
    const { decisions, ...others } = dispatcher.stats();
    const names = [
      ...Object.keys(others),
      ...Object.keys(decisions).map((name) => `decisions.${name}`),
    ];
    names.forEach((name) => namesInRow('docs/metrics.md', name));
  });

  it('log lines that exist', () => {
    const sources = filesBelow(path.join(ROOT, 'src', 'core'), '.c')
      .map((name) => read(`src/core/${name}`))
      .concat(read('lib/store.js'), read('src/host/spool/spooling.c'))
      .join('')
      .replace(/"\s*(?:PRI\w+\s*)?"/g, '') // a literal in several parts
      .replaceAll('\\"', '"');
    const [section] = /^## Log lines\n.*?(?=^## )/ms.exec(read('docs/troubleshooting.md'));
    const cells = [...section.matchAll(/^\| ([^|]*`[^|]*) \|/gm)].map(([, cell]) => cell);
    assert.ok(cells.length > 8);
    for (const [, line] of cells.join().matchAll(/`([^`]+)`/g)) {
      const [, reason] = /^dropped \((\w+)\)$/.exec(line) ?? [];
      if (reason !== undefined) {
        assert.ok(REASONS.includes(reason), line);
      } else if (!/^\d+:?$/.test(line)) {
        assert.ok(sources.includes(line), line);
      }
    }
  });

  it('the versions of the clients that the fleet is tested with', () => {
    const { devDependencies } = require('../../package.json');
    for (const name of ['redis', 'ioredis', 'iovalkey', '@valkey/valkey-glide']) {
      assert.ok(read('docs/fleet.md').includes(`\`${name}\` ${devDependencies[name]}`), name);
    }
  });

  it('every option of the commands', () => {
    const pages = { agent: 'agent', collector: 'collector', doctor: 'collector', spool: 'spool' };
    for (const [command, page] of Object.entries(pages)) {
      const { OPTIONS } = require(`../../lib/cli/${command}/command.js`);
      Object.keys(OPTIONS).forEach((name) => namesInRow(`docs/${page}.md`, `--${name}`));
    }
  });

  it('every package that a build needs', () => {
    const { MANAGERS } = require('../../lib/system.js');
    for (const { systems, install, build } of Object.values(MANAGERS)) {
      const row = `| ${systems} | \`${install.at(-1)} ${build}\` |`;
      assert.ok(read('docs/install.md').includes(row), row);
    }
  });

  it('every step of npm test', () => {
    const names = [...read('test/run.js').matchAll(/^ {2,4}(?:\{ )?name: '([\w-]+)'/gm)];
    assert.ok(names.length > 10);
    names.forEach(([, name]) => namesInRow('CONTRIBUTING.md', name));
  });

  it('no script that does not exist', () => {
    const { scripts } = require('../../package.json');
    for (const page of [...LINKING_PAGES, 'test/bench/README.md']) {
      for (const [, name] of read(page).matchAll(/\bnpm run (\w[\w-]*)/g)) {
        assert.ok(scripts[name], `${page}: npm run ${name}`);
      }
    }
    assert.ok(scripts.test);
  });
});
