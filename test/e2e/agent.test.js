'use strict';

/** The bridge as a program: Agents on one side, Amplitude on the other, each of which fails. */

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

const { startAmplitude } = require('../support/amplitude/server.js');
const { createAgentDecision, startAgent } = require('../support/agent/agent.js');
const { certificates } = require('../support/network/certificates.js');
const { request } = require('../support/network/request.js');
const { runChild, startChild } = require('../support/process/child.js');

const CLI = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js');
const EXAMPLES = path.join(__dirname, '..', 'examples', 'agent');
const DECISIONS = 200_000;

/** Start a bridge; returns its process, and what /healthz and /metrics answer. */
async function startBridge(t, agents, amplitude, args = [], env = {}) {
  const child = startChild(
    t,
    [
      CLI,
      'agent',
      ...agents.flatMap(({ url }) => ['--url', url]),
      '--port',
      '0',
      '--server-url',
      amplitude.httpapi,
      '--option',
      'proxy=',
      ...args,
    ],
    { env: { AMPLITUDE_API_KEY: 'test-key', OPTIMIZELY_SDK_KEY: 'sdk-key', ...env } },
  );
  await child.printed('Listening on http');
  const [, url] = /Listening on (\S+)/.exec(child.stdout);
  return {
    child,
    health: async () => (await request(`${url}/healthz`)).json,
    metrics: async () => (await request(`${url}/metrics`)).text,
    url,
  };
}

function temporaryFolder(t) {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-agent-')));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function until(condition) {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test(`${DECISIONS.toLocaleString('en')} decisions arrive once, while Amplitude is down and an Agent restarts`, async (t) => {
  const amplitude = await startAmplitude({
    recordBodies: false,
    maxEvents: 3 * DECISIONS,
    maxBytes: 2 ** 31,
  });
  const agents = [await startAgent(), await startAgent()];
  t.after(async () => {
    await Promise.all(agents.map((agent) => agent.stop()));
    await amplitude.close();
  });
  const { child, health, metrics } = await startBridge(t, agents, amplitude, [
    '--option',
    'flushIntervalMillis=200',
    '--option',
    'flushTimeoutMillis=50000', // the stand-in may be slower than what it stands for
  ]);
  await Promise.all(agents.map((agent) => agent.listened()));

  /** Each Agent streams its half of a range of users. */
  const stream = (from, to) =>
    Promise.all(
      agents.map(async (agent, which) => {
        for (let i = from + which; i < to; i += 2) {
          await agent.stream(createAgentDecision(`user_${i}`));
        }
      }),
    );
  const read = async () =>
    (await health()).agents.reduce((sum, { decisions }) => sum + decisions, 0);

  const third = Math.floor(DECISIONS / 3);
  await stream(0, third);
  amplitude.setFault(amplitude.faults.status(503));
  await stream(third, 2 * third);
  // Amplitude is down, and everything is read all the same.
  await until(async () => (await read()) === 2 * third);
  await until(async () => (await health()).amplitude.health === 'retrying');
  assert.ok((await health()).amplitude.pending > 0);

  await agents[1].stop();
  await new Promise((resolve) => setTimeout(resolve, 200));
  await agents[1].start();
  await agents[1].listened();
  await stream(2 * third, DECISIONS);
  await until(async () => (await read()) === DECISIONS);
  amplitude.setFault(null);

  const [first, second] = (await health()).agents;
  assert.deepEqual([first.connections, second.connections], [1, 2]);
  assert.ok(second.awayMillis - first.awayMillis >= 190, `${second.awayMillis} ms`);
  assert.match(
    child.output,
    /nobody listened for \d+ ms, and what it decided meanwhile is not known/,
  );
  assert.match(
    await metrics(),
    /^optimizely_amplitude_agent_connections_total\{url="http:[^"]+event-stream"\} 2$/m,
  );

  // What waits is delivered before the process ends.
  child.kill('SIGTERM');
  assert.deepEqual(await child.ended, { code: null, signal: 'SIGTERM' });
  const viewed = amplitude.store.events({ type: 'Experiment Viewed' });
  assert.equal(viewed.length, DECISIONS);
  assert.equal(new Set(viewed.map((event) => event.user_id)).size, DECISIONS);
});

