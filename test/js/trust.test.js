'use strict';

/** Which certificates Node trusts; that they are the ones that count is in test/e2e/network.test.js. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, it } = require('node:test');

const { opensslCertificates, usesOpensslStore } = require('../../lib/trust.js');

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

describe('what OpenSSL trusts', () => {
  const read = (env, isShared = false) =>
    opensslCertificates({ env, config: { variables: { node_shared_openssl: isShared } } }).filter(
      Boolean,
    );

  it('is a file, and what has the name of a hash in some directories', (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-trust-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const write = (name) => fs.writeFileSync(path.join(folder, name), `text of ${name}`);
    ['ca.pem', '0123abcd.0', '0123abcd.12', '0123abcd.r0', '0123ABCD.0', 'a.0'].forEach(write);
    fs.mkdirSync(path.join(folder, 'ffffffff.0')); // cannot be read as a file
    const file = path.join(folder, 'ca.pem');
    const folders = ['/nowhere', folder].join(path.delimiter);
    assert.deepEqual(read({ SSL_CERT_FILE: file, SSL_CERT_DIR: folders }).sort(), [
      'text of 0123abcd.0',
      'text of 0123abcd.12',
      'text of ca.pem',
    ]);
    assert.deepEqual(read({ SSL_CERT_FILE: '/nowhere', SSL_CERT_DIR: '' }), []);
  });

  const hasFolder = fs.existsSync('/etc/ssl/certs');
  it("is in OpenSSL's folder otherwise", { skip: !hasFolder && 'there is none' }, () => {
    const certs = fs.readdirSync('/etc/ssl/certs').filter((name) => /^[0-9a-f]{8}\.\d$/.test(name));
    assert.equal(read({ SSL_CERT_FILE: '' }).length, certs.length);
  });
});
