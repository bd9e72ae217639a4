'use strict';

/**
 * TLS certificates for tests, made once in a process with the openssl command line: a CA that the
 * client can trust, and certificates of servers that are good, expired, for another host, or of a CA that is not
 * trusted.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const LOCAL = 'DNS:localhost,IP:127.0.0.1,IP:::1';
const KINDS = {
  good: { ca: 'ca', names: LOCAL, from: '20200101000000Z', to: '21200101000000Z' },
  expired: { ca: 'ca', names: LOCAL, from: '20200101000000Z', to: '20200102000000Z' },
  wrongHost: {
    ca: 'ca',
    names: 'DNS:another.invalid',
    from: '20200101000000Z',
    to: '21200101000000Z',
  },
  untrusted: { ca: 'stranger', names: LOCAL, from: '20200101000000Z', to: '21200101000000Z' },
};

// Only `openssl ca` takes dates in the past in every version.
const caConfig = (directory, ca, names) => `
[ca]
default_ca = own
[own]
new_certs_dir = ${directory}
database = ${directory}/${ca}.index
serial = ${directory}/${ca}.serial
certificate = ${directory}/${ca}.pem
private_key = ${directory}/${ca}.key
default_md = sha256
policy = any
unique_subject = no
x509_extensions = server
[any]
commonName = supplied
[server]
basicConstraints = CA:FALSE
subjectAltName = ${names}
extendedKeyUsage = serverAuth
`;

const requestConfig = `
[req]
distinguished_name = name
x509_extensions = ca
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
`;

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

function generate() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-certificates-'));
  process.once('exit', () => fs.rmSync(directory, { recursive: true, force: true }));
  const file = (name) => path.join(directory, name);
  const openssl = (...args) => execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });

  fs.writeFileSync(file('request.cnf'), requestConfig);
  for (const ca of ['ca', 'stranger']) {
    openssl(
      'req',
      '-x509',
      '-config',
      'request.cnf',
      ...newKey,
      '-days',
      '36500',
      '-subj',
      `/CN=test ${ca}`,
      '-keyout',
      `${ca}.key`,
      '-out',
      `${ca}.pem`,
    );
    fs.writeFileSync(file(`${ca}.index`), '');
    fs.writeFileSync(file(`${ca}.serial`), '01');
  }
  const certificates = { caFile: file('ca.pem') };
  for (const [kind, { ca, names, from, to }] of Object.entries(KINDS)) {
    fs.writeFileSync(file(`${kind}.cnf`), caConfig(directory, ca, names));
    openssl(
      'req',
      '-config',
      'request.cnf',
      '-new',
      ...newKey,
      '-subj',
      `/CN=${kind}`,
      '-keyout',
      `${kind}.key`,
      '-out',
      `${kind}.csr`,
    );
    openssl(
      'ca',
      '-batch',
      '-notext',
      '-config',
      `${kind}.cnf`,
      '-in',
      `${kind}.csr`,
      '-out',
      `${kind}.pem`,
      '-startdate',
      from,
      '-enddate',
      to,
    );
    certificates[kind] = {
      key: fs.readFileSync(file(`${kind}.key`)),
      cert: fs.readFileSync(file(`${kind}.pem`)),
    };
  }
  return certificates;
}

let generated = null;

/** `{caFile, good, expired, wrongHost, untrusted}`, the latter four as `{key, cert}`. */
function certificates() {
  generated ??= generate();
  return generated;
}

module.exports = { certificates };
