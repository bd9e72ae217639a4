'use strict';

/** Listening to Agents: what is read of their streams, and when they are connected to again. */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { describe, it, test } = require('node:test');

const { listenToAgent } = require('../../lib/agent.js');
const { readNotification } = require('../../lib/agent/notification.js');
const { EventParser } = require('../../lib/agent/parser.js');
const { renderMetrics } = require('../../lib/cli/agent/metrics.js');
const { readSettings } = require('../../lib/cli/agent/settings.js');
const { createAgentDecision, startAgent } = require('../support/agent/agent.js');
const { quietLogger, recordingLogger } = require('../support/dispatcher/loggers.js');
const { start } = require('../support/dispatcher/harness.js');
const { createNotification } = require('../support/optimizely/sdk.js');

describe('a stream of events', () => {
  const parse = (...pieces) => {
    const messages = [];
    const parser = new EventParser((message) => messages.push(message));
    pieces.forEach((piece) => parser.push(piece));
    return messages;
  };

  it('is read wherever it is cut', () => {
    const text =
      'data: {"a":1}\n\n: comment\nevent: x\ndata:{"b":\r\ndata: 2}\r\n\r\nid: 7\n\ndata: \n\n';
    const expected = ['{"a":1}', '{"b":\n2}', ''];
    assert.deepEqual(parse(text), expected);
    assert.deepEqual(parse(...text), expected);
    for (let at = 0; at < text.length; at++) {
      assert.deepEqual(parse(text.slice(0, at), text.slice(at)), expected);
    }
  });

  it('is left when a message does not end', () => {
    const piece = 'x'.repeat(1024 * 1024);
    const parser = new EventParser(() => {});
    parser.push('data: ');
    assert.throws(() => {
      for (let i = 0; i < 20; i++) {
        parser.push(piece);
      }
    }, /a message of more than 16777216 characters/);
  });
});

describe("Agent's notifications", () => {
  it('become those of the JavaScript SDK', () => {
    for (const decision of [
      {},
      { variationKey: null, ruleKey: null, enabled: false },
      { variables: { a: [1] }, reasons: ['x'] },
    ]) {
      const { experimentId, variationId, ...decisionInfo } = createNotification(
        'user_1',
        decision,
      ).decisionInfo;
      assert.ok(experimentId && variationId, 'Agent does not tell these');
      assert.deepEqual(readNotification(createAgentDecision('user_1', decision)), {
        type: 'flag',
        userId: 'user_1',
        attributes: {},
        decisionInfo,
      });
    }
  });

  it('of the older APIs, too: Go has a feature one level deeper', () => {
    const user = { ID: 'user_1', Attributes: { plan: 'pro' } };
    const feature = { featureKey: 'f', featureEnabled: true, source: 'rollout', sourceInfo: {} };
    assert.deepEqual(
      readNotification({ Type: 'feature', UserContext: user, DecisionInfo: { feature } }),
      { type: 'feature', userId: 'user_1', attributes: { plan: 'pro' }, decisionInfo: feature },
    );
    assert.deepEqual(
      readNotification({
        Type: 'ab-test',
        UserContext: { ID: 'user_1', Attributes: null },
        DecisionInfo: { experimentKey: 'e', variationKey: '' },
      }),
      {
        type: 'ab-test',
        userId: 'user_1',
        attributes: {},
        decisionInfo: { experimentKey: 'e', variationKey: null },
      },
    );
  });

  it('that are no decisions are told by their shape', () => {
    for (const message of [
      { EventKey: 'purchase', UserContext: { ID: 'user_1' }, EventTags: {} },
      { Type: 'project_config_update', Revision: '7' },
      { Type: 'flag', UserContext: {}, DecisionInfo: {} },
      { Type: 'flag', UserContext: { ID: 'user_1' } },
      null,
      7,
      'text',
      [],
    ]) {
      assert.equal(readNotification(message), null);
    }
  });
});

