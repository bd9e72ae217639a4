'use strict';

/** What an error of the network means, and what to do about it. Pure. */

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
  'if a proxy of your company inspects TLS, give its certificate with --ca-file (option caFile), or NODE_EXTRA_CA_CERTS';

/** Each gets the error and the host, and returns [message, remedy], or null for what it does not know. */
const CAUSES = {
  dns: ({ code }, host) => [
    code === 'EAI_AGAIN'
      ? `no DNS server answers that knows ${host}`
      : `${host} is not known to the DNS`,
    'check the name; where only a proxy reaches the internet, name it with --proxy or https_proxy',
  ],
  connect: ({ code }, host) => {
    if (UNREACHABLE.has(code)) {
      return [
        `${host} cannot be reached (${code})`,
        'a firewall drops it, or there is no route: allow it, or name a proxy with --proxy',
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
        'it is a SOCKS proxy, which only the addon can use',
        'add --send-test-event, which goes through it',
      ];
    }
    if (statusCode === 407) {
      return [
        `${proxy} wants a user name and a password`,
        'give them in the URL of the proxy: http://user:password@host:port',
      ];
    }
    if (statusCode !== undefined) {
      return [
        `${proxy} answered ${statusCode} instead of connecting to ${host}`,
        `ask who runs the proxy to allow ${host}, or exempt it with no_proxy`,
      ];
    }
    return [
      `${proxy} cannot be used (${code})`,
      'check --proxy, https_proxy and all_proxy; an empty --proxy uses none',
    ];
  },
  tls: ({ code, message }, host) => {
    if (UNTRUSTED.has(code)) {
      return [
        `the certificate of ${host} is of an authority that is not trusted (${code})`,
        TRUST_REMEDY,
      ];
    }
    if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
      return [
        `the certificate of ${host} is not valid today (${code})`,
        'check the clock of this machine; if it is right, the server has to renew it',
      ];
    }
    if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
      return [
        `the certificate is not for ${host}, so something else answers in its place`,
        'check --server-url, and what the DNS says of the host',
      ];
    }
    if (/wrong version number|unknown protocol|packet length too long/i.test(message)) {
      return [
        `${host} does not speak TLS on that port`,
        'is the URL to begin with http: instead of https:?',
      ];
    }
    return null;
  },
  http: ({ code, message }, host) =>
    code === 'ETIMEDOUT'
      ? [
          `${host} took the request and did not answer`,
          'try again; if it stays so, something between swallows requests',
        ]
      : String(code).startsWith('HPE_')
        ? [`what ${host} answers is not HTTP (${message})`, 'check host and port of --server-url']
        : null,
};

/** Explain an error of send(): `{message, remedy}`. */
function explain(error, url, proxy) {
  const host = new URL(url).host;
  const [message, remedy] = CAUSES[error.stage]?.(error, host, proxy) ?? [
    `${host}: ${error.message || error.code}`,
    'see the message; a firewall or proxy between often shows itself like this',
  ];
  return { message, remedy };
}

module.exports = { explain };
