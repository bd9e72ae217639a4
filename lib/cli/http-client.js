'use strict';

/**
 * One HTTP request with Node's own client, through the proxy and with the certificates that the dispatcher's
 * options name. It is for the command line, which has to know where exactly a request fails; the dispatcher's
 * own requests are made by the addon.
 *
 * An error has a `stage`: 'proxy' (to reach it, and to be allowed through), 'dns', 'connect', 'tls' or 'http'.
 */

const dns = require('node:dns');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const tls = require('node:tls');

const { isExempt } = require('../no-proxy.js');

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const DEFAULT_TIMEOUT_MILLIS = 10_000;

const withoutBrackets = (hostname) => hostname.replace(/^\[|\]$/g, '');
const portOf = ({ protocol, port }) => Number(port) || (protocol === 'https:' ? 443 : 80);

/** The proxy for a URL, as a URL, or null. `proxy` and `noProxy` are those of resolveOptions(). */
function proxyFor(url, { proxy = null, noProxy = null }) {
  return proxy === null || isExempt(noProxy ?? '', url) ? null : new URL(proxy);
}

/** An error at a stage. */
function failure(stage, message, code, more) {
  return Object.assign(new Error(message), { stage, code, ...more });
}

/** Resolve when an emitter emits `event`; reject with an error of that stage when it fails or closes first. */
function happens(emitter, event, stage, tasks) {
  return new Promise((resolve, reject) => {
    const fail = (error) => reject(Object.assign(error, { stage }));
    emitter.once('error', fail);
    emitter.once('close', () => fail(failure(stage, 'the connection was closed', 'ECONNRESET')));
    emitter.once(event, resolve);
    tasks.abort = (error) => {
      fail(error);
      emitter.destroy();
    };
  });
}

async function lookUp(host, stage) {
  try {
    return (await dns.promises.lookup(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    throw Object.assign(error, { stage });
  }
}

async function connect(hostname, port, stages, tasks) {
  const host = withoutBrackets(hostname);
  const addresses = await lookUp(host, stages[0]);
  const socket = net.connect({ host, port });
  tasks.socket = socket;
  await happens(socket, 'connect', stages[1], tasks);
  return { socket, addresses };
}

async function secure(socket, hostname, ca, stage, tasks) {
  const host = withoutBrackets(hostname);
  const secured = tls.connect({
    socket,
    host,
    ca,
    servername: net.isIP(host) ? '' : host,
    ALPNProtocols: ['http/1.1'],
  });
  await happens(secured, 'secureConnect', stage, tasks);
  return secured;
}

const authorization = ({ username, password }) =>
  username === '' && password === ''
    ? {}
    : {
        'Proxy-Authorization': `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`,
      };

/** Ask a proxy for a connection to the host of `url`. */
async function tunnel(socket, proxy, url, tasks) {
  const authority = `${url.hostname}:${portOf(url)}`;
  const req = http.request({
    method: 'CONNECT',
    path: authority,
    createConnection: () => socket,
    headers: { Host: authority, ...authorization(proxy) },
  });
  const answered = Promise.race([
    happens(req, 'connect', 'proxy', tasks),
    new Promise((resolve) => {
      req.once('response', resolve);
    }),
  ]);
  req.end();
  const { statusCode } = await answered;
  if (statusCode !== 200) {
    throw failure(
      'proxy',
      `the proxy answered ${statusCode} ${http.STATUS_CODES[statusCode] ?? ''}`.trim(),
      'ERR_PROXY',
      { statusCode },
    );
  }
}

/** Connect to the host of `url`: `{socket, addresses, proxy, peer}`, where peer describes the certificate. */
async function reach(url, options, tasks) {
  const ca = options.caFile == null ? undefined : fs.readFileSync(options.caFile);
  const proxy = proxyFor(url, options);
  if (proxy?.protocol.startsWith('socks')) {
    throw failure('proxy', 'a SOCKS proxy', 'ERR_SOCKS');
  }
  const first = proxy ?? url;
  let { socket, addresses } = await connect(
    first.hostname,
    portOf(first),
    proxy ? ['proxy', 'proxy'] : ['dns', 'connect'],
    tasks,
  );
  if (proxy?.protocol === 'https:') {
    socket = await secure(socket, proxy.hostname, ca, 'proxy', tasks);
  }
  if (url.protocol !== 'https:') {
    return { socket, addresses, proxy, peer: null };
  }
  if (proxy !== null) {
    await tunnel(socket, proxy, url, tasks);
    addresses = [];
  }
  socket = await secure(socket, url.hostname, ca, 'tls', tasks);
  const { issuer, valid_to: validTo } = socket.getPeerCertificate();
  return {
    socket,
    addresses,
    proxy,
    peer: { protocol: socket.getProtocol(), issuer: issuer?.O ?? issuer?.CN ?? 'unknown', validTo },
  };
}

/** Read a body, or its beginning: not much more than `headBytes`, if that is given. */
async function readAnswer(res, headBytes, tasks) {
  tasks.abort = (error) => res.destroy(error);
  const chunks = [];
  let bytes = 0;
  for await (const chunk of res) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) {
      throw failure('http', 'the answer is too large', 'ERR_TOO_LARGE');
    }
    chunks.push(chunk);
    if (bytes >= headBytes) {
      break;
    }
  }
  return Buffer.concat(chunks);
}

async function perform(url, { method, headers, body, headBytes, ...options }, tasks) {
  const { socket, ...way } = await reach(url, options, tasks);
  try {
    const isForwarded = way.proxy !== null && url.protocol === 'http:';
    const req = http.request({
      method,
      createConnection: () => socket,
      path: isForwarded ? url.href : url.pathname + url.search,
      headers: { Host: url.host, ...headers, ...(isForwarded && authorization(way.proxy)) },
    });
    const answered = happens(req, 'response', 'http', tasks);
    req.end(body);
    const res = await answered;
    return {
      ...way,
      status: res.statusCode,
      headers: res.headers,
      body: await readAnswer(res, headBytes ?? Infinity, tasks),
    };
  } catch (error) {
    throw Object.assign(error, { stage: error.stage ?? 'http' });
  }
}

/**
 * Send a request; resolve to `{status, headers, body, addresses, proxy, peer}`.
 *
 * options: method, headers, body; proxy, noProxy, caFile, as resolveOptions() returns them; timeoutMillis; headBytes, if
 * the beginning of the answer's body is enough.
 */
async function send(
  target,
  { timeoutMillis = DEFAULT_TIMEOUT_MILLIS, method = 'GET', ...options } = {},
) {
  // What the timeout aborts, and the connection to close at the end.
  const tasks = { abort: () => {}, socket: null };
  const timer = setTimeout(() => {
    tasks.abort(failure(undefined, `no answer within ${timeoutMillis} ms`, 'ETIMEDOUT'));
  }, timeoutMillis);
  try {
    return await perform(new URL(target), { method, ...options }, tasks);
  } finally {
    clearTimeout(timer);
    tasks.socket?.destroy();
  }
}

module.exports = { proxyFor, send };
