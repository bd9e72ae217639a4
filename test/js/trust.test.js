'use strict';

/** Which certificates Node trusts; that they are the ones that count is in test/e2e/network.test.js. */

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const path = require('node:path');
const { describe, it } = require('node:test');

const { prepareTrust, trustedSource, usesOpensslStore } = require('../../lib/trust.js');

const ROOT = path.join(__dirname, '..', '..');

describe('Node trusts what OpenSSL trusts', () => {
  const uses = (execArgv, NODE_OPTIONS, defines) =>
    usesOpensslStore({
      execArgv,
      env: { NODE_OPTIONS },
      config: defines === undefined ? {} : { target_defaults: { defines } },
    });
  const asDebian = ['NODE_OPENSSL_CERT_STORE'];

  it('by an option', () => {
    assert.equal(uses(['--use-openssl-ca'], undefined, []), true);
    assert.equal(uses(['--use_openssl_ca'], undefined, undefined), true);
    assert.equal(uses([], '--no-warnings  --use-openssl-ca', []), true);
    assert.equal(uses([], undefined, []), false);
    assert.equal(uses(['--use-bundled-ca'], '--use-system-ca', []), false);
  });

  it('as it was built', () => {
    assert.equal(uses([], undefined, asDebian), true);
    assert.equal(uses(['--use-bundled-ca'], undefined, asDebian), false);
    assert.equal(uses([], '--use-bundled-ca', asDebian), false);
  });
});

describe('what Node trusts', () => {
  const NEW = { getCACertificates: (kind) => [kind, 'A'] };
  const OLD = { rootCertificates: ['B', 'C'] };
  const source = (tls, { env = {}, execArgv = [] } = {}) =>
    trustedSource({ env, execArgv, config: {} }, tls);

  it('is the list in use, in newer versions', () => {
    assert.deepEqual(source(NEW, { env: { NODE_EXTRA_CA_CERTS: '/extra' } }), {
      pem: 'default\nA',
      extraFile: null, // it is in the list
      hasOpenssl: false,
      opensslFile: null,
      opensslFolders: null,
    });
  });

  it('is the built-in list and a file, in older versions', () => {
    const { pem, extraFile } = source(OLD, { env: { NODE_EXTRA_CA_CERTS: '/extra' } });
    assert.deepEqual({ pem, extraFile }, { pem: 'B\nC', extraFile: '/extra' });
    assert.equal(source(OLD, { env: { NODE_EXTRA_CA_CERTS: '' } }).extraFile, null);
  });

  it('is what OpenSSL finds instead of the built-in list; an empty variable is one that is set', () => {
    const env = { SSL_CERT_FILE: '', SSL_CERT_DIR: '/a:/b', NODE_EXTRA_CA_CERTS: '/extra' };
    assert.deepEqual(source(OLD, { env, execArgv: ['--use-openssl-ca'] }), {
      pem: '',
      extraFile: '/extra',
      hasOpenssl: true,
      opensslFile: '',
      opensslFolders: '/a:/b',
    });
    assert.equal(source(NEW, { execArgv: ['--use-openssl-ca'] }).pem, 'default\nA');
  });
});

describe('what the first request needs', () => {
  /** Replace timers, as test runners do; returns a function that runs the one that is due. */
  function holdTimers(t) {
    const { setTimeout } = globalThis;
    t.after(() => Object.assign(globalThis, { setTimeout }));
    const due = [];
    globalThis.setTimeout = (callback, millis, value) => void due.push(() => callback(value));
    return () => due.shift()?.();
  }

  it('is prepared in turns of the event loop, one step in each', (t) => {
    const next = holdTimers(t);
    const taken = [];
    prepareTrust(['a', 'b', 'c'].map((name) => () => taken.push(name)));
    for (const expected of ['a', 'ab', 'abc', 'abc']) {
      assert.equal(taken.join(''), expected);
      next();
    }
  });

  it('is left to the request when a step fails', (t) => {
    const next = holdTimers(t);
    const taken = [];
    const fail = () => {
      throw new Error('no TLS');
    };
    prepareTrust([fail, () => taken.push('next')]);
    next();
    assert.deepEqual(taken, []);
  });

  it('is prepared with a dispatcher for https that verifies with what Node trusts', () => {
    const script = `
      const { createDispatcher } = require(${JSON.stringify(path.join(ROOT, 'lib', 'index.js'))});
      createDispatcher({ apiKey: 'key', ...JSON.parse(process.argv[1]) });
      const has = () => process.moduleLoadList.includes('NativeModule tls');
      const atOnce = has();
      const wait = (turns) =>
        setTimeout(() => (turns > 0 ? wait(turns - 1) : console.log(atOnce, has())), 1);
      wait(20);`;
    const run = (options) =>
      execFileSync(process.execPath, ['-e', script, JSON.stringify(options)], { encoding: 'utf8' });
    assert.equal(run({}).trim(), 'false true');
    assert.equal(run({ caFile: __filename }).trim(), 'false false');
    assert.equal(run({ serverUrl: 'http://127.0.0.1:9/batch' }).trim(), 'false false');
  });
});
