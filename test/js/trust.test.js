'use strict';

/** Which certificates Node trusts; that they are the ones that count is in test/e2e/network.test.js. */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');

const { trustedSource, usesOpensslStore } = require('../../lib/trust.js');

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