test('what waits when a bridge is killed is delivered by the next one on its spool, once', async (t) => {
  const amplitude = await startAmplitude();
  const agent = await startAgent();
  t.after(async () => {
    await agent.stop();
    await amplitude.close();
  });
  const spool = path.join(temporaryFolder(t), 'spool');
  const args = ['--spool', spool, '--option', 'flushIntervalMillis=200'];
  amplitude.setFault(amplitude.faults.status(503));
  const killed = await startBridge(t, [agent], amplitude, args);
  await agent.listened();
  for (let i = 0; i < 1000; i++) {
    await agent.stream(createAgentDecision(`user_${i}`));
  }
  await until(async () => (await killed.health()).agents[0].decisions === 1000);
  killed.child.kill('SIGKILL');
  await killed.child.ended;

  amplitude.setFault(null);
  const next = await startBridge(t, [agent], amplitude, args);
  await until(() => amplitude.store.events({ type: 'Experiment Viewed' }).length === 1000);
  await until(async () => (await next.health()).amplitude.pending === 0);
  next.child.kill('SIGTERM');
  await next.child.ended;
  const viewed = amplitude.store.events({ type: 'Experiment Viewed' });
  assert.equal(new Set(viewed.map((event) => event.user_id)).size, 1000);
  assert.equal(viewed.length, 1000);
});

test('a file of settings may have callbacks, and what it says is obeyed', async (t) => {
  const amplitude = await startAmplitude();
  const agent = await startAgent(({ authorization }) =>
    authorization === 'Bearer from-the-file' ? null : [401, 'no'],
  );
  t.after(async () => {
    await agent.stop();
    await amplitude.close();
  });
  const config = path.join(EXAMPLES, 'bridge.js');
  const { child, url } = await startBridge(t, [agent], amplitude, ['--config', config], {
    OPTIMIZELY_AGENT_TOKEN: 'from-the-file',
    OA_OPTION_FORMAT: '"exposure"',
  });
  await agent.listened();
  await agent.stream(createAgentDecision('user_1'));
  await agent.stream(createAgentDecision('bot_1'));
  const health = async () => (await request(`${url}/healthz`)).json;
  await until(async () => (await health()).agents[0].decisions === 2);
  assert.equal((await request(`${url}/`)).status, 404);
  child.kill('SIGTERM');
  await child.ended;
  assert.deepEqual(
    amplitude.store.events().map((event) => [event.event_type, event.user_id, event.platform]),
    [['[Experiment] Exposure', 'user_1', 'Server']],
  );
});

test('an Agent behind https is trusted by the certificates of Node.js, and by no others', async (t) => {
  const amplitude = await startAmplitude();
  const { caFile, good, untrusted } = certificates();
  const agents = [await startAgent(undefined, good), await startAgent(undefined, untrusted)];
  t.after(async () => {
    await Promise.all(agents.map((agent) => agent.stop()));
    await amplitude.close();
  });
  const { child, health } = await startBridge(t, agents, amplitude, [], {
    NODE_EXTRA_CA_CERTS: caFile,
  });
  await agents[0].listened();
  await agents[0].stream(createAgentDecision('user_1'));
  await until(async () => (await health()).agents[0].decisions === 1);
  await until(async () => (await health()).agents[1].lastError !== null);
  const [, refused] = (await health()).agents;
  assert.match(refused.lastError.message, /certificate|issuer|signature/);
  assert.equal(refused.connections, 0);
  child.kill('SIGTERM');
  await child.ended;
});

test('it ends with the npm that started it, and delivers first', async (t) => {
  const amplitude = await startAmplitude();
  const agent = await startAgent();
  t.after(async () => {
    await agent.stop();
    await amplitude.close();
  });
  const args = [
    '--url',
    agent.url,
    '--server-url',
    amplitude.httpapi,
    '--option',
    'proxy=',
    '--port',
    '0',
  ];
  const words = [process.execPath, CLI, 'agent', ...args].map((word) => `"${word}"`);
  const child = startChild(t, ['-c', `${words.join(' ')}; true`], {
    program: 'sh',
    env: {
      AMPLITUDE_API_KEY: 'test-key',
      OPTIMIZELY_SDK_KEY: 'sdk-key',
      npm_config_user_agent: 'npm/11.0.0 node/v22.0.0 linux x64',
    },
  });
  await child.printed('Listening on http');
  const [, url] = /Listening on (\S+)/.exec(child.stdout);
  await agent.listened();
  await agent.stream(createAgentDecision('user_1'));
  await until(async () => (await request(`${url}/healthz`)).json.agents[0].decisions === 1);
  child.kill('SIGKILL'); // the shell, and not what it has started
  await child.ended; // nothing of both is there any more
  assert.equal(amplitude.store.events({ type: 'Experiment Viewed' }).length, 1);
});

