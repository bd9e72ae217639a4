'use strict';

/** closeOnSignal(): what was asked before the signal is answered, what it decided arrives, and the signal ends the process. */

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { describe, it, test } = require('node:test');

const { closeOnSignal, createDispatcher } = require('../../lib/index.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { startChild } = require('../support/process/child.js');
const { start: startDispatcher, viewed } = require('../support/dispatcher/harness.js');
const { createNotification } = require('../support/optimizely/sdk.js');
const { request } = require('../support/network/request.js');
const { atOnce } = require('../support/process/stage.js');

const STOPPABLE = path.join(__dirname, '..', 'support', 'process', 'stoppable.js');
const CONCURRENT = { concurrency: 2 };

/** Start a server (see stoppable.js) with `count` dispatchers, each with a stand-in of its own. */
async function start(t, part, { count = 1, program, args = [] } = {}) {
  const amplitudes = [];
  for (let i = 0; i < count; i++) {
    const amplitude = await startAmplitude();
    t.after(() => amplitude.close());
    amplitudes.push(amplitude);
  }
  const servers = amplitudes.map(({ httpapi }) => httpapi);
  const child = startChild(t, [...args, STOPPABLE, JSON.stringify({ servers, ...part })], {
    program,
  });
  await child.printed('http://\\S+\\n');
  const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
  t.after(() => agent.destroy());
  const [origin] = child.stdout.match(/http:\S+/);
  const ask = (target) => request(origin + target, { agent });
  return { amplitudes, amplitude: amplitudes[0], child, ask, origin };
}

const usersOf = (amplitude) => viewed(amplitude).map((event) => event.user_id);

/** One user decided on a connection that stays open; the signal arrives while another user waits for an answer. */
async function stopWhileAsked(t, part, signal = 'SIGTERM') {
  const { amplitude, child, ask } = await start(t, part);
  await ask('/now/user_1');
  const answer = ask('/later/user_2');
  await child.printed('held');
  child.kill(signal);
  await child.printed('draining');
  return { amplitude, child, answer };
}

describe('a request in flight is answered, and its decision arrives', CONCURRENT, () => {
  for (const before of [
    'returns what server.close() does',
    'returns nothing',
    'returns a promise',
    'takes a callback',
    'takes a callback, and calls it later',
    'is async and awaits',
    'closes the server later, and does not wait',
  ]) {
    for (const signal of before === 'returns what server.close() does'
      ? ['SIGTERM', 'SIGINT']
      : ['SIGTERM']) {
      it(`when before() ${before}, and ${signal} ends the process`, async (t) => {
        const { amplitude, child, answer } = await stopWhileAsked(t, { before }, signal);
        // What is already waiting is delivered while the application drains.
        await amplitude.waitFor(() => viewed(amplitude).length === 1);
        child.send('answer');
        assert.equal((await answer).text, 'decided for user_2');
        await child.endsWith(null, signal);
        assert.equal(child.stderr, '');
        assert.deepEqual(usersOf(amplitude), ['user_1', 'user_2']);
      });
    }
  }

  it('and connections that clients keep alive delay nothing', async (t) => {
    const { child, answer } = await stopWhileAsked(t, {
      before: 'returns what server.close() does',
    });
    await atOnce(async () => {
      child.send('answer');
      await answer;
      await child.endsWith(null, 'SIGTERM');
    });
  });

  it('and a connection that never sent anything does not delay it for long', async (t) => {
    const part = {
      before: 'returns what server.close() does',
      options: { flushTimeoutMillis: 1000 },
    };
    const { amplitude, child, ask, origin } = await start(t, part);
    const socket = net.connect(new URL(origin).port, '127.0.0.1');
    socket.on('error', () => {}); // it may be reset
    await once(socket, 'connect');
    await ask('/now/user_1');
    child.kill('SIGTERM');
    await child.endsWith(null, 'SIGTERM');
    assert.equal(child.stderr, '');
    assert.deepEqual(usersOf(amplitude), ['user_1']);
  });

  for (const copies of [false, true]) {
    it(`by each of two dispatchers${copies ? ', of two copies of the package' : ''}, although one is done before the other`, async (t) => {
      const part = { before: 'returns what server.close() does', copies };
      const { amplitudes, child, ask } = await start(t, part, { count: 2 });
      const [, slow] = amplitudes;
      slow.setFault('unavailable', 1);
      await ask('/now/user_1');
      child.kill('SIGTERM');
      await child.endsWith(null, 'SIGTERM');
      assert.deepEqual(amplitudes.map(usersOf), [['user_1'], ['user_1']]);
    });
  }
});

describe('an application that has its own listener for the signal', CONCURRENT, () => {
  for (const [own, title, ending] of [
    ['once', 'ends by it', [null, 'SIGTERM']],
    ['on', 'exits with its code', [128 + 15, null]],
  ]) {
    it(`by process.${own}(): the server that it closes is waited for, and the process ${title}`, async (t) => {
      const { amplitude, child, answer } = await stopWhileAsked(t, { own });
      await amplitude.waitFor(() => viewed(amplitude).length === 1);
      child.send('answer');
      assert.equal((await answer).text, 'decided for user_2');
      await child.endsWith(...ending);
      assert.equal(child.stdout.match(/draining/g).length, 1, 'it gets the signal once');
      assert.equal(child.stderr, '');
      assert.deepEqual(usersOf(amplitude), ['user_1', 'user_2']);
    });
  }

  it('and has a before(): the process exits with the code of the signal', async (t) => {
    const { amplitude, child, answer } = await stopWhileAsked(t, {
      own: 'on',
      before: 'returns a promise',
    });
    child.send('answer');
    await answer;
    await child.endsWith(128 + 15, null);
    assert.deepEqual(usersOf(amplitude), ['user_1', 'user_2']);
  });

  it('a server that does not close does not keep the dispatcher from closing', async (t) => {
    const { amplitude, child, answer } = await stopWhileAsked(t, {
      own: 'once',
      options: { flushTimeoutMillis: 500 },
    });
    await assert.rejects(answer);
    await child.endsWith(null, 'SIGTERM');
    assert.deepEqual(usersOf(amplitude), ['user_1']);
  });
});

describe('a drain that fails does not keep the dispatcher from closing', CONCURRENT, () => {
  for (const [before, reason, options] of [
    ['throws', 'on purpose'],
    ['rejects', 'on purpose'],
    ['calls back an error', 'on purpose'],
    ['never ends', 'before\\(\\) is not done after 300 ms', { flushTimeoutMillis: 300 }],
  ]) {
    it(`when before() ${before}: the log says so`, async (t) => {
      const { amplitude, child, ask } = await start(t, { before, options });
      await ask('/now/user_1');
      child.kill('SIGTERM');
      await child.endsWith(null, 'SIGTERM');
      assert.match(
        child.stderr,
        new RegExp(`^closeOnSignal: ${reason}; the dispatcher closes anyway\\n$`),
      );
      assert.deepEqual(usersOf(amplitude), ['user_1']);
    });
  }
});

describe('a second signal', CONCURRENT, () => {
  for (const second of ['SIGTERM', 'SIGINT']) {
    it(`${second} ends the process at once`, async (t) => {
      const { child, answer } = await stopWhileAsked(t, {
        before: 'returns what server.close() does',
      });
      const failed = assert.rejects(answer);
      await atOnce(async () => {
        child.kill(second);
        await child.endsWith(null, second);
      });
      await failed;
    });
  }
});

test('a second signal also ends a process that has a listener of its own', async (t) => {
  const { child, answer } = await stopWhileAsked(t, { own: 'on' });
  const failed = assert.rejects(answer);
  await atOnce(async () => {
    child.kill('SIGTERM');
    await child.endsWith(128 + 15, null);
  });
  await failed;
});

test('a removed closeOnSignal() leaves no listener, and a signal ends the process at once', async (t) => {
  const part = { before: 'returns what server.close() does', takeBack: true };
  const { amplitude, child, ask } = await start(t, part);
  await child.printed('0 listeners');
  await ask('/now/user_1');
  child.kill('SIGTERM');
  await child.endsWith(null, 'SIGTERM');
  assert.equal(amplitude.requests.length, 0);
});

const UNSHARE = ['--user', '--map-root-user', '--pid', '--fork', '--kill-child'];
const NO_NAMESPACE =
  spawnSync('unshare', [...UNSHARE, 'true']).status !== 0 && 'this system gives no PID namespace';

test(
  'the first process of a container ends, too, with the exit code of the signal',
  { skip: NO_NAMESPACE },
  async (t) => {
    const { amplitude, child, ask } = await start(
      t,
      { before: 'returns what server.close() does' },
      { program: 'unshare', args: [...UNSHARE, process.execPath] },
    );
    await ask('/now/user_1');
    child.send({ kill: 'SIGTERM' });
    await child.endsWith(128 + 15);
    assert.deepEqual(usersOf(amplitude), ['user_1']);
  },
);

describe('bad arguments of closeOnSignal()', () => {
  const dispatcher = createDispatcher({ apiKey: 'test-key' });
  const CASES = {
    'no dispatcher': [undefined],
    'something that is not a dispatcher': [{ close() {} }],
    'a before() that is not a function': [dispatcher, { before: 'server' }],
    'an unknown option': [dispatcher, { signals: ['SIGHUP'] }],
  };
  for (const [title, args] of Object.entries(CASES)) {
    it(`${title}: a TypeError that says so`, () => {
      assert.throws(() => closeOnSignal(...args), { name: 'TypeError', code: 'ERR_OA_OPTION' });
      assert.equal(process.listenerCount('SIGTERM'), 0);
    });
  }
});

test('Symbol.asyncDispose closes', async (t) => {
  const { amplitude, dispatcher } = await startDispatcher(t);
  dispatcher.onDecision(createNotification('user_1'));
  assert.equal(await dispatcher[Symbol.asyncDispose](), undefined);
  assert.deepEqual(usersOf(amplitude), ['user_1']);
  assert.throws(() => dispatcher.attach({}), { code: 'ERR_OA_CLOSED' });
});
