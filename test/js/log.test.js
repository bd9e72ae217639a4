'use strict';

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { describe, it } = require('node:test');

const { pino } = require('pino'); // of fastify
const { createLog } = require('../../lib/log.js');

const MINUTE = 60_000;

/** A log whose logger keeps `[level, message]` in `lines`, with a clock that stands still. */
function createFixture(options) {
  const clock = { millis: 1000 };
  const lines = [];
  const record =
    (level) =>
    (...args) =>
      lines.push([level, ...args]);
  const logger = {
    debug: record('debug'),
    info: record('info'),
    warn: record('warn'),
    error: record('error'),
  };
  const log = createLog(logger, { level: 'debug', now: () => clock.millis, ...options });
  return { clock, lines, log };
}

describe('with a logger', () => {
  it('passes messages on, each to the function of its level', () => {
    const { lines, log } = createFixture();
    log.debug('a');
    log.info('b');
    log.warn('key', 'c');
    log.error('other key', 'd');
    assert.deepEqual(lines, [
      ['debug', 'a'],
      ['info', 'b'],
      ['warn', 'c'],
      ['error', 'd'],
    ]);
    assert.equal(log.debugEnabled, true);
  });

  it('calls the functions as methods', () => {
    const logger = {
      lines: [],
      debug() {},
      info() {},
      warn() {},
      error(message) {
        this.lines.push(message);
      },
    };
    createLog(logger).error('key', 'x');
    assert.deepEqual(logger.lines, ['x']);
  });

  it('survives one that throws, rejects, or returns something odd', async () => {
    const odd = [
      () => {
        throw new Error('x');
      },
      () => Promise.reject(new Error('would end the process')),
      () => ({
        get then() {
          throw new Error('x');
        },
      }),
      () => ({
        then() {
          throw new Error('x');
        },
      }),
      () => null,
    ];
    for (const method of odd) {
      const log = createLog(
        { debug: method, info: method, warn: method, error: method },
        { level: 'debug' },
      );
      log.debug('a');
      log.info('a');
      log.warn('key', 'a');
      log.error('another', 'a');
    }
    await new Promise(setImmediate); // an unhandled rejection would fail this test by then
  });

  it('survives one that logs because of a message', () => {
    let calls = 0;
    const log = createLog({
      debug() {},
      info() {},
      error() {},
      warn() {
        calls++;
        log.warn('key', 'again');
      },
    });
    log.warn('key', 'x');
    assert.equal(calls, 1);
  });
});

describe('repeated warnings and errors', () => {
  it('come at once, and then once a minute with the number of suppressed ones', () => {
    const { clock, lines, log } = createFixture();
    for (let i = 0; i < 1000; i++) {
      log.error('key', `error ${i}`);
    }
    assert.deepEqual(lines, [['error', 'error 0']]);
    clock.millis += MINUTE - 1;
    log.error('key', 'too early');
    clock.millis += 1;
    log.error('key', 'later');
    log.error('key', 'suppressed');
    clock.millis += MINUTE;
    log.error('key', 'last');
    clock.millis += MINUTE;
    log.error('key', 'alone');
    assert.deepEqual(
      lines.slice(1).map(([, message]) => message),
      [
        'later (and 1000 more since the last such line)',
        'last (and 1 more since the last such line)',
        'alone',
      ],
    );
  });

  it('do not suppress those of another key', () => {
    const { lines, log } = createFixture();
    log.warn('a', '1');
    log.warn('b', '2');
    log.warn('a', '3');
    assert.deepEqual(lines, [
      ['warn', '1'],
      ['warn', '2'],
    ]);
  });

  it('share one key when there are too many', () => {
    const { clock, lines, log } = createFixture({ maxKeys: 3 });
    for (let i = 0; i < 10_000; i++) {
      log.warn(`key ${i}`, `${i}`);
    }
    assert.deepEqual(
      lines.map(([, message]) => message),
      ['0', '1', '2', '3'],
    );
    clock.millis += MINUTE;
    log.warn('key 0', 'known');
    log.warn('new', 'new');
    assert.deepEqual(
      lines.slice(4).map(([, message]) => message),
      ['known', 'new'],
    );
  });
});

/** The levels of the messages that a logger gets. */
function levelsOf(logger, level) {
  const got = [];
  const methods = ['debug', 'info', 'log', 'warn', 'error'].filter((name) => name in logger);
  const spy = Object.create(
    logger,
    Object.fromEntries(
      methods.map((name) => [
        name,
        {
          value(...args) {
            if (args.length > 0) {
              got.push(name);
            }
            return logger[name].apply(this, args);
          },
        },
      ]),
    ),
  );
  const log = createLog(spy, { level });
  log.debug('a');
  log.info('b');
  log.warn('key', 'c');
  log.error('other key', 'd');
  assert.equal(log.debugEnabled, got.includes('debug'));
  return got;
}

