'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, it, test } = require('node:test');

const { Types } = require('@amplitude/analytics-node');

const { resolveOptions } = require('../../lib/options.js');

const SECRET = 'hunter2-secret';
const apiKey = 'a-key';
/** What resolveOptions() adds to the options. */
const DERIVED = ['isAmplitude', 'maxBodyBytes', 'serverName', 'throttleMillis', 'warnings'];

/** Resolve valid options with `options` added, in an environment that is only `env`. */
const resolve = (options, env = {}) => resolveOptions({ apiKey, ...options }, env);

/** The message of the error that `run` throws. */
function refusal(run) {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof TypeError, error.stack);
    assert.equal(error.code, 'ERR_OA_OPTION');
    assert.ok(!error.message.includes(SECRET), error.message);
    return error.message;
  }
  return assert.fail('nothing was thrown');
}

test('the defaults', () => {
  const resolved = resolve({});
  assert.deepEqual(resolved, {
    apiKey,
    serverZone: 'US',
    useBatch: false,
    serverUrl: 'https://api2.amplitude.com/2/httpapi',
    minIdLength: 5,
    flushQueueSize: 200,
    flushIntervalMillis: 10_000,
    flushMaxRetries: 12,
    maxConcurrent: 1,
    maxAgeMillis: 24 * 3_600_000,
    isAmplitude: true,
    serverName: 'https://api2.amplitude.com/2/httpapi',
    flushTimeoutMillis: 10_000,
    requestTimeoutMillis: 10_000,
    maxQueueBytes: 64 * 1024 * 1024,
    spool: null,
    compression: true,
    dedupe: {
      windowMillis: 86_400_000,
      refreshMillis: 3_600_000,
      maxEntries: 1_000_000,
      store: null,
    },
    format: {
      sendsIdentify: true,
      sendsEvent: true,
      eventSetsProperty: false,
      setsProperty: true,
      sendsExposure: false,
      ownProperties: ['flag_key', 'variation_key', 'rule_key', 'enabled'],
    },
    eventType: 'Experiment Viewed',
    propertyPrefix: '[Optimizely] ',
    disabledValue: 'off',
    decisionTypes: ['flag'],
    resolveUser: null,
    eventProperties: null,
    userProperties: null,
    beforeSend: null,
    send: 'all',
    includeRollouts: true,
    groups: null,
    ingestionMetadata: null,
    plan: null,
    partnerId: null,
    optOut: false,
    logger: null,
    loggerProvider: null,
    logLevel: null,
    onDrop: null,
    proxy: null,
    noProxy: null,
    caFile: null,
    engine: null,
    maxBodyBytes: 999_999,
    throttleMillis: 30_000,
    warnings: [],
  });
  assert.ok(
    Object.isFrozen(resolved) &&
      Object.isFrozen(resolved.dedupe) &&
      Object.isFrozen(resolved.decisionTypes),
  );
});

test('undefined counts as absent', () => {
  const names = Object.keys(resolve({})).filter(
    (name) => name !== 'apiKey' && !DERIVED.includes(name),
  );
  assert.deepEqual(
    resolve(Object.fromEntries(names.map((name) => [name, undefined]))),
    resolve({}),
  );
  assert.deepEqual(resolve({ dedupe: { windowMillis: undefined } }), resolve({}));
});

test('every option is refused when it is null, a symbol, NaN or useless, and named', () => {
  const names = Object.keys(resolve({})).filter((name) => !DERIVED.includes(name));
  for (const name of names) {
    for (const value of [null, Symbol('x'), NaN, -1, 1.5, Infinity, [], 5n, new Map()]) {
      if (
        value instanceof Map &&
        ['dedupe', 'groups', 'ingestionMetadata', 'plan'].includes(name)
      ) {
        continue; // an object without own properties: nothing is given
      }
      assert.match(
        refusal(() => resolve({ [name]: value })),
        new RegExp(`^option '${name}(\\.\\w+)?': expected .+, got .+`),
      );
    }
  }
});

test('anything but an object of options is refused without being shown', () => {
  for (const value of [undefined, null, SECRET, 5, [], () => {}]) {
    assert.match(
      refusal(() => resolveOptions(value)),
      /^createDispatcher\(\) expects its options/,
    );
  }
});

