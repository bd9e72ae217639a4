'use strict';

/**
 * The ways in which a process ends, with a child process for each: decisions arrive, or the log counts the lost ones,
 * and an exit never waits for a server that does not answer.
 *
 * "At once" is far less than the request timeout of 60 s here.
 */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');

const { viewed } = require('../support/dispatcher/harness.js');
const {
  DECISIONS,
  EAGER,
  STATES,
  atOnce,
  countClosed,
  countUndelivered,
  startActor,
} = require('../support/process/stage.js');

const CONCURRENT = { concurrency: 4 };
const IN_FLIGHT = STATES['in flight to a silent server'];

/** Start a process that has decided and is in the state that `reached` waits for, if that is given. */
async function start(t, { fault, args, reached, options, decisions = DECISIONS, ...more } = {}) {
  const part = (serverUrl) => ({ decisions, options: { serverUrl, ...options }, ...more });
  const { amplitude, child } = await startActor(t, part, { fault, args });
  await child.printed('ready');
  await reached?.(child, amplitude);
  return { amplitude, child };
}

describe('nothing is left to do', CONCURRENT, () => {
  it('while queued: all is delivered, and the log is empty', async (t) => {
    const { amplitude, child } = await start(t);
    child.send({});
    await child.endsWith(0);
    assert.equal(child.stderr, '');
    assert.equal(viewed(amplitude).length, DECISIONS);
  });

  it('while backing off: it is tried again at once, and all is delivered', async (t) => {
    const { amplitude, child } = await start(t, STATES['backing off']);
    amplitude.setFault(null);
    await atOnce(async () => {
      child.send({});
      await child.endsWith(0);
    });
    assert.equal(viewed(amplitude).length, DECISIONS);
  });

  it('but decisions come with each beforeExit: they are delivered, too', async (t) => {
    const { amplitude, child } = await start(t);
    child.send({ main: 'decideLate' });
    await child.endsWith(0);
    assert.equal(child.stderr, '');
    assert.equal(viewed(amplitude).length, DECISIONS + 3);
  });

  it('with one decision, and the server is silent: the log has the right number', async (t) => {
    const { child } = await start(t, {
      decisions: 1,
      fault: 'silence',
      options: { flushTimeoutMillis: 300 },
    });
    child.send({});
    await child.endsWith(0);
    assert.match(
      child.stderr,
      /^the process exits with 1 decision undelivered: the last flush could not deliver it in time$/m,
    );
  });

  it('and the server is silent: it ends after flushTimeoutMillis, and the log counts', async (t) => {
    const { amplitude, child } = await start(t, {
      fault: 'silence',
      options: { flushTimeoutMillis: 300 },
    });
    await atOnce(async () => {
      child.send({});
      await child.endsWith(0);
    });
    assert.match(
      child.stderr,
      /^the process exits with 3 decisions undelivered: the last flush could not deliver them in time$/m,
    );
    assert.equal(amplitude.requests.length, 1);
  });

  it('but a request to a silent server: it is abandoned after requestTimeoutMillis', async (t) => {
    const { child } = await start(t, {
      ...IN_FLIGHT,
      options: { ...EAGER, requestTimeoutMillis: 300, flushTimeoutMillis: 0 },
    });
    await atOnce(async () => {
      child.send({});
      await child.endsWith(0);
    });
    assert.equal(countUndelivered(child), DECISIONS);
  });

  it('after a flush: it ends at once, although the connection is open', async (t) => {
    const { amplitude, child } = await start(t);
    await atOnce(async () => {
      child.send({ main: 'flush' });
      await child.endsWith(0);
    });
    assert.equal(child.stdout, `ready\ndelivered ${DECISIONS}\n`);
    assert.equal(amplitude.requests.length, 1);
  });

  it('and the dispatcher was never used: it ends at once', async (t) => {
    const { amplitude, child } = await start(t, { decisions: 0 });
    await atOnce(async () => {
      child.send({});
      await child.endsWith(0);
    });
    assert.equal(amplitude.connections, 0);
  });
});

