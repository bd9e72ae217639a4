'use strict';

/** The clients and decisions that a dispatcher listens to, and the outcome of decisions that cannot be sent. */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http = require('node:http');
const { after, afterEach, before, beforeEach, describe, it } = require('node:test');
const { createDispatcher } = require('../../lib/index.js');
const { withFlush } = require('../../lib/lambda.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { recordingLogger } = require('../support/dispatcher/loggers.js');
const {
  DATAFILE,
  MAJORS,
  US_PREMIUM,
  createClient,
  createFetchingClient,
  createNotification,
  decideAs,
} = require('../support/optimizely/sdk.js');

let amplitude;
let dispatcher;
let logger;

/** Replace the test's dispatcher by one with other options. */
async function createOther(options) {
  await dispatcher?.close();
  logger = recordingLogger();
  dispatcher = createDispatcher({
    apiKey: 'attach-key',
    serverUrl: amplitude.httpapi,
    logger,
    ...options,
  });
}

const counts = () => dispatcher.stats().decisions;

/** Flush, check every request, and return the Experiment Viewed that the test has sent. */
async function viewed() {
  await dispatcher.flush();
  return amplitude.requests.flatMap(({ jsonBytes, status }) => {
    assert.equal(status, 200);
    const json = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(jsonBytes);
    return JSON.parse(json).events.filter((event) => event.event_type === 'Experiment Viewed');
  });
}

const viewers = async () => (await viewed()).map((event) => event.user_id);

before(async () => {
  amplitude = await startAmplitude();
});
after(() => amplitude.close());
beforeEach(async () => {
  amplitude.requests.length = 0;
  dispatcher = undefined;
  await createOther();
});
afterEach(() => dispatcher.close());

for (const major of MAJORS) {
  describe(`attach() to SDK v${major}`, () => {
    it('works before and after onReady()', async () => {
      const early = createClient(major);
      dispatcher.attach(early);
      decideAs(early, 'user_0');
      await early.onReady();
      decideAs(early, 'user_1');

      const late = createClient(major);
      await late.onReady();
      dispatcher.attach(late);
      decideAs(late, 'user_2');

      assert.deepEqual(await viewers(), ['user_0', 'user_1', 'user_2']);
      await Promise.all([early.close(), late.close()]);
    });

    it('listens to several clients, and to each only once, however often it is attached', async () => {
      const [one, two] = [createClient(major), createClient(major)];
      dispatcher.attach(one);
      dispatcher.attach(one);
      dispatcher.attach(two);
      dispatcher.attach(one);
      decideAs(one, 'user_1');
      decideAs(two, 'user_2');
      assert.equal(counts().seen, 2);
      assert.deepEqual(await viewers(), ['user_1', 'user_2']);
      await Promise.all([one.close(), two.close()]);
    });

    it('returns a function that detaches, for good until it is attached again', async () => {
      const [one, two] = [createClient(major), createClient(major)];
      const detach = dispatcher.attach(one);
      dispatcher.attach(two);
      detach();
      detach();
      decideAs(one, 'user_1');
      decideAs(two, 'user_2');
      assert.equal(counts().seen, 1);
      dispatcher.attach(one);
      detach(); // of the first time
      decideAs(one, 'user_3');
      assert.deepEqual(await viewers(), ['user_2', 'user_3']);
      await Promise.all([one.close(), two.close()]);
    });

    it('does not affect the listeners of others', async () => {
      const client = createClient(major);
      let heard = 0;
      const names = ['DECISION', 'DECISION:type, userId, attributes, decisionInfo'];
      names.forEach((name) =>
        client.notificationCenter.addNotificationListener(name, () => heard++),
      );
      const detach = dispatcher.attach(client);
      decideAs(client, 'user_1');
      detach();
      decideAs(client, 'user_2');
      assert.equal(heard, 2);
      await client.close();
    });

    it('listens independently of another dispatcher of the same client', async () => {
      const client = createClient(major);
      const second = createDispatcher({ apiKey: 'second-key', serverUrl: amplitude.httpapi });
      dispatcher.attach(client);
      second.attach(client);
      decideAs(client, 'user_1');
      await second.close();
      decideAs(client, 'user_2');
      assert.equal(second.stats().decisions.seen, 1);
      assert.equal(counts().seen, 2);
      await client.close();
    });

    it('ends with close(), and cannot begin after it', async () => {
      const client = createClient(major);
      dispatcher.attach(client);
      decideAs(client, 'user_1');
      const closing = dispatcher.close();
      decideAs(client, 'user_2');
      assert.equal(counts().seen, 1);
      assert.deepEqual(await viewers(), ['user_1'], 'a flush waits for what the closing delivers');
      assert.equal((await closing).delivered, 1);
      assert.throws(() => dispatcher.attach(client), { code: 'ERR_OA_CLOSED' });
      decideAs(client, 'user_3');
      assert.equal(counts().seen, 1);
      await client.close();
    });

    it('outlives the client', async () => {
      const client = createClient(major);
      const detach = dispatcher.attach(client);
      decideAs(client, 'user_1');
      await client.close();
      decideAs(client, 'user_2');
      // v4 forgets to remove listeners when it is closed.
      assert.deepEqual(await viewers(), major === 4 ? ['user_1', 'user_2'] : ['user_1']);
      detach();
      decideAs(client, 'user_3');
      assert.equal(counts().seen, major === 4 ? 2 : 1);
    });

    it('an empty user id is valid for the SDK, and not for Amplitude', async () => {
      const client = createClient(major);
      dispatcher.attach(client);
      assert.equal(decideAs(client, '').variationKey, 'one_page');
      decideAs(client, 'user_1');
      assert.deepEqual(await viewers(), ['user_1']);
      const { seen, invalid, accepted } = counts();
      assert.deepEqual({ seen, invalid, accepted }, { seen: 2, invalid: 1, accepted: 1 });
      await client.close();
    });
  });
}

describe('a client that has no datafile yet', () => {
  const UNREADY =
    /no decision has come, and the Optimizely client has no datafile yet.*onReady\(\)/;

  /** A client, and a function that delivers its datafile. */
  async function startFetching(t, major) {
    let deliver;
    const delivered = new Promise((resolve) => {
      deliver = resolve;
    });
    const server = http.createServer(async (req, res) => {
      await delivered;
      res.end(DATAFILE);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = createFetchingClient(major, `http://127.0.0.1:${server.address().port}/%s.json`);
    t.after(async () => {
      deliver();
      await client.onReady().catch(() => {});
      await client.close();
      server.closeAllConnections();
      server.close();
    });
    return { client, deliver };
  }

  for (const major of MAJORS) {
    it(`of SDK v${major}: a function that does not await onReady() gets one warning`, async (t) => {
      const { client, deliver } = await startFetching(t, major);
      dispatcher.attach(client);
      const handler = withFlush(async () => decideAs(client, 'user_9').variationKey, dispatcher);
      assert.equal(await handler(), null);
      assert.equal(logger.warnings.length, 1);
      assert.match(logger.warnings[0], UNREADY);
      assert.equal(await handler(), null);
      deliver();
      await client.onReady();
      assert.equal(await handler(), 'one_page');
      assert.deepEqual(await viewers(), ['user_9']);
      assert.equal(logger.warnings.length, 1);
    });

    it(`of SDK v${major}: a program that closes after such a decision gets a warning`, async (t) => {
      const { client } = await startFetching(t, major);
      dispatcher.attach(client);
      decideAs(client, 'user_9');
      await dispatcher.close();
      assert.equal(logger.warnings.length, 1);
      assert.match(logger.warnings[0], UNREADY);
    });

    it(`of SDK v${major}: no warning for one that is ready, or no longer attached`, async (t) => {
      const ready = createClient(major);
      dispatcher.attach(ready);
      dispatcher.attach((await startFetching(t, major)).client)();
      await dispatcher.flush();
      decideAs(ready, 'user_9');
      dispatcher.attach((await startFetching(t, major)).client);
      await dispatcher.flush();
      await dispatcher.flush();
      assert.deepEqual(logger.warnings, []);
      await ready.close();
    });
  }

  it('as far as can be detected: otherwise no warning', async () => {
    const notificationCenter = {
      addNotificationListener: () => 1,
      removeNotificationListener() {},
    };
    dispatcher.attach({ notificationCenter });
    const getOptimizelyConfig = () => {
      throw new Error('on purpose');
    };
    dispatcher.attach({ notificationCenter, getOptimizelyConfig });
    await dispatcher.flush();
    assert.deepEqual(logger.warnings, []);
  });
});

describe('attach() to something else', () => {
  const center = { addNotificationListener: () => 1, removeNotificationListener: () => true };
  const RUBBISH = {
    nothing: undefined,
    'null, as createInstance() of v5 returns it': null,
    'an object': {},
    'an array': [],
    'a number': 5,
    'a string': 'sdk-key',
    'a function': () => {},
    'a promise of a client': Promise.resolve({ notificationCenter: center }),
    'a notification centre': center,
    'an empty notification centre': { notificationCenter: {} },
    'no notification centre': { notificationCenter: null },
    'half a notification centre': { notificationCenter: { addNotificationListener: () => 1 } },
  };
  for (const [name, value] of Object.entries(RUBBISH)) {
    it(`${name}: a TypeError that says what to pass`, () => {
      assert.throws(
        () => dispatcher.attach(value),
        (error) => {
          assert.ok(error instanceof TypeError);
          assert.equal(error.code, 'ERR_OA_CLIENT');
          assert.match(error.message, /attach\(\).+client.+createInstance\(\)/);
          return true;
        },
      );
    });
  }

  it('null, or anything that createInstance() did not make: the error shows code that works', () => {
    for (const value of [null, {}, 5]) {
      assert.throws(() => dispatcher.attach(value), {
        message:
          /\n +const \{ createInstance, createPollingProjectConfigManager \} = require\('@optimizely\/optimizely-sdk'\);\n +const optimizely = createInstance\(\{ projectConfigManager: createPollingProjectConfigManager\(\{ sdkKey \}\) \}\);\n/,
      });
    }
  });

  it('an object with a client in it, such as a module: the error names its property', () => {
    assert.throws(() => dispatcher.attach({ optimizely: { notificationCenter: center } }), {
      code: 'ERR_OA_CLIENT',
      message: /an object with a client in it: attach its property 'optimizely'$/,
    });
  });

  it('a client without decision notifications: the error says which version is needed', () => {
    const old = { notificationCenter: { ...center, addNotificationListener: () => -1 } };
    assert.throws(() => dispatcher.attach(old), { code: 'ERR_OA_CLIENT', message: /v4.*v5.*v6/ });
  });
});

describe('the listener', () => {
  it('needs no this, so it can be registered by hand', async () => {
    const client = createClient();
    client.notificationCenter.addNotificationListener('DECISION', dispatcher.onDecision);
    decideAs(client, 'user_1');
    assert.deepEqual(await viewers(), ['user_1']);
    await client.close();
  });

  it('returns undefined, for whatever it is given', () => {
    for (const value of [createNotification('user_1'), { type: 'feature' }, null, 5]) {
      assert.equal(dispatcher.onDecision(value), undefined);
    }
  });

  const full = () => createNotification('user_1');
  const withInfo = (decisionInfo) => ({ ...full(), decisionInfo });
  const throwing = (object, name, what) =>
    Object.defineProperty(object, name, {
      get() {
        throw what;
      },
    });
  const revoked = () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  };

  const INVALID = {
    undefined: undefined,
    null: null,
    'a number': 5,
    'a string': 'flag',
    'an empty object': {},
    'no type': { ...full(), type: undefined },
    'a revoked proxy': revoked(),
    'no userId': { ...full(), userId: undefined },
    'a userId of null': { ...full(), userId: null },
    'a userId that is a number': { ...full(), userId: 12345 },
    'a userId that is an object': { ...full(), userId: { toString: () => 'user_1' } },
    'no decisionInfo': withInfo(undefined),
    'a decisionInfo of null': withInfo(null),
    'an empty decisionInfo': withInfo({}),
    'no flagKey': createNotification('user_1', { flagKey: undefined }),
    'an empty flagKey': createNotification('user_1', { flagKey: '' }),
    'a flagKey that is a number': createNotification('user_1', { flagKey: 5 }),
    'a flagKey with a lone surrogate': createNotification('user_1', { flagKey: 'a\ud800b' }),
    'a variationKey that is a number': createNotification('user_1', { variationKey: 5 }),
    'a variationKey with a lone surrogate': createNotification('user_1', {
      variationKey: '\udc00',
    }),
    'a ruleKey that is an object': createNotification('user_1', { ruleKey: {} }),
    'a ruleKey with a lone surrogate': createNotification('user_1', { ruleKey: 'a\udbff' }),
    'no enabled': createNotification('user_1', { enabled: undefined }),
    'an enabled that is a string': createNotification('user_1', { enabled: 'true' }),
    'a type that throws': throwing(full(), 'type', new Error('x')),
    'a userId that throws': throwing(full(), 'userId', new Error('x')),
    'a decisionInfo that throws': throwing(full(), 'decisionInfo', new Error('x')),
    'a flagKey that throws nothing': withInfo(throwing({ enabled: true }, 'flagKey', undefined)),
    'an enabled that throws null': withInfo(
      throwing({ flagKey: 'f', variationKey: 'v', ruleKey: 'r' }, 'enabled', null),
    ),
    'a variationKey that throws a string': withInfo(
      throwing({ flagKey: 'f', enabled: true, ruleKey: 'r' }, 'variationKey', 'x'),
    ),
  };

  for (const [name, notification] of Object.entries(INVALID)) {
    it(`counts ${name} as invalid, logs it once, and goes on`, async () => {
      for (let i = 0; i < 100; i++) {
        dispatcher.onDecision(notification);
      }
      dispatcher.onDecision(createNotification('user_2'));
      const { seen, invalid, accepted } = counts();
      assert.deepEqual({ seen, invalid, accepted }, { seen: 101, invalid: 100, accepted: 1 });
      assert.equal(logger.warnings.length, 1, logger.warnings.join('\n'));
      assert.deepEqual(await viewers(), ['user_2']);
    });
  }

  it('takes a decision without variationKey or ruleKey as one with null', async () => {
    dispatcher.onDecision(
      createNotification('user_1', { variationKey: undefined, ruleKey: undefined, enabled: false }),
    );
    const [{ event_properties: properties }] = await viewed();
    assert.deepEqual(properties, {
      flag_key: 'checkout_flow',
      variation_key: null,
      rule_key: null,
      enabled: false,
    });
  });

  it('survives a logger that throws', async () => {
    const fail = () => {
      throw new Error('from the logger');
    };
    await createOther({ logger: { debug: fail, info: fail, warn: fail, error: fail } });
    dispatcher.onDecision(null);
    dispatcher.onDecision(createNotification('user_2'));
    assert.deepEqual(await viewers(), ['user_2']);
  });
});

describe('user ids', () => {
  const MAX = 'm'.repeat(1024);
  const UNUSUAL = {
    'a NUL': 'user\u0000id',
    'a NUL at the end': 'userid\u0000',
    'control characters': 'user\u0001\u001f\u007f\u0080',
    'quotes and backslashes': '"user\\" \'id\' \\u0041',
    'line ends': 'user\n\r\u2028\u2029id',
    emoji: '😀👩‍👩‍👧‍👦🏳️‍🌈',
    'other scripts': 'пользователь-使用者-משתמש',
    'combining characters': 'u\u0308ser',
    'the last code points': '\u{10ffff}\uffff\ufffd\ufeff',
    'an own property of objects': '__proto__',
    JSON: '{"user_id":"x"}',
    HTML: '</script><b>&amp;',
    'spaces around': ' user ',
    '1024 characters': MAX,
    '512 emoji': '😀'.repeat(512),
  };

  it('arrive unchanged, whatever is in them', async () => {
    const ids = Object.values(UNUSUAL);
    ids.forEach((id) => dispatcher.onDecision(createNotification(id)));
    assert.deepEqual(await viewers(), ids);
    assert.equal(counts().invalid, 0);
    for (const id of ids.filter((known) => known !== '__proto__')) {
      assert.equal(
        amplitude.store.user(id).user_properties['[Optimizely] checkout_flow'],
        'one_page',
      );
    }
  });

  it('keys of flags, variations and rules are checked likewise', async () => {
    const texts = Object.values(UNUSUAL).filter((text) => text.length < 1000);
    texts.forEach((text, i) => {
      dispatcher.onDecision(
        createNotification(`keys_${i}`, { flagKey: text, variationKey: text, ruleKey: text }),
      );
    });
    const events = await viewed();
    assert.deepEqual(
      events.map((event) => event.event_properties),
      texts.map((text) => ({ flag_key: text, variation_key: text, rule_key: text, enabled: true })),
    );
    texts.forEach((text, i) => {
      assert.deepEqual(amplitude.store.user(`keys_${i}`).user_properties, {
        [`[Optimizely] ${text}`]: text,
      });
    });
  });

  const REFUSED = {
    empty: '',
    'shorter than minIdLength': 'abcd',
    '1025 characters': `${MAX}m`,
    '1 MB': 'x'.repeat(1_000_000),
    'a lone high surrogate': 'user\ud83d',
    'a lone low surrogate': '\ude00user',
    'surrogates the wrong way round': 'us\ude00\ud83der',
    "on Amplitude's list": 'anonymous',
    'a placeholder': '00000000-0000-0000-0000-000000000000',
  };

  for (const [name, id] of Object.entries(REFUSED)) {
    it(`are invalid when they are ${name}: logged once, with what to do, and the others arrive`, async () => {
      for (let i = 0; i < 50; i++) {
        dispatcher.onDecision(createNotification(`user_${i}`));
        dispatcher.onDecision(createNotification(id));
      }
      assert.equal((await viewers()).length, 50);
      const { seen, invalid, accepted, delivered } = counts();
      assert.deepEqual(
        { seen, invalid, accepted, delivered },
        { seen: 100, invalid: 50, accepted: 50, delivered: 50 },
      );
      assert.equal(logger.warnings.length, 1, logger.warnings.join('\n'));
      assert.match(logger.warnings[0], /id/);
      assert.ok(logger.warnings[0].length < 500);
    });
  }

  it('are as long as minIdLength says', async () => {
    await createOther({ minIdLength: 1 });
    ['a', 'ab', '😀'].forEach((id) => dispatcher.onDecision(createNotification(id)));
    assert.deepEqual(await viewers(), ['a', 'ab', '😀']);
    ['0', '-1', 'na', 'n/a', '{}', 'nil', 'none', 'null', 'undefined', 'unknown', 'lmy47d'].forEach(
      (id) => {
        dispatcher.onDecision(createNotification(id));
      },
    );
    assert.equal(counts().invalid, 11);
  });
});

it('attributes may be anything, since they are not read', async () => {
  const cyclic = {};
  cyclic.self = cyclic;
  [undefined, null, 5, cyclic, { big: 1n }].forEach((attributes, i) => {
    dispatcher.onDecision({ ...createNotification(`user_${i}`), attributes });
  });
  const client = createClient();
  dispatcher.attach(client);
  decideAs(client, 'user_9', { ...US_PREMIUM, cyclic });
  assert.equal((await viewers()).length, 6);
  await client.close();
});