describe('apiKey', () => {
  it('is required, and the message names the environment', () => {
    for (const value of [undefined, '', 'undefined', 'null']) {
      assert.match(
        refusal(() => resolve({ apiKey: value })),
        /^option 'apiKey': .+environment variable/,
      );
    }
  });

  it('is refused without being shown', () => {
    for (const value of [
      `${SECRET} `,
      `${SECRET}\n`,
      `"${SECRET}é"`,
      SECRET.repeat(100),
      { SECRET },
      12345,
    ]) {
      const message = refusal(() => resolve({ apiKey: value }));
      assert.match(message, /^option 'apiKey': expected the API key/);
      assert.ok(!message.includes('12345'));
    }
  });
});

describe('numbers', () => {
  const RANGES = {
    minIdLength: [1, 1024],
    flushQueueSize: [1, 4294967295],
    flushIntervalMillis: [0, 2 ** 31 - 1],
    flushMaxRetries: [1, 65_535],
    maxConcurrent: [1, 8],
    maxAgeMillis: [1, 7 * 24 * 3_600_000],
    flushTimeoutMillis: [0, 2 ** 31 - 1],
    requestTimeoutMillis: [1, 2 ** 31 - 1],
    maxQueueBytes: [1024, Number.MAX_SAFE_INTEGER],
  };
  for (const [name, [min, max]] of Object.entries(RANGES)) {
    it(`${name} is an integer from ${min} to ${max}`, () => {
      for (const value of [min, max]) {
        assert.equal(resolve({ [name]: value })[name], value);
      }
      for (const value of [min - 1, max + 1, `${min}`, true, { valueOf: () => min }]) {
        assert.match(
          refusal(() => resolve({ [name]: value })),
          new RegExp(`^option '${name}': expected an integer from ${min} to ${max}`),
        );
      }
    });
  }

  it('shows what was given', () => {
    assert.equal(
      refusal(() => resolve({ flushQueueSize: '5' })),
      'option \'flushQueueSize\': expected an integer from 1 to 4294967295 (events), got "5" (a string)',
    );
  });
});

describe('serverUrl and what follows from it', () => {
  const CASES = [
    [{}, 'https://api2.amplitude.com/2/httpapi', true, 999_999, 30_000],
    [{ useBatch: true }, 'https://api2.amplitude.com/batch', true, 19_999_999, 15_000],
    [{ serverZone: 'EU' }, 'https://api.eu.amplitude.com/2/httpapi', true, 999_999, 30_000],
    [
      { serverZone: 'EU', useBatch: true },
      'https://api.eu.amplitude.com/batch',
      true,
      19_999_999,
      15_000,
    ],
    [
      { serverUrl: 'https://api.amplitude.com/2/httpapi' },
      'https://api.amplitude.com/2/httpapi',
      true,
      999_999,
      30_000,
    ],
    [
      { serverUrl: 'http://h:8080/a/?b=c&d=%20' },
      'http://h:8080/a/?b=c&d=%20',
      true,
      999_999,
      30_000,
    ],
    [
      { serverUrl: 'http://h/x', useBatch: true, serverZone: 'EU' },
      'http://h/x',
      true,
      19_999_999,
      15_000,
    ],
    [{ serverUrl: 'http://h/x/batch?to=us' }, 'http://h/x/batch?to=us', true, 19_999_999, 15_000],
    [{ serverUrl: 'http://h/batch/' }, 'http://h/batch/', true, 19_999_999, 15_000],
    [
      { serverUrl: 'http://h/rebatched?x=/batch' },
      'http://h/rebatched?x=/batch',
      true,
      999_999,
      30_000,
    ],
    [{ serverUrl: ' HTTP://H/x#y ' }, 'http://h/x', true, 999_999, 30_000],
    [{ serverUrl: 'http://h/x', compression: false }, 'http://h/x', false, 999_999, 30_000],
    [{ compression: false }, 'https://api2.amplitude.com/2/httpapi', false, 999_999, 30_000],
  ];
  for (const [options, serverUrl, compression, maxBodyBytes, throttleMillis] of CASES) {
    it(JSON.stringify(options), () => {
      const {
        serverUrl: url,
        compression: compress,
        maxBodyBytes: bytes,
        throttleMillis: pause,
      } = resolve(options);
      assert.deepEqual(
        [url, compress, bytes, pause],
        [serverUrl, compression, maxBodyBytes, throttleMillis],
      );
    });
  }

  it('must be absolute, http or https, and without credentials, which are not shown', () => {
    const bad = [
      '',
      'localhost:8080/x',
      '/2/httpapi',
      'ftp://h/',
      'http://',
      `http://u:${SECRET}@h/`,
      `ftp://u:${SECRET}@h/`,
      `u:${SECRET}@h`,
      `h/x?token=${SECRET}`,
      new URL('http://h/'),
    ];
    for (const serverUrl of bad) {
      assert.match(
        refusal(() => resolve({ serverUrl })),
        /^option 'serverUrl': expected an absolute http or https URL/,
      );
    }
  });
});