test('what is wrong ends it with a message', async (t) => {
  const base = ['agent', '--url', 'http://127.0.0.1:9', '--sdk-key', 'key'];
  const env = { AMPLITUDE_API_KEY: 'test-key' };
  const cases = [
    [base, {}, 1, /option 'apiKey': expected the API key of the Amplitude project/],
    [['agent'], env, 2, /--url is missing, and OPTIMIZELY_AGENT_URL/],
    [[...base, '--option', 'flushQueSize=1'], env, 1, /did you mean 'flushQueueSize'\?/],
    [
      [...base, '--url', 'agent:8080'],
      env,
      1,
      /option 'url': expected the URL of an Optimizely Agent/,
    ],
    [[...base, '--port', 'x'], env, 2, /--port must be a number/],
    [[...base, '--config', 'none.js'], env, 2, /none\.js/],
  ];
  for (const [args, variables, code, message] of cases) {
    const child = startChild(t, [CLI, ...args], {
      env: { AMPLITUDE_API_KEY: '', OPTIMIZELY_AGENT_URL: '', ...variables },
    });
    assert.deepEqual(await child.ended, { code, signal: null });
    assert.match(child.stderr, message);
  }
});

/** The instructions of a Dockerfile, [name, value]: comments left out, and continued lines joined. */
const instructionsOf = (text) =>
  text
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => /^([A-Z]+) (.+)$/.exec(line)?.slice(1) ?? assert.fail(line));

test("the container's program starts, is healthy, and stops; its other instructions are known ones", async (t) => {
  const amplitude = await startAmplitude();
  const agent = await startAgent();
  t.after(async () => {
    await agent.stop();
    await amplitude.close();
  });
  const instructions = instructionsOf(fs.readFileSync(path.join(EXAMPLES, 'Dockerfile'), 'utf8'));
  assert.deepEqual(
    instructions.map(([name]) => name),
    ['FROM', 'WORKDIR', 'RUN', 'RUN', 'USER', 'EXPOSE', 'HEALTHCHECK', 'ENTRYPOINT'],
  );
  const { EXPOSE: port, HEALTHCHECK: health, ENTRYPOINT: start } = Object.fromEntries(instructions);
  const [program, ...args] = JSON.parse(start);
  const check = JSON.parse(/^CMD (.*)$/.exec(health)[1]);
  assert.equal(args[args.indexOf('--port') + 1], port);
  assert.ok(check.at(-1).includes(`:${port}/`));

  const folder = temporaryFolder(t); // in place of WORKDIR, with what npm makes there
  fs.mkdirSync(path.dirname(path.join(folder, program)), { recursive: true });
  fs.symlinkSync(CLI, path.join(folder, program));
  const free = args.map((arg) => (arg === port ? '0' : arg));
  const child = startChild(t, free, {
    program: `./${program}`,
    cwd: folder,
    env: {
      AMPLITUDE_API_KEY: 'test-key',
      AMPLITUDE_SERVER_URL: amplitude.httpapi,
      OPTIMIZELY_AGENT_URL: agent.url,
      OPTIMIZELY_SDK_KEY: 'sdk-key',
    },
  });
  await child.printed('Listening on http');
  const [, actual] = /Listening on \S+:(\d+)/.exec(child.stdout);
  const isHealthy = async () => {
    const [name, ...words] = check.map((word) => word.replace(`:${port}/`, `:${actual}/`));
    assert.equal(name, 'node');
    return (await runChild(t, words)).code === 0;
  };
  assert.equal(await isHealthy(), true);
  child.kill('SIGTERM');
  assert.deepEqual(await child.ended, { code: null, signal: 'SIGTERM' });
  assert.equal(await isHealthy(), false);
});

const noSystemd =
  spawnSync('systemd-analyze', ['--version']).status !== 0 && 'there is no systemd-analyze';

test('systemd finds nothing wrong with the service', { skip: noSystemd }, (t) => {
  const name = 'optimizely-amplitude-agent.service';
  const file = path.join(temporaryFolder(t), name);
  const verify = (text) => {
    fs.writeFileSync(file, text);
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' });
    return { status, stderr };
  };
  const text = fs
    .readFileSync(path.join(EXAMPLES, name), 'utf8')
    .replace(/^(ExecStart=)\S+/m, `$1${process.execPath}`); // a program that is there
  assert.deepEqual(verify(text), { status: 0, stderr: '' });
  assert.match(verify(text.replace('DynamicUser', 'DynamicUsers')).stderr, /DynamicUsers/);
});
