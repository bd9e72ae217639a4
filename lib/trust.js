'use strict';

/** The CA certificates that Node trusts, for libcurl, which would use a list of its own. */

const fs = require('node:fs');
const path = require('node:path');

const { reasonOf } = require('./reason.js');

/** The folder of the OpenSSL that Node.js brings, and those of Debian's and Fedora's. */
const OWN_FOLDER = '/etc/ssl';
const SHARED_FOLDERS = ['/usr/lib/ssl', '/etc/pki/tls'];
/** What OpenSSL reads in a directory of certificates: names that are the hash of a subject. */
const HASHED_NAME = /^[0-9a-f]{8}\.\d+$/;
const NONE = Object.freeze([]);

let cached = { list: null, pem: '' };

/**
 * Return all of them as one PEM text of about 200 KB, which is made again only when Node's list is another.
 *
 * Newer versions of Node return the list in use, with NODE_EXTRA_CA_CERTS, --use-system-ca and
 * tls.setDefaultCACertificates(), but without what OpenSSL finds by itself; older ones only their built-in list.
 */
function trustedCertificates() {
  const tls = require('node:tls'); // takes milliseconds to load, and only https needs it
  const isOpenssl = usesOpensslStore(process);
  const isComplete = typeof tls.getCACertificates === 'function';
  const builtIn = isOpenssl ? NONE : tls.rootCertificates;
  const list = isComplete ? tls.getCACertificates('default') : builtIn;
  if (list !== cached.list) {
    const openssl = isOpenssl ? opensslCertificates(process) : NONE;
    const extra = isComplete ? '' : read(process.env.NODE_EXTRA_CA_CERTS);
    cached = { list, pem: [...openssl, ...list, extra].join('\n') };
  }
  return cached.pem;
}

/** Whether Node trusts what OpenSSL finds: by an option, or as it was built, as Debian's is. */
function usesOpensslStore({ execArgv, env, config }) {
  const options = [...execArgv, ...(env.NODE_OPTIONS ?? '').split(/\s+/)].map((option) =>
    option.replaceAll('_', '-'),
  );
  const isDefault = config.target_defaults?.defines?.includes('NODE_OPENSSL_CERT_STORE') === true;
  return (
    options.includes('--use-openssl-ca') || (isDefault && !options.includes('--use-bundled-ca'))
  );
}

/** The certificates of SSL_CERT_FILE and SSL_CERT_DIR; for one that is not set, those of OpenSSL's own folder. */
function opensslCertificates({ env, config }) {
  const shared = config.variables?.node_shared_openssl ? SHARED_FOLDERS : NONE;
  const own = shared.find((folder) => fs.existsSync(folder)) ?? OWN_FOLDER;
  const file = env.SSL_CERT_FILE ?? path.join(own, 'cert.pem');
  const folders = env.SSL_CERT_DIR ?? path.join(own, 'certs');
  return [read(file), ...folders.split(path.delimiter).flatMap(readFolder)];
}

function readFolder(folder) {
  try {
    return fs
      .readdirSync(folder)
      .filter((name) => HASHED_NAME.test(name))
      .map((name) => read(path.join(folder, name)));
  } catch {
    return NONE;
  }
}

/** Node and OpenSSL ignore a file that they cannot read. */
function read(file) {
  try {
    return file ? fs.readFileSync(file, 'utf8') : '';
  } catch {
    return '';
  }
}

/** Give them to a native dispatcher, or table of cohorts, before its first request. Never throws. */
function giveTrust(native, log) {
  if (process.env.NODE_TLS_REJECT_UNAUTHORIZED === '0') {
    log.warn(
      'verified',
      'NODE_TLS_REJECT_UNAUTHORIZED=0 is not obeyed: certificates are verified; name the CA of your proxy or ' +
        'server in caFile or NODE_EXTRA_CA_CERTS',
    );
  }
  try {
    const status = native.setTrust(trustedCertificates());
    if (status !== 'ok') {
      log.warn(
        'trust',
        `libcurl refuses Node's list of CA certificates (${status}); the system's list is used`,
      );
    }
  } catch (error) {
    log.warn(
      'trust',
      `Node's CA certificates cannot be read (${reasonOf(error)}); the system's list is used`,
    );
  }
}

module.exports = { giveTrust, opensslCertificates, trustedCertificates, usesOpensslStore };
