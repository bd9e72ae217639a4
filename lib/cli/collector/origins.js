'use strict';

/**
 * Which pages may use the collector from a browser. A page of any site can send requests to this machine, so the
 * collector has to tell them apart.
 *
 * Events are taken from pages of this machine, and of origins that are allowed. What the collector shows is for its
 * own page alone: no other origin may read it. A site may let its own name lead to the collector's address (DNS
 * rebinding), so a request under a name that is not known is refused.
 */

const net = require('node:net');
const os = require('node:os');
const { answers } = require('./protocol.js');

const LOOPBACK = new net.BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

function isLoopbackAddress(address) {
  const family = net.isIP(address);
  return family !== 0 && LOOPBACK.check(address, `ipv${family}`);
}

/** Whether a host name of a URL is certainly this machine. */
function isLoopbackName(hostname) {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    isLoopbackAddress(hostname.replace(/^\[|\]$/g, ''))
  );
}

function parse(url) {
  try {
    return new URL(url);
  } catch {
    return null;
  }
}

/**
 * Whether a page of an origin may send events: an absent one (no browser), one of this machine, or one of `allowed`
 * ('*' allows all).
 */
function mayUpload(origin, allowed) {
  return (
    origin === undefined ||
    allowed.includes(origin) ||
    allowed.includes('*') ||
    isLoopbackName(parse(origin)?.hostname ?? '')
  );
}

/** The headers with which a page of an origin may read the answer to its events. */
function uploadHeaders(origin) {
  return origin === undefined
    ? {}
    : {
        'Access-Control-Allow-Origin': origin,
        'Access-Control-Allow-Credentials': 'true', // a beacon always sends them
        Vary: 'Origin',
      };
}

const preflight = () => ({
  status: 204,
  headers: {
    'Access-Control-Allow-Methods': 'POST',
    'Access-Control-Allow-Headers': 'Content-Type, Content-Encoding',
    'Access-Control-Max-Age': '600',
  },
});

/** A name as it is compared: without a dot at the end, and in lower case. */
const normal = (name) => name.toLowerCase().replace(/\.$/, '');

/**
 * Whether a request for this host may be meant for the collector: loopback, a name that is allowed, or, beyond
 * loopback, any address and the name of the machine. No name can lead to a numeric address, so those are safe.
 */
function isOwnHost(hostname, isLoopback, allowed) {
  const [name, own] = [normal(hostname), normal(os.hostname())];
  const isAddress = net.isIP(name.replace(/^\[|\]$/g, '')) !== 0;
  return (
    isLoopbackName(name) ||
    allowed.map(normal).includes(name) ||
    (!isLoopback && (isAddress || [own, `${own}.local`].includes(name)))
  );
}

/**
 * The answer that refuses to show something, or null. `isLoopback`: whether the collector listens on loopback only;
 * `allowHosts`: further names of it.
 */
function refuseView({ host = '', origin }, isLoopback, allowHosts) {
  const url = parse(`http://${host}`);
  if (!isOwnHost(url?.hostname ?? '', isLoopback, allowHosts)) {
    return answers.forbidden(
      'This collector is not known under this name; start it with --allow-host',
    );
  }
  if (origin !== undefined && (url === null || parse(origin)?.host !== url.host)) {
    return answers.forbidden("This is for the collector's own page only");
  }
  return null;
}

module.exports = { isLoopbackAddress, mayUpload, preflight, refuseView, uploadHeaders };
