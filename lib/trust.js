'use strict';

/** The CA certificates that Node trusts, for libcurl, which would use a list of its own. */

const { reasonOf } = require('./reason.js');

/** What node:tls consists of. */
const PARTS = ['node:stream', 'node:net', 'node:crypto', 'node:tls'];

/**
 * Load node:tls, which takes 4 to 10 ms where nothing else has loaded it, in four turns of the event loop. What is not
 * loaded when the first request needs it is loaded then.
 */
function loadInTurns(parts = PARTS) {
  const [first, ...others] = parts;
  if (first !== undefined) {
    setImmediate(() => {
      require(first);
      loadInTurns(others);
    }).unref();
  }
}

/**
 * Return where the certificates are, as the addon takes it: a text, files that it reads when the first connection needs
 * them, and whether what OpenSSL finds is trusted as well.
 *
 * Newer versions of Node return the list in use, with NODE_EXTRA_CA_CERTS, --use-system-ca and
 * tls.setDefaultCACertificates(), but without what OpenSSL finds by itself; older ones only their built-in list.
 */
function trustedSource({ execArgv, env, config }, tls = require('node:tls')) {
  const hasOpenssl = usesOpensslStore({ execArgv, env, config });
  const isComplete = typeof tls.getCACertificates === 'function';
  const builtIn = hasOpenssl ? [] : tls.rootCertificates;
  const list = isComplete ? tls.getCACertificates('default') : builtIn;
  return {
    pem: list.join('\n'),
    extraFile: isComplete ? null : env.NODE_EXTRA_CA_CERTS || null,
    hasOpenssl,
    opensslFile: env.SSL_CERT_FILE ?? null,
    opensslFolders: env.SSL_CERT_DIR ?? null,
  };
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
    const { pem, extraFile, hasOpenssl, opensslFile, opensslFolders } = trustedSource(process);
    const status = native.setTrust(pem, extraFile, hasOpenssl, opensslFile, opensslFolders);
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

module.exports = { giveTrust, loadInTurns, trustedSource, usesOpensslStore };