describe('serverUrl without a path', () => {
  for (const serverUrl of [
    'https://api2.amplitude.com',
    'https://api2.amplitude.com/',
    'https://api2.amplitude.com?token=1',
    'HTTPS://api2.amplitude.com:443/#x',
  ]) {
    it(`${serverUrl} is refused, and the two right ones are named`, () => {
      const message = refusal(() => resolve({ serverUrl }));
      assert.match(message, /^option 'serverUrl': expected .* with the path of the endpoint, got /);
      assert.match(
        message,
        /: Amplitude listens at https:\/\/api2\.amplitude\.com\/2\/httpapi and at https:\/\/api2\.amplitude\.com\/batch$/,
      );
      assert.doesNotMatch(message, /token/);
    });
  }
});

describe('dedupe', () => {
  it('is false, or as given, or completed', () => {
    assert.equal(resolve({ dedupe: false }).dedupe, null);
    assert.deepEqual(resolve({ dedupe: {} }).dedupe, {
      windowMillis: 86_400_000,
      refreshMillis: 3_600_000,
      maxEntries: 1_000_000,
      store: null,
    });
    const given = { windowMillis: 1000, refreshMillis: 2000, maxEntries: 1 };
    assert.deepEqual(resolve({ dedupe: given }).dedupe, {
      windowMillis: 1000,
      refreshMillis: 2000,
      maxEntries: 1,
      store: null,
    });
  });

  it('is refused with the name of the part that is wrong', () => {
    assert.match(
      refusal(() => resolve({ dedupe: true })),
      /^option 'dedupe': /,
    );
    assert.match(
      refusal(() => resolve({ dedupe: { windowMillis: 0 } })),
      /^option 'dedupe\.windowMillis': /,
    );
    for (const refreshMillis of [0, -1, 1.5, '1h', null, 366 * 86_400_000]) {
      assert.match(
        refusal(() => resolve({ dedupe: { refreshMillis } })),
        /^option 'dedupe\.refreshMillis': expected an integer from 1 to 31536000000 \(milliseconds\), got /,
      );
    }
    assert.match(
      refusal(() => resolve({ dedupe: { maxEntries: 0 } })),
      /^option 'dedupe\.maxEntries': /,
    );
    assert.equal(
      refusal(() => resolve({ dedupe: { ttl: 5 } })),
      "unknown option 'dedupe.ttl': did you mean 'dedupe.windowMillis'?",
    );
  });
});

describe('spool', () => {
  const directory = path.resolve('spool');

  it('is false, or completed; the directory is absolute', () => {
    assert.equal(resolve({ spool: false }).spool, null);
    assert.deepEqual(resolve({ spool: { directory: 'spool' } }).spool, {
      directory,
      maxBytes: 2 ** 30,
      syncIntervalMillis: 1000,
      syncsFlushes: false,
    });
    const { spool } = resolve({ spool: { directory, syncIntervalMillis: 'always' } });
    assert.ok(Object.isFrozen(spool) && spool.syncsFlushes && spool.syncIntervalMillis === 1000);
    assert.equal(
      resolve({ spool: { directory, syncIntervalMillis: 0 } }).spool.syncIntervalMillis,
      0,
    );
  });

  it('is refused with the name of the part that is wrong', () => {
    const refused = (spool) => refusal(() => resolve({ spool }));
    assert.match(refused('directory'), /^option 'spool': expected false, or an object with /);
    assert.match(
      refused({}),
      /^option 'spool\.directory': expected the path of a directory, got undefined/,
    );
    assert.match(refused({ directory: '' }), /^option 'spool\.directory': /);
    assert.match(refused({ directory: '/'.padEnd(5000, 'x') }), /of at most 1000 characters/);
    assert.match(refused({ directory, maxBytes: 1000 }), /^option 'spool\.maxBytes': /);
    for (const syncIntervalMillis of [-1, 1.5, 'never', null]) {
      assert.match(
        refused({ directory, syncIntervalMillis }),
        /^option 'spool\.syncIntervalMillis': .*'always'/,
      );
    }
    assert.equal(
      refused({ directory, maxbytes: 5 }),
      "unknown option 'spool.maxbytes': did you mean 'spool.maxBytes'?",
    );
  });
});

