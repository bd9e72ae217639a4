'use strict';

/**
 * The transport of a WasmDispatcher on Node.js, Deno and Bun: what src/host/curl.c does for the addon, by node:http and
 * node:https. Their fetch obeys proxies and CAs in three different ways; these modules behave alike.
 *
 * HTTP/1.1, warm connections, verified TLS, no redirects.
 */

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const timers = require('node:timers');
const tls = require('node:tls');

const { MAX_ANSWER_BYTES, retryAfter } = require('./answer.js');

const MAX_CONNECT_MILLIS = 4000;
/** Load balancers close idle connections after a minute or so. */
const MAX_IDLE_MILLIS = 30_000;
/** Balancers, and names that move, are looked at again after this time. */
const MIN_LIFE_MILLIS = 4 * 60_000;
const MAX_LIFE_MILLIS = 5 * 60_000;
/** The clocks disagree by this much: the machine was frozen. */
const CLOCK_JUMP_MILLIS = 5000;
const MAX_LOCATION_LENGTH = 200;

/** What a TLS library says of a certificate whose CA it does not know. */
const UNKNOWN_CA = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

const CERTIFICATE = /-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----/;

const isHttps = (url) => url?.protocol === 'https:';
const portOf = ({ port, protocol }) => Number(port) || (protocol === 'https:' ? 443 : 80);
const hostOf = ({ hostname }) => hostname.replace(/^\[|\]$/g, '');
const printable = (text) => text.replace(/[^ -~]+/g, ' ');

/** The header with the credentials of a proxy. */
function authorizationOf({ username, password }) {
  if (username === '' && password === '') {
    return {};
  }
  const plain = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'Proxy-Authorization': `Basic ${Buffer.from(plain).toString('base64')}` };
}

class HttpTransport {
  #url;
  #proxy;
  #timeoutMillis;
  #lanes; // requests that may be in flight at a time
  #userAgent;
  #tls = { rejectUnauthorized: true }; // whatever NODE_TLS_REJECT_UNAUTHORIZED says
  #caFile; // null for what Node trusts
  #agent = null;
  #used = null; // the moments when the last exchange ended: { wall, monotonic }
  #oldAt = Infinity; // when the connection is to be replaced
  #isSuspect = false; // the last exchange speaks against its connection

  constructor({ serverUrl, proxy, caFile, requestTimeoutMillis, library, maxConcurrent }) {
    this.#lanes = Math.max(maxConcurrent, 1);
    this.#url = new URL(serverUrl);
    this.#proxy = proxy === null ? null : new URL(proxy);
    if (this.#proxy?.protocol.startsWith('socks')) {
      throw Object.assign(
        new TypeError(
          "option 'proxy': WebAssembly speaks to http and https proxies alone; one of socks needs the native addon",
        ),
        { code: 'ERR_OA_OPTION' },
      );
    }
    this.#timeoutMillis = requestTimeoutMillis;
    this.#userAgent = library;
    this.#caFile = caFile;
    if (caFile !== null) {
      this.#tls.ca = fs.readFileSync(caFile, 'utf8');
    }
  }

  /** Whether it trusts what Node trusts, and so verifies by itself. */
  get needsTrust() {
    return this.#caFile === null && (isHttps(this.#url) || isHttps(this.#proxy));
  }

