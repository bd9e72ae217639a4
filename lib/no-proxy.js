'use strict';

/**
 * Which hosts are reached without a proxy. Every program reads a list of no_proxy in its own way; here is what the usual
 * ones have in common, or understand alone, and libcurl gets only the result.
 *
 *   *                       every host
 *   example.com             this host and all below it, as in curl; the same as .example.com
 *   *.example.com, 127.*    a pattern: * stands for any characters
 *   10.0.0.0/8, ::1         addresses, for a URL with an address
 *   host:8080, [::1]:8080   one of these, on one port only
 */

const net = require('node:net');

const DEFAULT_PORTS = { 'http:': '80', 'https:': '443' };

const withoutBrackets = (host) => host.replace(/[[\]]/g, '');

/** Whether a list contains the host of a URL. An entry that nothing understands contains none. */
function isExempt(noProxy, { hostname, protocol, port }) {
  const host = withoutBrackets(hostname).replace(/\.$/, '');
  const hostPort = port || DEFAULT_PORTS[protocol];
  return noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean)
    .some((entry) => {
      // Only an address of IPv6 has several colons, and then its port is behind a bracket.
      const [, name, onlyPort] = /^(\[.*\]|[^:]*):(\d+)$/.exec(entry) ?? [entry, entry];
      return (
        (onlyPort === undefined || onlyPort === hostPort) && matches(withoutBrackets(name), host)
      );
    });
}

function matches(name, host) {
  if (name.includes('*')) {
    const parts = name.split('*').map((part) => part.replace(/[^\w]/g, '\\$&'));
    return new RegExp(`^${parts.join('.*')}$`).test(host);
  }
  const family = net.isIP(host);
  if (family !== 0) {
    return hasAddress(name, host, family);
  }
  const domain = name.replace(/^\.|\.$/g, '');
  return host === domain || host.endsWith(`.${domain}`);
}

/** Whether `name` is the address `host`, in any of its notations, or its network. */
function hasAddress(name, host, family) {
  const [address, bits] = name.split('/');
  if (net.isIP(address) !== family) {
    return false;
  }
  const list = new net.BlockList();
  const length = Number(bits ?? (family === 4 ? 32 : 128));
  try {
    list.addSubnet(address, length, `ipv${family}`);
  } catch {
    return false; // no such length
  }
  return list.check(host, `ipv${family}`);
}

module.exports = { isExempt };