describe('dedupe.store', () => {
  const refused = (store) => refusal(() => resolve({ dedupe: { store } }));
  const client = { sendCommand: () => {} };
  const send = () => {};

  it('is completed', () => {
    const rest = { prefix: 'oa', buckets: 1, timeoutMillis: 50 };
    assert.deepEqual(resolve({ dedupe: { store: { client } } }).dedupe.store, {
      client,
      send: null,
      ...rest,
    });
    assert.deepEqual(
      resolve({ dedupe: { store: client } }).dedupe.store,
      resolve({ dedupe: { store: { client } } }).dedupe.store,
    );
    assert.deepEqual(
      resolve({ dedupe: { store: send } }).dedupe.store,
      resolve({ dedupe: { store: { send } } }).dedupe.store,
    );
    const given = { send, prefix: 'shop', buckets: 16, timeoutMillis: 100 };
    assert.deepEqual(resolve({ dedupe: { store: given } }).dedupe.store, {
      client: null,
      ...given,
    });
  });

  it('has a client, or a function that sends, and not both', () => {
    const start =
      "option 'dedupe.store': expected an object with the application's client of Redis or Valkey, ";
    for (const value of ['redis://localhost', null, 5, []]) {
      assert.ok(refused(value).startsWith(start), refused(value));
    }
    assert.ok(refused({}).endsWith('got neither'));
    assert.ok(refused({ client, send }).endsWith('got both'));
  });

  it('is refused with the name of the part that is wrong', () => {
    for (const value of [null, {}, 'redis://localhost', send, { get() {} }]) {
      assert.match(
        refused({ client: value }),
        /^option 'dedupe\.store\.client': expected a client of redis, ioredis/,
      );
    }
    assert.match(refused({ send: {} }), /^option 'dedupe\.store\.send': expected a function/);
    for (const prefix of ['', '{x}', 'a b', 'x'.repeat(65), 5, null]) {
      assert.match(refused({ client, prefix }), /^option 'dedupe\.store\.prefix': /);
    }
    for (const buckets of [0, 1025, 1.5, '16']) {
      assert.match(refused({ client, buckets }), /^option 'dedupe\.store\.buckets': /);
    }
    assert.match(refused({ client, timeoutMillis: 0 }), /^option 'dedupe\.store\.timeoutMillis': /);
    assert.equal(
      refused({ client, timeout: 5 }),
      "unknown option 'dedupe.store.timeout': did you mean 'dedupe.store.timeoutMillis'?",
    );
  });
});

