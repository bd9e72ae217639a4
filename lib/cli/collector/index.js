'use strict';

/**
 * A local stand-in for Amplitude, for development and tests: an HTTP server that takes events as Amplitude's HTTP V2
 * and Batch APIs do, refuses what they refuse, and shows what arrives. It also serves cohorts of its users.
 */

const { once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const { noAllocations } = require('./allocation.js');
const { createApi } = require('./api.js');
const { BodyReader } = require('./body.js');
const { createCohortApi } = require('./cohort-api.js');
const { createCohorts } = require('./cohorts.js');
const { Exchange } = require('./exchange.js');
const { createForwarder } = require('./forward.js');
const {
  isLoopbackAddress,
  mayUpload,
  preflight,
  refuseView,
  uploadHeaders,
} = require('./origins.js');
const { Outage } = require('./outage.js');
const { SECURITY_HEADERS, findFile, wantsPage } = require('./page.js');
const { answers } = require('./protocol.js');
const { RequestLog } = require('./requests.js');
const { Store } = require('./store.js');
const { Stream } = require('./stream.js');
const { findView } = require('./views.js');

/**
 * Long headers are no fault of a client, and an idle connection is none. What never ends is one: a request has to be
 * complete in time.
 */
const SERVER_OPTIONS = {
  maxHeaderSize: 1024 * 1024,
  requestTimeout: 120_000,
  headersTimeout: 20_000,
  connectionsCheckingInterval: 5000,
  keepAliveTimeout: 0,
};

/**
 * Create a collector; listen() starts it.
 *
 * options, all optional:
 * - apiKeys: the API keys that are known (default: any);
 * - badIndexes: 'all', or 'first' to list only the first bad event of each field in a 400;
 * - shortIds: 'remove' ids shorter than min_id_length, or 'refuse' events that have one;
 * - maxBytes: the largest request, uncompressed (default: Amplitude's limit of the endpoint);
 * - maxEvents, maxBytes, maxInsertIds, maxDuplicates, maxRefusals: bounds of the store;
 * - maxReadingBytes, bodyIdleMillis: bounds of the bodies that are being read;
 * - prefixes: of user properties that hold variations, in addition to the usual ones, and those that events tell;
 * - allocations: the planned split of rules, as readAllocations() returns it;
 * - forward: the URL to pass requests on to, and caFile, the certificates to trust for it;
 * - cohorts: those that it serves, as parseCohorts() returns them;
 * - allowOrigins: the origins whose pages may send events, in addition to pages of this machine;
 * - allowHosts: names under which the collector may be asked, in addition to those of this machine;
 * - now: the clock, in milliseconds;
 * - tls: options of https.createServer(), to serve https;
 * - intercept: async (exchange) => answer, called before the body is read. `{status, headers, body}` is sent in place
 *   of the usual answer; undefined stands for the usual answer; null means that the request is answered already, or
 *   never will be.
 */
function createCollector(options = {}) {
  const store = new Store(options);
  const sockets = new Set();
  const requests = new RequestLog();
  const outage = new Outage(() => stream.change());
  const stream = new Stream(store, () => ({
    ...store.stats(),
    revision: store.revision,
    sums: requests.sums(),
    mode: outage.mode,
    forward: options.forward ?? null,
  }));
  const cohorts = createCohorts(options.cohorts ?? [], store);
  const bodies = new BodyReader(options);
  const allocations = options.allocations ?? noAllocations;
  const findApi = createApi(store, outage, stream, requests, cohorts, allocations);
  const findCohort = createCohortApi(cohorts, outage, options);
  const forward = options.forward
    ? createForwarder(options.forward, options)
    : (exchange) => exchange.accept();
  let isLoopback = true;

  store.on('request', (record) => requests.add(record));

  /** The answer to a request for one of the paths that take events; null if none is to be sent. */
  async function answerUpload(exchange) {
    const { method, headers } = exchange.req;
    if (!mayUpload(headers.origin, options.allowOrigins ?? [])) {
      return answers.forbidden(
        'Pages of this origin may not send events; start the collector with --allow-origin',
      );
    }
    for (const [name, value] of Object.entries(uploadHeaders(headers.origin))) {
      exchange.res.setHeader(name, value);
    }
    if (method === 'OPTIONS') {
      exchange.doNotRecord();
      return preflight();
    }
    if (method !== 'POST') {
      return answers.methodNotAllowed('POST');
    }
    if (exchange.isRefused) {
      return answers.tooManyBodies();
    }
    const failure = outage.answer(exchange);
    return failure === undefined ? forward(exchange) : failure;
  }

  /** The answer to any other request; null if it is sent already. */
  function answerView(exchange) {
    const { req, res, target } = exchange;
    const refusal = refuseView(req.headers, isLoopback, options.allowHosts ?? []);
    if (refusal !== null) {
      return refusal;
    }
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) {
      res.setHeader(name, value);
    }
    const isPage = target?.pathname === '/' && wantsPage(req.headers);
    const view =
      target &&
      (findFile(isPage ? '/page/index.html' : target.pathname) ??
        findCohort(target.pathname) ??
        findApi(target.pathname) ??
        findView(store, target));
    if (!view) {
      return answers.invalidPath();
    }
    exchange.doNotRecord();
    const method = view.method ?? 'GET';
    return req.method === method ? view(exchange) : answers.methodNotAllowed(method);
  }

  async function handle(req, res) {
    const exchange = new Exchange(req, res, store, bodies, options);
    try {
      const replacement = await options.intercept?.(exchange);
      if (replacement === null || !(await exchange.read())) {
        return;
      }
      const answer =
        replacement ?? (await (exchange.isUpload ? answerUpload(exchange) : answerView(exchange)));
      if (answer !== null) {
        exchange.send(answer);
      }
    } catch (error) {
      // A defect of the collector, or of an interceptor, must not look like a network failure.
      if (!res.headersSent) {
        exchange.send(answers.refusal(500, error.message));
      }
    }
  }

  const server = options.tls
    ? https.createServer({ ...SERVER_OPTIONS, ...options.tls }, handle)
    : http.createServer(SERVER_OPTIONS, handle);
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });

  return {
    server,
    store,

    /** The URL, without a slash at the end; null while it does not listen. */
    get url() {
      const address = server.address();
      if (address === null) {
        return null;
      }
      const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
      return `${options.tls ? 'https' : 'http'}://${host}:${address.port}`;
    },

    /** Listen; resolve to {port, url}. May be called again after close(). */
    async listen(port = 0, host = '127.0.0.1') {
      server.listen(port, host);
      await once(server, 'listening'); // rejects on 'error'
      isLoopback = isLoopbackAddress(server.address().address);
      return { port: server.address().port, url: this.url };
    },

    /** Stop listening and cut every connection; the store stays. */
    close() {
      return new Promise((resolve) => {
        // The only possible error is that it does not listen.
        server.close(() => resolve());
        for (const socket of sockets) {
          socket.destroy();
        }
      });
    },
  };
}

module.exports = { createCollector };