describe('listening', () => {
  async function listen(t, agents, options = {}) {
    const { amplitude, dispatcher } = await start(t);
    const logger = recordingLogger();
    const listener = listenToAgent({
      url: agents.map(({ url }) => url),
      sdkKey: 'sdk-key',
      dispatcher,
      logger,
      logLevel: 'info',
      ...options,
    });
    t.after(() => listener.close());
    return { amplitude, dispatcher, listener, logger };
  }

  async function until(condition) {
    while (!condition()) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  const agentFor = async (t, refusal) => {
    const agent = await startAgent(refusal);
    t.after(() => agent.stop());
    return agent;
  };

  it('gives decisions to the dispatcher, and counts everything else', async (t) => {
    const agent = await agentFor(t);
    const { amplitude, dispatcher, listener } = await listen(t, [agent]);
    await agent.listened();
    assert.equal(agent.requests[0]['x-optimizely-sdk-key'], 'sdk-key');
    assert.equal(agent.requests[0].authorization, undefined);
    await agent.stream(createAgentDecision('user_1', { variationKey: 'größe' }));
    await agent.stream({ Type: 'project_config_update', Revision: '7' });
    await agent.write('data: {"Type":\n\n');
    await agent.stream(createAgentDecision('user_2'));
    await until(() => listener.status()[0].decisions === 2);
    const { awayMillis, ...status } = listener.status()[0];
    assert.ok(awayMillis < 10_000);
    assert.deepEqual(status, {
      url: `${agent.url}/v1/notifications/event-stream`,
      state: 'listening',
      decisions: 2,
      others: 1,
      unreadable: 1,
      connections: 1,
      lastError: null,
    });
    await dispatcher.flush();
    assert.deepEqual(
      amplitude.store
        .events({ type: 'Experiment Viewed' })
        .map((event) => [event.user_id, event.event_properties.variation_key]),
      [
        ['user_1', 'größe'],
        ['user_2', 'one_page'],
      ],
    );
    listener.close();
    listener.close();
    assert.equal(listener.status()[0].state, 'closed');
  });

  it('sends once what Agents that share their notifications stream each, and misses nothing when one restarts', async (t) => {
    const agents = [await agentFor(t), await agentFor(t)];
    const { amplitude, dispatcher, listener } = await listen(t, agents);
    await Promise.all(agents.map((agent) => agent.listened()));
    const stream = async (from, to) => {
      for (let i = from; i < to; i++) {
        for (const agent of agents) {
          await agent.stream(createAgentDecision(`user_${i}`));
        }
      }
    };
    await stream(0, 100);
    await agents[0].stop();
    await stream(100, 200);
    await agents[0].start();
    await agents[0].listened();
    await stream(200, 300);
    await until(() => listener.status().every(({ decisions }, i) => decisions === [200, 300][i]));
    await dispatcher.flush();
    assert.equal(amplitude.store.events({ type: 'Experiment Viewed' }).length, 300);
    assert.equal(dispatcher.stats().decisions.deduplicated, 200);
  });

  it('connects again when an Agent restarts, and tells how long nobody listened', async (t) => {
    const agent = await agentFor(t);
    const { listener, logger } = await listen(t, [agent]);
    await agent.listened();
    await agent.stream(createAgentDecision('user_1'));
    await until(() => listener.status()[0].state === 'listening');
    const before = listener.status()[0].awayMillis;
    await agent.stop();
    await until(() => listener.status()[0].state === 'waiting');
    const stopped = performance.now();
    assert.match(listener.status()[0].lastError.message, /closed|ECONN|aborted|hang up/);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await agent.start();
    await agent.listened();
    const away = performance.now() - stopped;
    await agent.stream(createAgentDecision('user_2'));
    await until(() => listener.status()[0].decisions === 2);
    const { awayMillis, connections } = listener.status()[0];
    assert.equal(connections, 2);
    assert.ok(awayMillis - before >= 290, `${awayMillis - before} ms`);
    assert.ok(awayMillis - before <= away + 50, `${awayMillis - before} of ${away} ms`);
    const told = logger.lines.filter(({ message }) => message.includes('nobody listened for'));
    assert.equal(told.length, 1);
    assert.match(told[0].message, /and what it decided meanwhile is not known/);
  });

  it("says what to do about the deadline of Go's server, which cuts a stream every ten seconds", async (t) => {
    const agent = await agentFor(t);
    const { listener, logger } = await listen(t, [agent]);
    await agent.listened();
    await agent.stream(createAgentDecision('user_1'));
    await until(() => listener.status()[0].decisions === 1);
    agent.cut();
    await until(() => agent.requests.length === 2);
    const [{ lastError }] = listener.status();
    assert.match(
      lastError.message,
      /cut its stream after \d+ s, .*OPTIMIZELY_SERVER_WRITETIMEOUT=0s/,
    );
    assert.ok(logger.warnings.some((message) => message.includes(lastError.message)));
    await agent.stream(createAgentDecision('user_2'));
    await until(() => listener.status()[0].decisions === 2);
  });

  it('takes a connection without an answer for a stream: an Agent answers with its first event', async (t) => {
    const agent = await agentFor(t);
    const { listener } = await listen(t, [agent]);
    await until(() => listener.status()[0].state === 'listening');
    assert.equal(listener.status()[0].decisions, 0);
    assert.equal(agent.requests.length, 1);
  });

  it('says why an Agent refuses, and was away all the time', async (t) => {
    const refusals = {
      '403 \\(Notification stream not enabled\\): .*OPTIMIZELY_API_ENABLENOTIFICATIONS=1': [
        403,
        'Notification stream not enabled',
      ],
      '401: is the access token right\\?': [401, ''],
      '422 .*is the SDK key right': [422, 'x'.repeat(100_000)],
      '404 .*is this the URL of an Optimizely Agent': [404, 'nothing here'],
      'not with a stream: is this the URL': [200, '<html>'],
    };
    for (const [expected, refusal] of Object.entries(refusals)) {
      const agent = await startAgent(() => refusal);
      const { listener, logger } = await listen(t, [agent]);
      await until(() => agent.requests.length >= 3);
      const [{ lastError, state, connections, awayMillis }] = listener.status();
      assert.match(lastError.message, new RegExp(expected));
      assert.ok(lastError.message.length < 500);
      assert.notEqual(state, 'listening');
      assert.equal(connections, 0);
      assert.ok(awayMillis > 0);
      assert.equal(logger.lines.filter(({ level }) => level === 'warn').length, 1, 'once a minute');
      listener.close();
      await agent.stop();
    }
  });

  it('asks for a token for each connection, which no message has', async (t) => {
    let tokens = 0;
    const agent = await agentFor(t, ({ authorization }) =>
      authorization === 'Bearer token-2' ? null : [401, 'expired'],
    );
    const { listener, logger } = await listen(t, [agent], {
      accessToken: async () => {
        tokens++;
        if (tokens === 1) {
          throw new Error('no such service');
        }
        return `token-${tokens}`;
      },
    });
    await agent.listened();
    await agent.stream(createAgentDecision('user_1'));
    await until(() => listener.status()[0].decisions === 1);
    const text = logger.lines.map(({ message }) => message).join('\n');
    assert.match(text, /it cannot be asked: no such service/);
    assert.ok(!text.includes('token-'));
  });

  it('survives a token that is none, a message without an end, and an Agent that is not there', async (t) => {
    let token = 'a\r\nb';
    const agent = await agentFor(t);
    const { listener } = await listen(t, [agent, { url: 'http://127.0.0.1:9' }], {
      accessToken: () => token,
    });
    await until(() => listener.status().every(({ lastError }) => lastError !== null));
    assert.match(listener.status()[0].lastError.message, /it cannot be asked: Invalid character/);
    token = 'token';
    await until(() => /ECONNREFUSED/.test(listener.status()[1].lastError.message));
    await agent.listened();
    await agent.write(`data: ${'x'.repeat(17 * 1024 * 1024)}`);
    await until(() => /a message of more/.test(listener.status()[0].lastError.message));
    await until(() => agent.requests.length === 2);
    await agent.stream(createAgentDecision('user_1'));
    await until(() => listener.status()[0].decisions === 1);
  });

  it('pauses between attempts longer and longer, up to 5 s', async (t) => {
    const server = net.createServer((socket) => socket.destroy());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const times = [];
    server.on('connection', () => times.push(performance.now()));
    await listen(t, [{ url: `http://127.0.0.1:${server.address().port}` }]);
    await until(() => times.length >= 6);
    const gaps = times.slice(1).map((time, i) => time - times[i]);
    assert.ok(gaps.at(-1) > 2 * gaps[0], gaps.join());
  });

  it('refuses what is wrong, by name', () => {
    const right = {
      url: 'http://agent:8080',
      sdkKey: 'sdk-key',
      dispatcher: { onDecision() {} },
      logger: quietLogger,
    };
    const wrong = {
      url: [
        undefined,
        [],
        7,
        'agent:8080',
        'ftp://agent',
        'http://u:p@agent',
        ['http://a', 'http://a/'],
      ],
      sdkKey: [undefined, '', 7, 'a key', 'key\r\nX: y'],
      dispatcher: [undefined, null, {}, () => {}],
      accessToken: ['', 'a b', 7, {}],
      logger: [{}, 7],
      logLevel: ['loud'],
    };
    for (const [name, values] of Object.entries(wrong)) {
      for (const value of values) {
        assert.throws(() => listenToAgent({ ...right, [name]: value }), {
          name: 'TypeError',
          code: 'ERR_OA_OPTION',
          message: new RegExp(`^option '${name}'`),
        });
      }
    }
    assert.throws(() => listenToAgent({ ...right, urls: [] }), /unknown option 'urls'.*'url'/);
    assert.throws(() => listenToAgent(), /listenToAgent\(\{ url, sdkKey, dispatcher \}\)/);
    for (const secret of ['s3cret key', 's3cret\n']) {
      const hides = ({ message }) => !message.includes('s3cret');
      assert.throws(() => listenToAgent({ ...right, sdkKey: secret }), hides);
      assert.throws(() => listenToAgent({ ...right, accessToken: secret }), hides);
      assert.throws(() => listenToAgent({ ...right, url: 'http://me:s3cret@agent' }), hides);
    }
  });

  it('makes the URL of the stream from that of an Agent', (t) => {
    const urlOf = (url) => {
      const listener = listenToAgent({
        url,
        sdkKey: 'key',
        dispatcher: { onDecision() {} },
        logger: quietLogger,
      });
      t.after(() => listener.close());
      return listener.status().map((status) => status.url);
    };
    const stream = 'http://127.0.0.1:9/v1/notifications/event-stream';
    assert.deepEqual(urlOf('http://127.0.0.1:9'), [stream]);
    assert.deepEqual(urlOf(['http://127.0.0.1:9/#x', 'http://127.0.0.1:9/agent/']), [
      stream,
      'http://127.0.0.1:9/agent/v1/notifications/event-stream',
    ]);
    assert.deepEqual(urlOf(`${stream}?x=1`), [`${stream}?x=1`]);
  });
});

describe('the settings of the bridge', () => {
  const needed = { url: ['http://agent'], 'sdk-key': 'key' };

  it('come from flags, above the environment, above a file', async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-agent-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const file = path.join(folder, 'bridge.js');
    fs.writeFileSync(
      file,
      `module.exports = {
        url: 'http://file', sdkKey: 'file', apiKey: 'file', flushQueueSize: 1, useBatch: true, port: 1,
        resolveUser: ({ userId }) => ({ userId }),
      };`,
    );
    const env = {
      OPTIMIZELY_AGENT_URL: 'http://one, http://two',
      AMPLITUDE_API_KEY: '12345',
      OA_OPTION_FLUSH_QUEUE_SIZE: '2',
      OA_OPTION_DEDUPE: '{"windowMillis":5}',
      OA_OPTION_EVENT_TYPE: 'Seen it',
    };
    const { options, ...own } = await readSettings(
      {
        config: file,
        'sdk-key': 'flag',
        format: 'exposure,identify',
        spool: '/var/lib/bridge',
        port: '0',
        option: ['flushQueueSize=3', 'proxy='],
      },
      env,
    );
    assert.deepEqual(own, {
      url: ['http://one', 'http://two'],
      sdkKey: 'flag',
      accessToken: undefined,
      port: 0,
      host: '127.0.0.1',
    });
    const { resolveUser, ...rest } = options;
    assert.equal(typeof resolveUser, 'function');
    assert.deepEqual(rest, {
      apiKey: '12345',
      format: ['exposure', 'identify'],
      spool: { directory: '/var/lib/bridge' },
      flushQueueSize: 3,
      proxy: '',
      useBatch: true,
      dedupe: { windowMillis: 5 },
      eventType: 'Seen it',
    });
    const esm = path.join(folder, 'bridge.mjs');
    fs.writeFileSync(esm, "export default { accessToken: () => 'token' };");
    const { accessToken, port } = await readSettings({ ...needed, config: esm }, {});
    assert.deepEqual([accessToken(), port], ['token', null]);
  });

  it('are refused with what to do', async () => {
    const refused = (flags, env, message) => assert.rejects(readSettings(flags, env), { message });
    await refused(
      {},
      {},
      '--url is missing, and OPTIMIZELY_AGENT_URL of the environment is not set',
    );
    await refused(
      { url: ['http://agent'] },
      {},
      '--sdk-key is missing, and OPTIMIZELY_SDK_KEY of the environment is not set',
    );
    await refused(
      { ...needed, option: ['dedupe'] },
      {},
      "--option must be name=value, not 'dedupe'",
    );
    for (const port of ['x', '65536', '-1']) {
      await refused(
        { ...needed, port },
        {},
        `--port must be a number from 0 to 65535, not '${port}'`,
      );
    }
    await assert.rejects(readSettings({ ...needed, config: '/none/bridge.js' }, {}), /bridge\.js/);
  });
});

