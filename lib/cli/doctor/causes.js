'use strict';

/** The meaning of a network error, and what to do about it. Pure. */

const UNTRUSTED = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_UNTRUSTED',
]);
const UNREACHABLE = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH']);

const TRUST_REMEDY =
  'if a proxy of your company inspects TLS, give its CA certificate with --ca-file (option caFile), or NODE_EXTRA_CA_CERTS';

/**
 * By stage: a function of the error, the host and the proxy that returns [message, remedy], or null for an unknown
 * error.
 */
const CAUSES = {
  dns: ({ code }, host) => [
    code === 'EAI_AGAIN' ? `no DNS server answers for ${host}` : `the DNS does not know ${host}`,
    'check the name; if only a proxy reaches the internet, name it with --proxy or https_proxy',
  ],
  connect: ({ code }, host) => {
    if (UNREACHABLE.has(code)) {
      return [
        `${host} cannot be reached (${code})`,
        'a firewall drops the packets, or there is no route: allow the host, or name a proxy with --proxy',
      ];
    }
    return code !== 'ECONNREFUSED'
      ? null
      : [
          `${host} refuses connections: nothing listens on that port, or a firewall rejects it`,
          'check host and port; is the server running?',
        ];
  },
  proxy: ({ code, statusCode }, host, proxy) => {
    if (code === 'ERR_SOCKS') {
      return [
        'this is a SOCKS proxy, which only the addon can use',
        'add --send-test-event, which uses the addon',
      ];
    }
    if (statusCode === 407) {
      return [
        `${proxy} requires a user name and a password`,
        'give them in the URL of the proxy, before the host: user:password@',
      ];
    }
    if (statusCode !== undefined) {
      return [
        `${proxy} answered ${statusCode} instead of connecting to ${host}`,
        `ask the operator of the proxy to allow ${host}, or exempt the host with no_proxy`,
      ];
    }
    return [
      `${proxy} cannot be used (${code})`,
      'check --proxy, https_proxy and all_proxy; an empty --proxy uses none',
    ];
  },
  tls: ({ code, message }, host) => {
    if (UNTRUSTED.has(code)) {
      return [`the authority of the certificate of ${host} is not trusted (${code})`, TRUST_REMEDY];
    }
    if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
      return [
        `the certificate of ${host} has expired or is not valid yet (${code})`,
        'check the clock of this machine; if it is right, the server has to renew its certificate',
      ];
    }
    if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
      return [
        `the certificate is for another host than ${host}`,
        'check --server-url, and the address that the DNS has for the host',
      ];
    }
    if (/wrong version number|unknown protocol|packet length too long/i.test(message)) {
      return [
        `${host} does not speak TLS on that port`,
        'does the URL have to begin with http: in place of https:?',
      ];
    }
    return null;
  },
  http: ({ code, message }, host) =>
    code === 'ETIMEDOUT'
      ? [
          `${host} accepted the request and did not answer`,
          'try again; if this repeats, something on the way drops requests',
        ]
      : String(code).startsWith('HPE_')
        ? [`the answer of ${host} is not HTTP (${message})`, 'check host and port of --server-url']
        : null,
};

/** Explain an error of send(): `{message, remedy}`. */
function explain(error, url, proxy) {
  const host = new URL(url).host;
  const [message, remedy] = CAUSES[error.stage]?.(error, host, proxy) ?? [
    `${host}: ${error.message || error.code}`,
    'see the message; a firewall or a proxy on the way may be the cause',
  ];
  return { message, remedy };
}

module.exports = { explain };