  /**
   * POST a body. `done` is called once, later, with { statusCode, body, retryAfterSeconds, location } or { error }; after
   * stop() of what is returned it is not.
   */
  post(request, done) {
    const exchange = new Exchange(this.#timeoutMillis, (answer) => {
      this.#judge(exchange, answer);
      done(answer.error === undefined ? answer : { error: this.#explain(answer.error) });
    });
    if (this.#wantsFresh()) {
      this.close();
    }
    exchange.start(
      () => this.#request(request),
      () => {
        this.close(); // what ended one idle connection may have ended all
        return this.#request(request);
      },
    );
    return { stop: () => exchange.stop() };
  }

  /** Close the connections that are not in use, and use none of the others again. */
  close() {
    if (this.#agent !== null) {
      this.#agent.maxFreeSockets = 0;
      Object.values(this.#agent.freeSockets)
        .flat()
        .forEach((socket) => socket.destroy());
      this.#agent = null;
    }
  }

  #request({ body, gzip }) {
    const url = this.#url;
    const proxy = isHttps(url) ? null : this.#proxy; // for https there is a tunnel, see TunnelAgent
    const peer = proxy ?? url;
    if (isHttps(peer) && this.#caFile !== null && !CERTIFICATE.test(this.#tls.ca)) {
      throw new Error(`caFile ${this.#caFile} has no certificate (PEM)`);
    }
    const request = (isHttps(peer) ? https : http).request({
      ...this.#tls,
      agent: (this.#agent ??= this.#openAgent(peer)),
      host: hostOf(peer),
      port: portOf(peer),
      path: proxy === null ? url.pathname + url.search : url.href,
      method: 'POST',
      headers: {
        Host: url.host,
        'User-Agent': this.#userAgent,
        Accept: '*/*',
        'Content-Type': 'application/json',
        ...(gzip && { 'Content-Encoding': 'gzip' }),
        'Content-Length': body.length,
        ...(proxy !== null && authorizationOf(proxy)),
      },
    });
    request.end(body);
    return request;
  }

  #openAgent(peer) {
    const options = { keepAlive: true, maxFreeSockets: this.#lanes };
    if (!isHttps(peer)) {
      return new http.Agent(options);
    }
    return this.#proxy === null || peer === this.#proxy
      ? new https.Agent(options)
      : new TunnelAgent(options, this.#proxy, this.#tls);
  }

  #wantsFresh() {
    if (this.#isSuspect) {
      return true;
    }
    if (this.#used === null) {
      return false;
    }
    const monotonic = performance.now();
    const idle = monotonic - this.#used.monotonic;
    const gap = Math.abs(Date.now() - this.#used.wall - idle);
    return idle > MAX_IDLE_MILLIS || gap > CLOCK_JUMP_MILLIS || monotonic >= this.#oldAt;
  }

  /** Note what an exchange tells of its connection. Behind one address are many machines, and a broken one keeps its own. */
  #judge({ opened }, { statusCode, error }) {
    const monotonic = performance.now();
    if (opened) {
      const life = MIN_LIFE_MILLIS + Math.random() * (MAX_LIFE_MILLIS - MIN_LIFE_MILLIS);
      this.#oldAt = monotonic + life; // those of a fleet do not end together
    }
    this.#used = { wall: Date.now(), monotonic };
    this.#isSuspect = error !== undefined || statusCode === 408 || statusCode >= 500;
  }

  /** What failed and for which host, in one line without secrets. */
  #explain(error) {
    return printable(`${this.#url.host}: ${describeError(error)}${this.#trustAdvice(error)}`);
  }

  #trustAdvice({ code }) {
    if (!UNKNOWN_CA.has(code)) {
      return '';
    }
    return this.#caFile !== null
      ? '; caFile does not have its CA'
      : '; name its CA in caFile or NODE_EXTRA_CA_CERTS';
  }
}

/** Why there is no answer; addresses are left out, since a proxy may have secrets in its own. */
function describeError(error) {
  const { code, syscall, message } = error;
  if (syscall === 'getaddrinfo') {
    return 'Could not resolve host';
  }
  if (syscall === 'connect' || error.errors !== undefined) {
    return `Failed to connect (${code})`;
  }
  // What follows is advice of Node.js to those who start it.
  return code === 'ECONNRESET' ? 'the server closed the connection' : message.split('; ')[0];
}

/** One POST, with its second try on another connection. */
class Exchange {
  opened = false; // whether a connection was
  #done;
  #again = null; // sends the request over a new connection
  #request = null;
  #response = null;
  #timers;