describe('texts', () => {
  it('eventType is a name, or false for none', () => {
    assert.equal(resolve({ eventType: '[Amplitude] x' }).eventType, '[Amplitude] x');
    assert.equal(resolve({ eventType: false }).eventType, null);
    for (const eventType of [
      '',
      true,
      'x'.repeat(1025),
      '$identify',
      '$groupidentify',
      '$exposure',
      'a\ud800',
    ]) {
      assert.match(
        refusal(() => resolve({ eventType })),
        /^option 'eventType': /,
      );
    }
  });

  it('format is one or several that go together', () => {
    const sends = (format) => {
      const { sendsIdentify, sendsEvent, eventSetsProperty, sendsExposure } = resolve({
        format,
      }).format;
      return [sendsIdentify, sendsEvent, eventSetsProperty, sendsExposure].map(Number).join('');
    };
    assert.equal(sends('event'), '1100');
    assert.equal(sends(['event']), '1100');
    assert.equal(sends('merged'), '0110');
    assert.equal(sends('exposure'), '0001');
    assert.equal(sends('identify'), '1000');
    assert.equal(sends(['exposure', 'identify']), '1001');
    assert.equal(sends(['event', 'exposure']), '1101');
    assert.equal(sends(['merged', 'exposure']), '0111');
    assert.equal(resolve({ format: 'exposure' }).eventType, null);
    assert.equal(resolve({ format: 'merged', eventType: 'Seen' }).eventType, 'Seen');
    for (const format of [[], 'events', 'toString', ['event', null], {}, true]) {
      assert.match(
        refusal(() => resolve({ format })),
        /^option 'format': expected 'event', 'merged', 'exposure', 'identify', or an array/,
      );
    }
    for (const [format, clash] of [
      [['event', 'identify'], /got one with 'event' and 'identify', which both set the user/],
      [['exposure', 'merged', 'event'], /'merged' and 'event', which both/],
      [['merged', 'identify'], /'merged' and 'identify', which both/],
      [['exposure', 'exposure'], /'exposure' twice/],
    ]) {
      assert.match(
        refusal(() => resolve({ format })),
        clash,
      );
    }
  });

  it('eventType: false is format: identify, and what a format does not send is refused', () => {
    assert.deepEqual(resolve({ eventType: false }), resolve({ format: 'identify' }));
    assert.deepEqual(
      resolve({ eventType: false, format: ['exposure', 'identify'] }),
      resolve({ format: ['exposure', 'identify'] }),
    );
    for (const format of ['event', 'merged', ['exposure', 'merged']]) {
      assert.match(
        refusal(() => resolve({ format, eventType: false })),
        /^option 'eventType': false sends no event, but format '.*; leave eventType out, or use format: 'identify'$/,
      );
    }
    assert.equal(
      refusal(() => resolve({ format: ['exposure', 'identify'], eventType: 'Seen' })),
      "option 'eventType': format 'exposure' with 'identify' sends no event of this type; leave it out",
    );
    assert.match(
      refusal(() => resolve({ format: 'exposure', userProperties: () => ({}) })),
      /^option 'userProperties': format 'exposure' sets none; use format: \['exposure', 'identify'\]$/,
    );
    assert.match(
      refusal(() => resolve({ eventType: '$exposure' })),
      /it is sent by format: 'exposure'/,
    );
  });

  it('propertyPrefix may be empty', () => {
    assert.equal(resolve({ propertyPrefix: '' }).propertyPrefix, '');
    assert.equal(resolve({ propertyPrefix: 'é😀"\0' }).propertyPrefix, 'é😀"\0');
    for (const propertyPrefix of ['x'.repeat(1025), 'a\udc00']) {
      assert.match(
        refusal(() => resolve({ propertyPrefix })),
        /^option 'propertyPrefix': /,
      );
    }
  });

  it('disabledValue and serverZone are one of a few', () => {
    assert.equal(resolve({ disabledValue: 'variation' }).disabledValue, 'variation');
    assert.equal(
      refusal(() => resolve({ serverZone: 'eu' })),
      "option 'serverZone': expected one of 'US', 'EU', got \"eu\" (a string)",
    );
  });
});

test('send, and its older name', () => {
  for (const options of [
    { send: 'experiments' },
    { includeRollouts: false },
    { send: 'experiments', includeRollouts: false },
  ]) {
    const { send, includeRollouts } = resolve(options);
    assert.deepEqual({ send, includeRollouts }, { send: 'experiments', includeRollouts: false });
  }
  for (const options of [
    { send: 'all' },
    { includeRollouts: true },
    { send: 'all', includeRollouts: true },
  ]) {
    assert.equal(resolve(options).send, 'all');
  }
  assert.match(
    refusal(() => resolve({ send: 'all', includeRollouts: false })),
    /^option 'includeRollouts': false means send: 'experiments', and contradicts send: 'all'; give 'send' alone$/,
  );
  assert.match(
    refusal(() => resolve({ send: 'experiments', includeRollouts: true })),
    /^option 'includeRollouts': true means send: 'all'/,
  );
  assert.match(
    refusal(() => resolve({ send: 'rollouts' })),
    /^option 'send': expected .*'all'.*'experiments'.*, got/,
  );
});