describe('a forgotten dispatcher', CONCURRENT, () => {
  const FORGET = { forget: true, args: ['--expose-gc'] };

  it('delivers what it has, and its listeners are removed', async (t) => {
    const { amplitude, child } = await start(t, FORGET);
    child.send({ main: 'collect' });
    await child.endsWith(0);
    assert.equal(child.output, 'ready\ncollected\n');
    assert.equal(viewed(amplitude).length, DECISIONS);
  });

  it('is flushed when the loop runs empty before it was collected', async (t) => {
    const { amplitude, child } = await start(t, FORGET);
    child.send({});
    await child.endsWith(0);
    assert.equal(viewed(amplitude).length, DECISIONS);
  });

  it('keeps what a silent server does not take, until the process ends after flushTimeoutMillis', async (t) => {
    const { child } = await start(t, {
      ...FORGET,
      fault: 'silence',
      options: { flushTimeoutMillis: 300 },
    });
    await atOnce(async () => {
      child.send({ main: 'collectSome' });
      await child.endsWith(0);
    });
    assert.equal(countClosed(child), 0);
    assert.equal(countUndelivered(child), DECISIONS);
  });
});

describe('the process', CONCURRENT, () => {
  const ENDS = [
    { main: 'exit', title: 'calls process.exit()', code: 7 },
    { main: 'throw', title: 'meets an uncaught exception', code: 1 },
    { main: 'reject', title: 'meets an unhandled rejection', code: 1 },
  ];
  for (const { main, title, code } of ENDS) {
    for (const [state, setting] of Object.entries(STATES)) {
      it(`${title} while ${state}: at once, with its exit code, and the log counts`, async (t) => {
        const { amplitude, child } = await start(t, setting);
        await atOnce(async () => {
          child.send({ main });
          await child.endsWith(code);
        });
        const lost = state === 'idle' ? 0 : DECISIONS;
        assert.equal(countUndelivered(child), lost, child.stderr);
        assert.equal(/: await flush\(\) or close\(\) first$/m.test(child.stderr), lost > 0);
        assert.equal(viewed(amplitude).length, 0);
      });
    }
  }

  it('exits in the continuation of a flush', async (t) => {
    const { amplitude, child } = await start(t);
    child.send({ main: 'exitAfterFlush' });
    await child.endsWith(7);
    assert.equal(child.stderr, '');
    assert.equal(viewed(amplitude).length, DECISIONS);
  });

  it('throws in the continuation of a flush', async (t) => {
    const { amplitude, child } = await start(t);
    child.send({ main: 'throwAfterFlush' });
    await child.endsWith(1);
    assert.match(child.stderr, /Error: thrown on purpose/);
    assert.equal(viewed(amplitude).length, DECISIONS);
  });
});

describe('an exit in flight to a silent server', () => {
  it('takes no longer than one without the package, or not much', async (t) => {
    const measure = async (setting) => {
      const { child } = await start(t, setting);
      const started = performance.now();
      child.send({ main: 'exit' });
      await child.endsWith(7);
      return performance.now() - started;
    };
    let least = Infinity;
    let leastOfControl = Infinity;
    for (let i = 0; i < 5; i++) {
      leastOfControl = Math.min(leastOfControl, await measure({ package: [] }));
      least = Math.min(least, await measure(IN_FLIGHT));
    }
    assert.ok(least - leastOfControl < 200, `${least} ms, ${leastOfControl} ms without`);
  });
});

describe('a signal', CONCURRENT, () => {
  async function terminate(t, setting, options) {
    const { amplitude, child } = await start(t, {
      ...setting,
      options: { ...setting.options, ...options },
    });
    child.send({ main: 'closeOnSignal' });
    await child.printed('listening');
    amplitude.setFault(null);
    child.kill('SIGTERM');
    await child.endsWith(null, 'SIGTERM');
    return { amplitude, child };
  }

  const { parked, ...recovering } = STATES;
  for (const [state, setting] of Object.entries(recovering)) {
    it(`SIGTERM with closeOnSignal() while ${state}: everything is delivered`, async (t) => {
      const { amplitude, child } = await terminate(t, setting, { requestTimeoutMillis: 500 });
      assert.equal(viewed(amplitude).length, setting.decisions ?? DECISIONS);
      assert.equal(countUndelivered(child) + countClosed(child), 0);
    });
  }

  it('SIGTERM with closeOnSignal() while parked for longer than flushTimeoutMillis: the log counts', async (t) => {
    const { child } = await terminate(t, parked, { flushTimeoutMillis: 300 });
    assert.equal(countClosed(child), DECISIONS);
  });

  for (const signal of ['SIGTERM', 'SIGKILL']) {
    it(`${signal} without a handler: the process is gone, and what was queued with it`, async (t) => {
      const { amplitude, child } = await start(t);
      child.send({ main: 'stay' });
      await child.printed('staying');
      child.kill(signal);
      await child.endsWith(null, signal);
      assert.equal(child.stderr, '');
      assert.equal(amplitude.connections, 0);
    });
  }
});