  constructor(timeoutMillis, done) {
    this.#done = done;
    const fail = (millis) => () =>
      this.#end({ error: new Error(`timed out after ${millis} milliseconds`) });
    const connectMillis = Math.min(timeoutMillis, MAX_CONNECT_MILLIS);
    this.#timers = {
      whole: timers.setTimeout(fail(timeoutMillis), timeoutMillis),
      connect: timers.setTimeout(fail(connectMillis), connectMillis),
    };
  }

  /** `send` sends the request, and `again`, where it may be sent once more, does so over a new connection. */
  start(send, again = null) {
    this.#again = again;
    let request;
    try {
      request = send();
    } catch (error) {
      timers.setImmediate(() => this.#end({ error }));
      return;
    }
    this.#request = request;
    request.on('error', (error) => this.#onError(request, error));
    request.on('socket', (socket) => this.#onSocket(request, socket));
    request.on('response', (response) => this.#read(response));
  }

  #onSocket(request, socket) {
    const connected = () => timers.clearTimeout(this.#timers.connect);
    if (request.reusedSocket) {
      connected();
      return;
    }
    this.opened = true;
    socket.once(socket.encrypted ? 'secureConnect' : 'connect', connected);
  }

  /** A connection that ended while it was idle tells nothing about the server, and nothing was accepted over it. */
  #onError(request, error) {
    if (request !== this.#request || this.#response?.complete) {
      return; // what follows a whole answer is not a part of it
    }
    if (request.reusedSocket && this.#again !== null) {
      this.start(this.#again);
      return;
    }
    this.#end({ error });
  }

  #read(response) {
    this.#response = response;
    this.#again = null; // there is an answer: it is not sent again
    const chunks = [];
    let length = 0;
    response.on('data', (chunk) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_ANSWER_BYTES) {
        this.#end({ error: new Error('the answer is too large') });
      }
    });
    response.on('error', (error) => this.#end({ error }));
    response.on('aborted', () => this.#end({ error: new Error('the answer is not complete') }));
    response.on('end', () => {
      const { statusCode, headers } = response;
      this.#finish({
        statusCode,
        body: Buffer.concat(chunks),
        retryAfterSeconds: retryAfter(headers['retry-after']),
        location: locationOf(headers.location, statusCode, this.#request),
      });
    });
  }

  #finish(answer) {
    if (this.#done === null) {
      return;
    }
    const done = this.#done;
    this.#done = null;
    timers.clearTimeout(this.#timers.whole);
    timers.clearTimeout(this.#timers.connect);
    done(answer);
  }

  #end(answer) {
    const request = this.#request;
    this.#finish(answer);
    request?.destroy();
  }

  stop() {
    this.#done = null;
    timers.clearTimeout(this.#timers.whole);
    timers.clearTimeout(this.#timers.connect);
    this.#request?.destroy();
  }
}

/** Where a redirect leads, without user name and query, nor one that is quoted in the path, as login pages have it. */
function locationOf(value, statusCode, { protocol, path, host }) {
  if (value === undefined || statusCode < 300 || statusCode > 399) {
    return undefined;
  }
  try {
    const url = new URL(value, new URL(path, `${protocol}//${host}`));
    const plain = `${url.origin}${url.pathname}`.replace(/%3f.*/i, '');
    return printable(plain.slice(0, MAX_LOCATION_LENGTH - 1));
  } catch {
    return undefined;
  }
}

/** Reaches a server of https through a proxy. */
class TunnelAgent extends https.Agent {
  #proxy;
  #tls;

  constructor(options, proxy, tlsOptions) {
    super(options);
    this.#proxy = proxy;
    this.#tls = tlsOptions;
  }

  createConnection(options, callback) {
    const proxy = this.#proxy;
    const target = `${options.host.includes(':') ? `[${options.host}]` : options.host}:${options.port}`;
    const connect = (isHttps(proxy) ? https : http).request({
      ...this.#tls,
      agent: false,
      host: hostOf(proxy),
      port: portOf(proxy),
      method: 'CONNECT',
      path: target,
      headers: { Host: target, ...authorizationOf(proxy) },
      timeout: MAX_CONNECT_MILLIS,
    });
    connect.once('timeout', () => connect.destroy(new Error('the proxy timed out')));
    connect.once('error', callback);
    connect.once('response', ({ statusCode }) => {
      connect.destroy();
      callback(new Error(`the proxy answered ${statusCode} to CONNECT`));
    });
    connect.once('connect', ({ statusCode }, socket) => {
      if (statusCode < 200 || statusCode > 299) {
        socket.destroy();
        callback(new Error(`the proxy answered ${statusCode} to CONNECT`));
        return;
      }
      callback(null, tls.connect({ ...options, socket, path: undefined }));
    });
    connect.end();
  }
}

module.exports = { HttpTransport };