const plain = (more) => ({ debug() {}, info() {}, warn() {}, error() {}, ...more });

/** As bunyan 2: its methods tell whether they log, if they get no message, and it has no isLevelEnabled(). */
const bunyan = (lowest) =>
  plain({
    addStream() {},
    level: () => lowest,
    debug: () => lowest <= 20,
    info: () => lowest <= 30,
  });

describe('the level', () => {
  const UP_TO = {
    none: [],
    error: ['error'],
    warn: ['warn', 'error'],
    info: ['info', 'warn', 'error'],
    debug: ['debug', 'info', 'warn', 'error'],
  };
  for (const [level, expected] of Object.entries(UP_TO)) {
    it(`${level} is the least that is logged, whatever the logger says`, () => {
      assert.deepEqual(levelsOf(plain(), level), expected);
      assert.deepEqual(levelsOf(plain({ isLevelEnabled: () => true }), level), expected);
      assert.deepEqual(levelsOf(plain({ isLevelEnabled: () => false }), level), expected);
    });
  }

  const sink = { write() {} };
  const LOGGERS = {
    'pino with debug': [pino({ level: 'debug' }, sink), 'debug'],
    'pino with trace, a child': [pino({ level: 'trace' }, sink).child({ a: 1 }), 'debug'],
    'pino with info': [pino({ level: 'info' }, sink), 'info'],
    'pino with silent': [pino({ level: 'silent' }, sink), 'info'],
    'isDebugEnabled(), as in winston and log4js': [plain({ isDebugEnabled: () => true }), 'debug'],
    'isDebugEnabled() that is false': [plain({ isDebugEnabled: () => false }), 'info'],
    'bunyan with debug': [bunyan(20), 'debug'],
    'bunyan with info': [bunyan(30), 'info'],
    'one that cannot tell': [plain(), 'warn'],
    'one of jest, which returns undefined': [plain({ isLevelEnabled() {} }), 'warn'],
    'one that throws when it is asked': [
      plain({
        isLevelEnabled() {
          throw new Error('x');
        },
      }),
      'warn',
    ],
  };
  for (const [title, [logger, level]] of Object.entries(LOGGERS)) {
    it(`without one is that of the logger: ${title}`, () => {
      assert.deepEqual(levelsOf(logger, null), UP_TO[level]);
    });
  }

  it('of a logger is asked for once, and not by an empty line', () => {
    const calls = [];
    const note = (...args) => calls.push(args);
    createLog(plain({ debug: note, isLevelEnabled: note }));
    createLog(plain({ debug: note }));
    assert.deepEqual(calls, [['debug']]);
  });

  it('that is not logged suppresses nothing of another', () => {
    const { lines, log } = createFixture({ level: 'error' });
    log.warn('key', 'a');
    log.error('key', 'b');
    assert.deepEqual(lines, [['error', 'b']]);
  });
});

it('a logger of analytics-node, which has log() in place of info()', () => {
  const { info, ...methods } = plain({ log() {}, enable() {}, disable() {} });
  assert.equal(typeof info, 'function');
  assert.deepEqual(levelsOf(methods, 'info'), ['log', 'warn', 'error']);
});

describe('without a logger', () => {
  const LOG = JSON.stringify(path.join(__dirname, '../../lib/log'));
  const run = (program) => {
    const { stdout, stderr, status } = spawnSync(process.execPath, ['-e', program], {
      encoding: 'utf8',
    });
    assert.equal(status, 0);
    return { stdout, stderr };
  };

  it('writes warnings and errors to the console, with a prefix, and does not keep the process alive', () => {
    const { stdout, stderr } = run(`
      const log = require(${LOG}).createLog();
      log.debug('a'); log.info('b'); log.warn('k', 'c'); log.error('l', 'd'); log.error('l', 'e');
      process.stdout.write(String(log.debugEnabled));`);
    assert.equal(stdout, 'false');
    assert.equal(stderr, '[optimizely-amplitude] c\n[optimizely-amplitude] d\n');
  });

  it('writes all levels that are asked for', () => {
    const { stdout, stderr } = run(`
      const log = require(${LOG}).createLog(null, { level: 'debug' });
      log.debug('a'); log.info('b'); log.warn('k', 'c');`);
    assert.equal(stdout, '[optimizely-amplitude] a\n[optimizely-amplitude] b\n');
    assert.equal(stderr, '[optimizely-amplitude] c\n');
  });
});
