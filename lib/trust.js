'use strict';

/** The CA certificates that Node trusts, for libcurl, which has a list of its own otherwise. */

const fs = require('node:fs');

let pem;

/**
 * Return all of them as one PEM text, about 200 KB; made once for a process.
 *
 * Newer versions of Node tell the list that is in force, with NODE_EXTRA_CA_CERTS and --use-system-ca;
 * older ones only the one that they carry.
 */
function trustedCertificates() {
  pem ??= readCertificates().join('\n');
  return pem;
}

function readCertificates() {
  const tls = require('node:tls'); // takes milliseconds to load, which only https needs
  if (typeof tls.getCACertificates === 'function') {
    return tls.getCACertificates('default');
  }
  const extra = process.env.NODE_EXTRA_CA_CERTS;
  return extra ? [...tls.rootCertificates, readExtra(extra)] : tls.rootCertificates;
}

/** Node warns of a file that it cannot read, and goes on without; so do we. */
function readExtra(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

module.exports = { trustedCertificates };
