'use strict';

/** The CA certificates that Node trusts, for libcurl, which would use a list of its own. */

const { reasonOf } = require('./reason.js');

/** What takes 5 to 20 ms in a process that has not used TLS: node:tls, by its parts, and Node's making of the list. */
const STEPS = [
  () => require('node:stream'),
  () => require('node:net'),
  () => require('node:crypto'),
  () => require('node:tls'),
  () => trustedSource(process),
];

/**
 * Take the steps, each in a turn of the event loop of its own. The first request takes those that are left, and would
 * hold the loop for all of them.
 */
function prepareTrust([first, ...others] = STEPS) {
  try {
    first();
  } catch {
    return; // giveTrust() meets the same error, and reports it
  }
  if (others.length > 0) {
    // An immediate that keeps nothing alive does not run while the loop sleeps.
    const timer = setTimeout(prepareTrust, 1, others);
    timer?.unref?.(); // fake timers may return something else
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
  if (native.setTrust === undefined) {
    return; // WebAssembly: Node's own TLS sends, and trusts what Node trusts
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

module.exports = { giveTrust, prepareTrust, trustedSource, usesOpensslStore };
