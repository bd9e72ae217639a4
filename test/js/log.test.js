'use strict';

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { describe, it } = require('node:test');
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
  return { clock, lines, log: createLog(logger, { now: () => clock.millis, ...options }) };
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
      const log = createLog({ debug: method, info: method, warn: method, error: method });
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

describe('without a logger', () => {
  it('writes warnings and errors to the console, with a prefix, and does not keep the process alive', () => {
    const program = `
      const log = require(${JSON.stringify(path.join(__dirname, '../../lib/log'))}).createLog();
      log.debug('a'); log.info('b'); log.warn('k', 'c'); log.error('l', 'd'); log.error('l', 'e');
      process.stdout.write(String(log.debugEnabled));`;
    const { stdout, stderr, status } = spawnSync(process.execPath, ['-e', program], {
      encoding: 'utf8',
    });
    assert.equal(status, 0);
    assert.equal(stdout, 'false');
    assert.equal(stderr, '[optimizely-amplitude] c\n[optimizely-amplitude] d\n');
  });
});
