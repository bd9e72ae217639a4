'use strict';

/** Lambda: the flush comes before the result, within the time that is left, and never replaces the result. */

const assert = require('node:assert/strict');
const path = require('node:path');
const { describe, it } = require('node:test');
const vm = require('node:vm');

const { withFlush } = require('../../lib/lambda.js');
const { SETTINGS } = require('../../lib/settings.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { startChild } = require('../support/process/child.js');
const { start, viewed } = require('../support/dispatcher/harness.js');
const { recordingLogger } = require('../support/dispatcher/loggers.js');
const { createNotification } = require('../support/optimizely/sdk.js');

const FUNCTION = path.join(__dirname, '..', 'support', 'process', 'function.js');
const LONG_MILLIS = 60_000;
const AT_ONCE_MILLIS = 5000;

const contextWith = (millis) => ({ getRemainingTimeInMillis: () => millis });

/** A dispatcher that only notes its flushes, in a list of events. */
function noteFlushes(happened = []) {
  return {
    happened,
    async flush(options) {
      happened.push('flush begins');
      happened.options = options;
      await new Promise((resolve) => setImmediate(resolve));
      happened.push('flush ends');
    },
  };
}

/** Marks the function itself with symbols, as Lambda's Node runtime does. */
const awslambda = {
  streamifyResponse(handler, options) {
    handler[Symbol.for('aws.lambda.runtime.handler.streaming')] = 'response';
    if (typeof options?.highWaterMark === 'number') {
      handler[Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark')] =
        options.highWaterMark;
    }
    return handler;
  },
};

const FLUSHED = ['handler', 'flush begins', 'flush ends'];

describe('the result of a handler', () => {
  const failure = new Error('of the handler');
  /** Returns what is no answer: Lambda ignores it. */
  const later = (event, context, callback) =>
    setImmediate(() => {
      try {
        callback(null, event.answer());
      } catch (error) {
        callback(error);
      }
    });
  const HANDLERS = {
    'that is async': async (event) => event.answer(),
    'that is neither async nor takes a callback': (event) => event.answer(),
    'that takes a callback': later,
    'that takes a callback and is async': async (event, context, callback) => {
      void [context, callback]; // declared, since withFlush() counts parameters
      return event.answer();
    },
    'that takes a callback behind a rest parameter': (...args) => later(...args),
    'that takes a callback behind a default': (event, context = {}, callback = null) =>
      later(event, context, callback),
    'that takes a callback behind a pattern': ({ answer } = {}, context, callback = null) =>
      later({ answer }, context, callback),
    'that takes a callback in a rest pattern': (...[event, context, callback]) =>
      later(event, context, callback),
    'that has two parameters, one with a default': (event, context = { a: [1, 2] }) =>
      [context, event.answer()][1],
    'that has one parameter without parentheses': vm.runInThisContext(
      'event => Math.max(event.answer(), 0, 1)',
    ),
    'that has two parameters, and a comma behind them': vm.runInThisContext(
      '(event, context,) => event.answer()',
    ),
    'that takes a callback behind `arguments`': function () {
      return later.apply(this, arguments);
    },
    'that takes a callback and is bound': ((...args) => later(...args)).bind(null),
    'that has a rest parameter, and needs no callback': async (...args) => args[0].answer(),
    'that spreads what it returns': (event) => Number([...[event.answer()]]),
    'that takes a callback and throws before': (event, context, callback) => {
      callback(null, event.answer());
    },
  };
  for (const [kind, handler] of Object.entries(HANDLERS)) {
    it(`${kind} is passed through after the flush`, async () => {
      const dispatcher = noteFlushes();
      const answer = () => {
        dispatcher.happened.push('handler');
        return 42;
      };
      assert.equal(
        await withFlush(handler, dispatcher)({ answer }, contextWith(3000), () => {}),
        42,
      );
      assert.deepEqual([...dispatcher.happened], FLUSHED);
    });

    it(`${kind} is passed through after the flush when it is an error`, async () => {
      const dispatcher = noteFlushes();
      const answer = () => {
        dispatcher.happened.push('handler');
        throw failure;
      };
      await assert.rejects(
        withFlush(handler, dispatcher)({ answer }, contextWith(3000), () => {}),
        (error) => error === failure,
      );
      assert.deepEqual([...dispatcher.happened], FLUSHED);
    });
  }

  it('gets the event and the context, and the runtime sees no callback', async () => {
    const seen = [];
    const wrapped = withFlush(async (...args) => seen.push(...args), noteFlushes());
    const [event, context] = [{}, contextWith(3000)];
    await wrapped(event, context);
    assert.ok(seen[0] === event && seen[1] === context && seen.length === 2);
    assert.ok(wrapped.length < 3);
  });
});

describe('a streaming handler', () => {
  const handler = async (event, stream, context) => {
    stream.happened.push('handler');
    return context.getRemainingTimeInMillis();
  };
  const options = { highWaterMark: 1024 };
  const WRAPPINGS = {
    'wrapped before it is streamified': (dispatcher) =>
      awslambda.streamifyResponse(withFlush(handler, dispatcher), options),
    'wrapped after it was streamified': (dispatcher) =>
      withFlush(
        awslambda.streamifyResponse((...args) => handler(...args), options),
        dispatcher,
      ),
    'of three arguments, wrapped after it was streamified': (dispatcher) =>
      withFlush(
        awslambda.streamifyResponse(
          (event, stream, context) => handler(event, stream, context),
          options,
        ),
        dispatcher,
      ),
  };
  for (const [title, wrap] of Object.entries(WRAPPINGS)) {
    it(`${title} is marked as one, and flushed in its time`, async () => {
      const dispatcher = noteFlushes();
      const wrapped = wrap(dispatcher);
      assert.equal(wrapped[Symbol.for('aws.lambda.runtime.handler.streaming')], 'response');
      assert.equal(wrapped[Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark')], 1024);
      assert.equal(await wrapped({}, dispatcher, contextWith(3000)), 3000);
      assert.deepEqual([...dispatcher.happened], FLUSHED);
      assert.equal(dispatcher.happened.options.timeoutMillis, 1500);
    });
  }
});

describe('what a handler has of its own', () => {
  it('methods, which return the wrapper where they return the handler', async () => {
    const dispatcher = noteFlushes();
    const steps = [];
    const handler = Object.assign(async () => steps, {
      use(step) {
        assert.equal(this, handler);
        steps.push(step);
        return handler;
      },
      count: () => steps.length,
      Step: class Step {},
      version: 5,
    });
    const wrapped = withFlush(handler, dispatcher);
    assert.equal(wrapped.use('a').use('b'), wrapped);
    assert.deepEqual([wrapped.count(), wrapped.version], [2, 5]);
    assert.ok(new wrapped.Step() instanceof handler.Step);
    assert.deepEqual(await wrapped({}, contextWith(3000)), ['a', 'b']);
    assert.deepEqual([...dispatcher.happened], FLUSHED.slice(1));
  });

  it('its name, but not its length', () => {
    const handler = function checkout(event, context, callback) {
      callback(null, 42);
    };
    const { name, length } = withFlush(handler, noteFlushes());
    assert.deepEqual([name, length], ['checkout', 0]);
    withFlush(new Function('return 42'), noteFlushes()); // has more of its own, which cannot be copied
  });

  it('`this`', async () => {
    const routes = {
      answer: 42,
      handler: withFlush(async function () {
        return this.answer;
      }, noteFlushes()),
    };
    assert.equal(await routes.handler({}, contextWith(3000)), 42);
  });

  for (const where of ['outside', 'inside']) {
    it(`what middy gave it, when it is wrapped ${where}`, async () => {
      const { default: middy } = await import('@middy/core');
      const dispatcher = noteFlushes();
      const note = (step) => () => void dispatcher.happened.push(step);
      const base = async (event) => {
        note('handler')();
        return event.fails ? Promise.reject(new Error('of the handler')) : event.answer;
      };
      const composed =
        where === 'outside'
          ? withFlush(middy(base), dispatcher)
          : middy(withFlush(base, dispatcher));
      const handler = composed
        .use({ before: note('before'), after: note('after') })
        .onError((request) => {
          request.response = request.error.message;
        });
      assert.equal(await handler({ answer: 42 }, contextWith(3000)), 42);
      assert.equal(await handler({ fails: true }, contextWith(3000)), 'of the handler');
      const [, ...flush] = FLUSHED;
      assert.deepEqual(
        [...dispatcher.happened],
        where === 'outside'
          ? ['before', 'handler', 'after', ...flush, 'before', 'handler', ...flush]
          : ['before', ...FLUSHED, 'after', 'before', ...FLUSHED],
      );
    });
  }
});

describe('the flush', () => {
  const TIMES = [
    { title: 'takes 1.5 s at most', left: 900_000, timeout: 1500 },
    { title: 'takes 1.5 s at most without a context', timeout: 1500 },
    { title: 'takes timeoutMillis at most', options: { timeoutMillis: 4000 }, timeout: 4000 },
    {
      title: 'takes the flushTimeoutMillis of the dispatcher, where it is less',
      own: 300,
      timeout: 300,
    },
    { title: 'takes 1.5 s, where flushTimeoutMillis is more', own: 10_000, timeout: 1500 },
    {
      title: 'takes timeoutMillis, although flushTimeoutMillis is less',
      own: 300,
      options: { timeoutMillis: 4000 },
      timeout: 4000,
    },
    { title: 'ends 500 ms before the time is up', left: 1800, timeout: 1300 },
    {
      title: 'ends marginMillis before the time is up',
      left: 1800,
      options: { marginMillis: 1000 },
      timeout: 800,
    },
    { title: 'may use all of the time', left: 1200, options: { marginMillis: 0 }, timeout: 1200 },
    { title: 'is not waited for when there is no time', left: 300, timeout: 0 },
    { title: 'is not waited for when the time is not a number', left: NaN, timeout: 0 },
  ];
  for (const { title, left, options, own, timeout } of TIMES) {
    it(title, async () => {
      const dispatcher = noteFlushes();
      if (own !== undefined) {
        dispatcher[SETTINGS] = { log: recordingLogger(), timeoutMillis: own };
      }
      await withFlush(
        async () => {},
        dispatcher,
        options,
      )({}, left === undefined ? {} : contextWith(left));
      assert.deepEqual(dispatcher.happened.options, { timeoutMillis: timeout, abort: true });
    });
  }

  it('has the time that the handler left', async () => {
    const dispatcher = noteFlushes();
    let left = 3000;
    await withFlush(async () => {
      left = 1500;
    }, dispatcher)({}, { getRemainingTimeInMillis: () => left });
    assert.equal(dispatcher.happened.options.timeoutMillis, 1000);
  });

  it('does not fail an invocation, whatever goes wrong', async (t) => {
    const warn = t.mock.method(console, 'warn', () => {});
    const rejecting = { flush: () => Promise.reject(new Error('of the flush')) };
    const throwing = {
      flush() {
        throw new Error('of the flush');
      },
    };
    const broken = {
      getRemainingTimeInMillis() {
        throw new Error('of the context');
      },
    };
    for (const [dispatcher, context] of [
      [rejecting, {}],
      [throwing, {}],
      [noteFlushes(), broken],
      [() => rejecting, {}],
      [() => Promise.reject(new Error('of the key')), {}],
      [() => assert.fail('of the function'), {}],
      [() => 'no dispatcher', {}],
    ]) {
      assert.equal(await withFlush(async () => 42, dispatcher)({}, context), 42);
      await assert.rejects(
        withFlush(async () => {
          throw new Error('of the handler');
        }, dispatcher)({}, context),
        /of the handler/,
      );
    }
    const [[message]] = warn.mock.calls.map((call) => call.arguments);
    assert.match(message, /withFlush\(\): the flush failed: of the flush$/);
  });
});

describe('bad arguments', () => {
  const handler = async () => {};
  const dispatcher = noteFlushes();
  const CASES = {
    'no handler': [undefined, dispatcher],
    'a promise for a handler': [Promise.resolve(handler), dispatcher],
    'no dispatcher': [handler],
    'null for a dispatcher': [handler, null],
    'something that is not a dispatcher': [handler, {}],
    'a margin that is not a number': [handler, dispatcher, { marginMillis: '500' }],
    'a margin that is not finite': [handler, dispatcher, { marginMillis: Infinity }],
    'a negative margin': [handler, dispatcher, { marginMillis: -1 }],
    'a timeout that is no number': [handler, dispatcher, { timeoutMillis: null }],
    'a negative timeout': [handler, dispatcher, { timeoutMillis: -1 }],
    'a timeout that no timer has': [handler, dispatcher, { timeoutMillis: 2 ** 31 }],
    'an option that there is not': [handler, dispatcher, { timeout: 500 }],
  };
  for (const [title, args] of Object.entries(CASES)) {
    it(`${title}: a TypeError that says so`, () => {
      assert.throws(() => withFlush(...args), {
        name: 'TypeError',
        code: 'ERR_OA_LAMBDA',
        message: /^withFlush\(.*\):/,
      });
    });
  }

  it('options may be undefined or null', () => {
    withFlush(handler, dispatcher, undefined);
    withFlush(handler, dispatcher, null);
    withFlush(handler, dispatcher, {});
  });
});

describe('an invocation that meets a silent server', () => {
  it('returns in time, and the next one delivers what both decided', async (t) => {
    const { amplitude, dispatcher } = await start(t, { requestTimeoutMillis: LONG_MILLIS });
    const handler = withFlush(
      async ({ variations }) => {
        for (const variationKey of variations) {
          dispatcher.onDecision(createNotification('user_1', { variationKey }));
        }
        return variations.length;
      },
      dispatcher,
      { marginMillis: 100 },
    );

    amplitude.setFault('silence', 1);
    const started = performance.now();
    assert.equal(await handler({ variations: ['a', 'b'] }, contextWith(400)), 2);
    assert.ok(performance.now() - started < AT_ONCE_MILLIS);
    assert.equal(amplitude.requests.length, 1);
    assert.equal(dispatcher.stats().decisions.pending, 2);

    assert.equal(await handler({ variations: ['c', 'd'] }, contextWith(LONG_MILLIS)), 2);
    assert.deepEqual(
      viewed(amplitude).map((event) => event.event_properties.variation_key),
      ['a', 'b', 'c', 'd'],
    );
    assert.equal(amplitude.store.user('user_1').user_properties['[Optimizely] checkout_flow'], 'd');
    const { delivered, pending, dropped } = dispatcher.stats().decisions;
    assert.deepEqual([delivered, pending, dropped.total], [4, 0, 0]);
  });

  it('whose events were accepted anyway: they are counted once', async (t) => {
    const { amplitude, dispatcher } = await start(t, { requestTimeoutMillis: LONG_MILLIS });
    const handler = withFlush(
      async ({ userId }) => dispatcher.onDecision(createNotification(userId)),
      dispatcher,
      { marginMillis: 100 },
    );
    amplitude.setFault(amplitude.faults.accepted(amplitude.faults.silence()), 1);
    await handler({ userId: 'user_1' }, contextWith(400));
    await handler({ userId: 'user_2' }, contextWith(LONG_MILLIS));
    assert.deepEqual(
      viewed(amplitude).map((event) => event.user_id),
      ['user_1', 'user_2'],
    );
  });

  it('with the time used up: returns at once, and the next one delivers', async (t) => {
    const { amplitude, dispatcher } = await start(t);
    const handler = withFlush(
      async ({ userId }) => dispatcher.onDecision(createNotification(userId)),
      dispatcher,
    );
    await handler({ userId: 'user_1' }, contextWith(10));
    await handler({ userId: 'user_2' }, contextWith(LONG_MILLIS));
    assert.deepEqual(
      viewed(amplitude).map((event) => event.user_id),
      ['user_1', 'user_2'],
    );
  });
});

describe('a function that is frozen between two invocations', () => {
  async function startFunction(t) {
    const amplitude = await startAmplitude();
    t.after(() => amplitude.close());
    return { amplitude, child: startChild(t, [FUNCTION, amplitude.httpapi]) };
  }

  /** What happens to idle connections of a server within minutes or hours. */
  async function freezeWhileConnectionsClose(child, amplitude) {
    await child.freeze();
    await amplitude.stop();
    await amplitude.start();
    child.thaw();
  }

  const users = (amplitude) => viewed(amplitude).map((event) => event.user_id);

  it('opens a new connection for the first request after it, and nothing fails', async (t) => {
    const { amplitude, child } = await startFunction(t);
    await child.ask({ userId: 'user_1', flush: true });
    await child.ask({ userId: 'user_2', flush: true });
    await freezeWhileConnectionsClose(child, amplitude);
    const { requests, decisions, lastError } = await child.ask({ userId: 'user_3', flush: true });
    assert.deepEqual(users(amplitude), ['user_1', 'user_2', 'user_3']);
    const [first, second, third, ...more] = amplitude.requests.map(({ socketId }) => socketId);
    assert.ok(first === second && third !== second && more.length === 0);
    assert.deepEqual(
      [requests.sent, requests.failed, decisions.delivered, lastError],
      [3, 0, 3, null],
    );
    assert.equal(child.output, '');
  });

  it('with a request in flight, whose connection is cut: nothing is lost or counted twice', async (t) => {
    const { amplitude, child } = await startFunction(t);
    amplitude.setFault(amplitude.faults.accepted(amplitude.faults.silence()), 1);
    await child.ask({ userId: 'user_1', flush: false });
    await amplitude.nextRequest();
    await freezeWhileConnectionsClose(child, amplitude);
    const { decisions } = await child.ask({ userId: 'user_2', flush: true });
    assert.deepEqual(users(amplitude), ['user_1', 'user_2']);
    assert.deepEqual([decisions.delivered, decisions.pending], [2, 0]);
  });

  it('before its request was started: nothing is lost', async (t) => {
    const { amplitude, child } = await startFunction(t);
    await child.ask({ userId: 'user_1', flush: true });
    amplitude.setFault('unavailable', 1);
    await child.ask({ userId: 'user_2', flush: false });
    await freezeWhileConnectionsClose(child, amplitude);
    await child.ask({ userId: 'user_3', flush: true });
    assert.deepEqual(users(amplitude), ['user_1', 'user_2', 'user_3']);
  });
});