describe('decisionTypes', () => {
  it("are known types, each once, and not the caller's array", () => {
    const given = [
      'flag',
      'feature',
      'flag',
      'feature-variable',
      'all-feature-variables',
      'ab-test',
      'feature-test',
    ];
    const { decisionTypes } = resolve({ decisionTypes: given });
    assert.deepEqual(decisionTypes, [...new Set(given)]);
    assert.ok(Object.isFrozen(decisionTypes) && !Object.isFrozen(given));
  });

  it('are refused when there is none, or one that is unknown', () => {
    for (const decisionTypes of [[], ['flags'], ['flag', undefined], 'flag']) {
      assert.match(
        refusal(() => resolve({ decisionTypes })),
        /^option 'decisionTypes': expected an array of 'flag'/,
      );
    }
  });
});

describe('groups', () => {
  it('are copied and frozen', () => {
    const given = { company: 'acme', team: ['a', 'b'] };
    const { groups } = resolve({ groups: given });
    given.team.push('c');
    assert.deepEqual(groups, { company: 'acme', team: ['a', 'b'] });
    assert.ok(Object.isFrozen(groups) && Object.isFrozen(groups.team));
    assert.equal(resolve({ groups: {} }).groups, null);
  });

  it("are within Amplitude's limits", () => {
    const names = (count) => Array.from({ length: count }, (_, i) => `n${i}`);
    assert.ok(resolve({ groups: { a: names(9), b: 'x' } }).groups);
    const bad = [
      { a: names(11) },
      { a: names(10), b: 'x' },
      Object.fromEntries(names(6).map((name) => [name, 'x'])),
      { a: '' },
      { a: [] },
      { a: [''] },
      { a: 5 },
      { a: null },
      { a: undefined },
      { a: [['x']] },
      { a: ['\ud800'] },
      { '': 'x' },
      ['a'],
    ];
    for (const groups of bad) {
      assert.match(
        refusal(() => resolve({ groups })),
        /^option 'groups': /,
      );
    }
  });
});

describe('ingestionMetadata, plan and partnerId', () => {
  it('are copied and frozen; an empty one is none', () => {
    const plan = { branch: 'main', source: undefined };
    const resolved = resolve({ plan, ingestionMetadata: {} }).plan;
    plan.branch = 'other';
    assert.deepEqual(resolved, { branch: 'main' });
    assert.ok(Object.isFrozen(resolved));
    assert.equal(resolve({ ingestionMetadata: {} }).ingestionMetadata, null);
  });

  it('are refused when they are anything else, and named', () => {
    const bad = {
      'ingestionMetadata: ': { ingestionMetadata: 'ampli' },
      'ingestionMetadata.sourceName: ': { ingestionMetadata: { sourceName: '' } },
      'ingestionMetadata.sourceVersion: ': { ingestionMetadata: { sourceVersion: 2 } },
      'plan: ': { plan: ['main'] },
      'plan.branch: ': { plan: { branch: 'x'.repeat(1025) } },
      'plan.versionId: ': { plan: { versionId: '\ud800' } },
      'partnerId: ': { partnerId: '' },
    };
    for (const [name, options] of Object.entries(bad)) {
      const message = refusal(() => resolve(options));
      assert.ok(
        message.startsWith(`option '${name.replace(': ', "': expected ")}`),
        `${name}: ${message}`,
      );
    }
    assert.match(
      refusal(() => resolve({ ingestionMetadata: { source_name: 'ampli' } })),
      /unknown option 'ingestionMetadata.source_name': .*'ingestionMetadata.sourceName'/,
    );
  });
});