test('the metrics are in the format of Prometheus, with the names of docs/metrics.md', async (t) => {
  const { dispatcher } = await start(t);
  dispatcher.onDecision(createNotification('user_1'));
  dispatcher.onDecision(createNotification('user_1'));
  const text = renderMetrics(
    [
      {
        url: 'http://a/"\\',
        state: 'listening',
        decisions: 2,
        unreadable: 1,
        connections: 3,
        awayMillis: 1500,
      },
      {
        url: 'http://b/',
        state: 'waiting',
        decisions: 0,
        unreadable: 0,
        connections: 0,
        awayMillis: 0,
      },
    ],
    dispatcher.stats(),
  );
  const line =
    /^(# (HELP|TYPE) \w+ .+|[a-z_]+(\{\w+="(\\.|[^"\\])*"(,\w+="(\\.|[^"\\])*")*\})? [\d.e+-]+)$/;
  const lines = text.trimEnd().split('\n');
  lines.forEach((each) => assert.match(each, line));
  for (const expected of [
    'optimizely_amplitude_agent_listening{url="http://a/\\"\\\\"} 1',
    'optimizely_amplitude_agent_listening{url="http://b/"} 0',
    'optimizely_amplitude_agent_away_seconds_total{url="http://a/\\"\\\\"} 1.5',
    'optimizely_amplitude_decisions_total{outcome="deduplicated"} 1',
    'optimizely_amplitude_decisions_total{outcome="delivered"} 0',
    'optimizely_amplitude_pending_decisions 1',
    'optimizely_amplitude_health{state="ok"} 1',
    'optimizely_amplitude_dropped_decisions_total{reason="expired"} 0',
    'optimizely_amplitude_store_failing 0',
    'optimizely_amplitude_spool_failing 0',
  ]) {
    assert.ok(lines.includes(expected), `${expected}\n${text}`);
  }
  const store = { state: 'failing' };
  const failing = renderMetrics([], {
    ...dispatcher.stats(),
    store,
    spool: { error: 'the disk is full' },
  });
  assert.match(failing, /^optimizely_amplitude_store_failing 1$/m);
  assert.match(failing, /^optimizely_amplitude_spool_failing 1$/m);
  const page = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'metrics.md'), 'utf8');
  const names = lines.flatMap((each) => /^# TYPE optimizely_amplitude_(\w+)/.exec(each)?.[1] ?? []);
  for (const name of names.filter((each) => !each.startsWith('agent_'))) {
    assert.ok(page.includes(name.replace(/_total$/, '')), name);
  }
});

test('the container and the service use flags and variables that exist', () => {
  const { OPTIONS } = require('../../lib/cli/agent/command.js');
  const page = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'agent.md'), 'utf8');
  for (const name of ['Dockerfile', 'optimizely-amplitude-agent.service']) {
    const file = path.join(__dirname, '..', 'examples', 'agent', name);
    const text = fs.readFileSync(file, 'utf8');
    const [command] = /^(ENTRYPOINT|ExecStart=).*/m.exec(text);
    const flags = [...command.matchAll(/--([\w-]+)/g)].map(([, flag]) => flag);
    assert.ok(flags.length > 0);
    flags.forEach((flag) => assert.ok(Object.hasOwn(OPTIONS, flag), flag));
    for (const [variable] of text.matchAll(/\b(OPTIMIZELY|AMPLITUDE)_[A-Z_]+/g)) {
      assert.ok(page.includes(`\`${variable}\``), variable);
    }
  }
});
