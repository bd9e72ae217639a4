'use strict';

/** The CA certificates that Node trusts, for libcurl, which would use a list of its own. */

const fs = require('node:fs');

let pem;

/**
 * Return all of them as one PEM text of about 200 KB, which is made once per process.
 *
 * Newer versions of Node return the list in use, with NODE_EXTRA_CA_CERTS and --use-system-ca; older ones only
 * their built-in list.
 */
function trustedCertificates() {
  pem ??= readCertificates().join('\n');
  return pem;
}

function readCertificates() {
  const tls = require('node:tls'); // takes milliseconds to load, and only https needs it
  if (typeof tls.getCACertificates === 'function') {
    return tls.getCACertificates('default');
  }
  const extra = process.env.NODE_EXTRA_CA_CERTS;
  return extra ? [...tls.rootCertificates, readExtra(extra)] : tls.rootCertificates;
}

/** Node itself warns of a file that it cannot read, and ignores it. */
function readExtra(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

module.exports = { trustedCertificates };