describe('functions', () => {
  it('are taken as they are', () => {
    for (const name of [
      'resolveUser',
      'eventProperties',
      'userProperties',
      'beforeSend',
      'onDrop',
    ]) {
      const callback = () => null;
      assert.equal(resolve({ [name]: callback })[name], callback);
      assert.match(
        refusal(() => resolve({ [name]: {} })),
        new RegExp(`^option '${name}': expected a function, got an object`),
      );
    }
  });

  it('logger has all four, own or inherited', () => {
    assert.equal(resolve({ logger: console }).logger, console);
    const inherited = new (class {
      debug() {}
      info() {}
      warn() {}
      error() {}
    })();
    assert.equal(resolve({ logger: inherited }).logger, inherited);
    assert.match(
      refusal(() => resolve({ logger: { debug() {}, info() {}, warn: 5 } })),
      /^option 'logger': expected an object with the functions debug, info, warn, error, got one without warn, error$/,
    );
  });

  it('logger is also called loggerProvider, and may have log() in place of info()', () => {
    const { info, ...provider } = { ...console, log() {} };
    assert.equal(typeof info, 'function');
    assert.equal(resolve({ loggerProvider: provider }).logger, provider);
    assert.equal(resolve({ logger: provider, loggerProvider: provider }).logger, provider);
    assert.equal(
      refusal(() => resolve({ logger: console, loggerProvider: provider })),
      "options 'logger' and 'loggerProvider' are two names of one option, and they differ: give one of them",
    );
    assert.match(
      refusal(() => resolve({ loggerProvider: { debug() {}, warn() {}, error() {} } })),
      /^option 'loggerProvider': .* got one without info$/,
    );
  });
});

describe('logLevel', () => {
  it('is a name, or a number of analytics-node', () => {
    for (const level of ['none', 'error', 'warn', 'info', 'debug']) {
      assert.equal(resolve({ logLevel: level }).logLevel, level);
    }
    const { None, Error, Warn, Verbose, Debug } = Types.LogLevel;
    assert.deepEqual(
      [None, Error, Warn, Verbose, Debug].map((logLevel) => resolve({ logLevel }).logLevel),
      ['none', 'error', 'warn', 'info', 'debug'],
    );
  });

  it('is refused otherwise', () => {
    for (const logLevel of [-1, 5, 1.5, '2', 'DEBUG', 'silent', null, true, 'constructor']) {
      assert.match(
        refusal(() => resolve({ logLevel })),
        /^option 'logLevel': expected one of 'none', 'error', 'warn', 'info', 'debug', or a LogLevel of analytics-node \(0 to 4\), got /,
      );
    }
  });
});

describe('caFile', () => {
  it('becomes absolute', () => {
    const relative = path.relative(process.cwd(), __filename);
    assert.equal(resolve({ caFile: relative }).caFile, __filename);
  });

  it('must be there and a file', () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'options-'));
    try {
      assert.match(
        refusal(() => resolve({ caFile: path.join(folder, 'none.pem') })),
        /^option 'caFile': .+cannot be read \(ENOENT\)/,
      );
      assert.match(
        refusal(() => resolve({ caFile: folder })),
        /is not a file$/,
      );
      assert.match(
        refusal(() => resolve({ caFile: '' })),
        /^option 'caFile': /,
      );
      assert.match(
        refusal(() => resolve({ caFile: 'a\0b' })),
        /^option 'caFile': /,
      );
    } finally {
      fs.rmdirSync(folder);
    }
  });
});

