'use strict';

/**
 * The tests' stand-in for Amplitude: the package's own collector on a free port, with a record of every request, with
 * faults (see faults.js), and with methods that wait for events.
 */

const { EventEmitter } = require('node:events');
const zlib = require('node:zlib');
const { createCollector } = require('../../../lib/cli/collector/index.js');
const { certificates } = require('../network/certificates.js');
const { faults, findFault } = require('./faults.js');

const DEFAULT_TIMEOUT_MILLIS = 10_000;

/** One request as the tests see it; `status` is null until it is answered. */
class RecordedRequest {
  method;
  url;
  headers;
  rawHeaders;
  /** The number of the connection, the same for requests over the same connection. */
  socketId;
  /** The body as it was sent; null until it is read, and when it is cut off. */
  rawBytes = null;
  receivedAt = Date.now();
  answeredAt = null;
  status = null;
  /** Whether all of the request has arrived, or its connection is gone. */
  complete = false;
  #body;

  constructor(req, socketId) {
    this.method = req.method;
    this.url = req.url;
    this.headers = req.headers;
    this.rawHeaders = req.rawHeaders;
    this.socketId = socketId;
  }

  /** The body without its compression. */
  get jsonBytes() {
    return this.headers['content-encoding'] === 'gzip'
      ? zlib.gunzipSync(this.rawBytes)
      : this.rawBytes;
  }

  /** The body's JSON, or undefined. It is parsed here, because the store changes its own copy. */
  get body() {
    if (this.#body === undefined && this.rawBytes !== null) {
      try {
        this.#body = JSON.parse(this.jsonBytes);
      } catch {
        // Not JSON, or not gzip.
      }
    }
    return this.#body;
  }
}

class Amplitude {
  requests = [];
  /** The number of connections, including those with a failed TLS handshake. */
  connections = 0;
  faults = faults;
  #collector;
  #origin;
  #port;
  #pending = [];
  #changes = new EventEmitter().setMaxListeners(0);
  #socketIds = new WeakMap();
  #socketCount = 0;
  #nextRequest = 0;
  #errors = [];
  #recordBodies;

  constructor({ tls, faults: initial, recordBodies = true, ...collectorOptions }) {
    this.#recordBodies = recordBodies;
    let tlsOptions = tls;
    if (tls === true || typeof tls === 'string') {
      tlsOptions = certificates()[tls === true ? 'good' : tls];
      this.caFile = certificates().caFile;
    }
    this.#collector = createCollector({
      ...collectorOptions,
      tls: tlsOptions,
      intercept: (exchange) => this.#intercept(exchange),
    });
    this.store = this.#collector.store;
    this.server = this.#collector.server;
    this.server.on('tlsClientError', (error) => this.#changes.emit('change', error));
    this.store.on('request', () => this.#changes.emit('change'));
    this.server.on('connection', () => {
      this.connections++;
      this.#changes.emit('change');
    });
    if (initial !== undefined) {
      this.setFault(initial, Array.isArray(initial) ? 1 : Infinity);
    }
  }

  /** The origin, which stays the same after stop() and start(). */
  get url() {
    return this.#origin;
  }

  get httpapi() {
    return `${this.#origin}/2/httpapi`;
  }

  get batch() {
    return `${this.#origin}/batch`;
  }

  /**
   * Fail from now on, in place of an earlier fault. `fault` is a name of faults.js, a function (req, exchange) as
   * described there, a list of these, or null for no fault. Each one meets `times` requests, one after the other; then
   * the answers are the usual ones again.
   */
  setFault(fault, times = Array.isArray(fault) ? 1 : Infinity) {
    const list = fault === null ? [] : [fault].flat();
    this.#pending = list.map((item) => ({ fault: findFault(item), times }));
  }

  #takeFault() {
    const [first] = this.#pending;
    if (first !== undefined && --first.times <= 0) {
      this.#pending.shift();
    }
    return first?.fault;
  }

  #socketId(socket) {
    if (!this.#socketIds.has(socket)) {
      this.#socketIds.set(socket, ++this.#socketCount);
    }
    return this.#socketIds.get(socket);
  }

  async #intercept(exchange) {
    const { req, res } = exchange;
    const request = new RecordedRequest(req, this.#socketId(req.socket));
    this.requests.push(request);
    const settle = () => {
      request.complete = true;
      request.status = exchange.record.status;
      request.answeredAt ??= request.status === null ? null : Date.now();
      this.#changes.emit('change');
    };
    res.on('close', settle);
    res.on('finish', settle);
    // Requests that only look at the store do not fail.
    const fault = req.method === 'GET' ? undefined : this.#takeFault();
    if (!fault?.beforeReading) {
      if (!(await exchange.read())) {
        return null;
      }
      request.rawBytes = this.#recordBodies ? exchange.rawBody : null;
      request.complete = true;
      this.#changes.emit('change');
    }
    try {
      return await fault?.(req, exchange);
    } catch (error) {
      this.#errors.push(error);
      throw error;
    }
  }

  /**
   * Resolve to the result of `predicate(this)` as soon as it is truthy. It is called at once, and again whenever a
   * connection comes in or fails, and whenever a request comes in, is answered or is aborted.
   */
  waitFor(predicate, { timeoutMillis = DEFAULT_TIMEOUT_MILLIS } = {}) {
    return new Promise((resolve, reject) => {
      const settle = (settler, value) => {
        clearTimeout(timer);
        this.#changes.off('change', check);
        settler(value);
      };
      const check = () => {
        try {
          const result = predicate(this);
          if (result) {
            settle(resolve, result);
          }
        } catch (error) {
          settle(reject, error);
        }
      };
      const timer = setTimeout(() => {
        const statuses = this.requests
          .map((request) => request.status ?? 'none')
          .slice(-20)
          .join(' ');
        settle(
          reject,
          new Error(
            `timed out after ${timeoutMillis} ms; ${this.requests.length} requests: ${statuses}`,
          ),
        );
      }, timeoutMillis);
      this.#changes.on('change', check);
      check();
    });
  }

  /** Resolve to the next request, in order of arrival, that no earlier call has returned, when it is complete. */
  nextRequest(options) {
    const index = this.#nextRequest++;
    return this.waitFor(() => this.requests[index]?.complete && this.requests[index], options);
  }

  /** Refuse connections, and cut the existing ones. */
  stop() {
    return this.#collector.close();
  }

  /** Listen, after stop() on the same port, with the same store. */
  async start() {
    const { port, url } = await this.#collector.listen(this.#port);
    this.#port = port;
    this.#origin = url;
  }

  /** Stop for good; rejects when a fault function threw. */
  async close() {
    await this.stop();
    if (this.#errors.length > 0) {
      throw this.#errors[0];
    }
  }
}

/**
 * Start a stand-in for Amplitude.
 *
 * options: those of createCollector(); `tls`: true or the name of a certificate ('good', 'expired', 'wrongHost' or
 * 'untrusted', where .caFile is what the client should trust), or options of https.createServer(); `faults`: as for
 * setFault(); `recordBodies`: false to save memory.
 */
async function startAmplitude(options = {}) {
  const amplitude = new Amplitude(options);
  await amplitude.start();
  return amplitude;
}

module.exports = { faults, startAmplitude };