describe('proxy', () => {
  const HTTP = { serverUrl: 'http://h/x' };
  const CASES = [
    // options, environment, proxy
    [{}, { https_proxy: 'http://a:1' }, 'http://a:1/'],
    [{}, { HTTPS_PROXY: 'http://a:1' }, 'http://a:1/'],
    [
      {},
      { https_proxy: 'http://a:1', HTTPS_PROXY: 'http://b:1', all_proxy: 'http://c:1' },
      'http://a:1/',
    ],
    [{}, { http_proxy: 'http://a:1' }, null],
    [{}, { https_proxy: '', all_proxy: 'socks5h://a:1' }, 'socks5h://a:1'],
    [{}, { ALL_PROXY: 'a:1' }, 'http://a:1/'],
    [{}, { ALL_PROXY: `u:${SECRET}@a:1` }, `http://u:${SECRET}@a:1/`],
    [HTTP, { http_proxy: 'http://a:1' }, 'http://a:1/'],
    [HTTP, { HTTP_PROXY: 'http://a:1', https_proxy: 'http://b:1' }, null],
    [HTTP, { HTTP_PROXY: 'http://a:1', ALL_PROXY: 'http://b:1' }, 'http://b:1/'],
    [{ proxy: 'proxy.example:3128' }, { https_proxy: 'http://a:1' }, 'http://proxy.example:3128/'],
    [{ proxy: `https://u:${SECRET}@a` }, {}, `https://u:${SECRET}@a/`],
    [{ proxy: '' }, { https_proxy: 'http://a:1' }, null],
  ];
  for (const [options, env, proxy] of CASES) {
    it(`${JSON.stringify(options)} in ${JSON.stringify(env)}`, () => {
      assert.equal(resolve(options, env).proxy, proxy);
    });
  }

  it('is refused, or left out of the environment with a warning, without its credentials', () => {
    for (const proxy of [
      `ftp://u:${SECRET}@a`,
      `http://u:${SECRET}@`,
      `u:${SECRET}@a:99999`,
      'http://',
      'a b',
    ]) {
      assert.match(
        refusal(() => resolve({ proxy })),
        /^option 'proxy': expected the URL of a proxy/,
      );
      const left = resolve({}, { HTTPS_PROXY: proxy });
      assert.equal(left.proxy, null);
      assert.equal(left.warnings.length, 1);
      assert.match(
        left.warnings[0],
        /^environment variable HTTPS_PROXY: expected the URL of a proxy .*; it is left out$/,
      );
      assert.ok(!left.warnings[0].includes(SECRET), left.warnings[0]);
      assert.equal(resolve({}, { HTTPS_PROXY: proxy, all_proxy: 'a:1' }).proxy, 'http://a:1/');
      assert.deepEqual(resolve({ proxy: '' }, { HTTPS_PROXY: proxy }).warnings, []);
      assert.deepEqual(resolve({}, { http_proxy: proxy }).warnings, []); // it is for http alone
    }
  });

  it('noProxy likewise', () => {
    assert.equal(resolve({}, { no_proxy: 'a', NO_PROXY: 'b' }).noProxy, 'a');
    assert.equal(resolve({}, { no_proxy: '', NO_PROXY: 'b' }).noProxy, 'b');
    assert.equal(resolve({ noProxy: 'c' }, { no_proxy: 'a' }).noProxy, 'c');
    assert.equal(resolve({ noProxy: '' }, { no_proxy: 'a' }).noProxy, null);
    assert.match(
      refusal(() => resolve({ noProxy: ['a'] })),
      /^option 'noProxy': /,
    );
  });
});

describe('unknown names', () => {
  const NEAREST = {
    apikey: 'apiKey',
    api_key: 'apiKey',
    'API-KEY': 'apiKey',
    apiKe: 'apiKey',
    paiKey: 'apiKey',
    flushIntervalMs: 'flushIntervalMillis',
    flush_interval_millis: 'flushIntervalMillis',
    flushInterval: 'flushIntervalMillis',
    flushQueSize: 'flushQueueSize',
    batchSize: 'flushQueueSize',
    flushAt: 'flushQueueSize',
    flushTimeoutMs: 'flushTimeoutMillis',
    timeout: 'requestTimeoutMillis',
    timeoutMillis: 'requestTimeoutMillis',
    apiUrl: 'serverUrl',
    serverURL: 'serverUrl',
    endpoint: 'serverUrl',
    region: 'serverZone',
    serverzone: 'serverZone',
    maxRetries: 'flushMaxRetries',
    concurrency: 'maxConcurrent',
    useBatchApi: 'useBatch',
    gzip: 'compression',
    optout: 'optOut',
    logger_provider: 'loggerProvider',
    log: 'logger',
    loglevel: 'logLevel',
    verbose: 'logLevel',
    minIdLenght: 'minIdLength',
    deduplication: 'dedupe',
    eventProps: undefined,
    onDropped: 'onDrop',
    CAFile: 'caFile',
    foo: undefined,
    '': undefined,
    constructor: undefined,
    hasOwnProperty: undefined,
    ['x'.repeat(100_000)]: undefined,
  };
  for (const [name, nearest] of Object.entries(NEAREST)) {
    it(`${JSON.stringify(name.slice(0, 40))}: ${nearest}`, () => {
      const message = refusal(() => resolve({ [name]: SECRET }));
      assert.ok(message.startsWith(`unknown option '${name.slice(0, 40)}`), message);
      assert.ok(
        message.endsWith(nearest === undefined ? 'caFile, engine' : `did you mean '${nearest}'?`),
        message,
      );
      assert.ok(message.length < 1000);
    });
  }

  it('come before what is missing', () => {
    assert.equal(
      refusal(() => resolveOptions({ api_key: SECRET })),
      "unknown option 'api_key': did you mean 'apiKey'?",
    );
  });
});
