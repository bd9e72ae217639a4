'use strict';

/**
 * A local stand-in for Amplitude: an HTTP server that takes events as Amplitude's HTTP V2 and Batch
 * APIs do, refuses what they refuse, and shows what arrived. For development and tests.
 */

const { once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const { ENDPOINTS, answers } = require('./protocol');
const { Exchange } = require('./exchange');
const { Store } = require('./store');
const { findView } = require('./views');

/** Node's limits protect servers from strangers; here they would only hide what a client does. */
const SERVER_OPTIONS = {
  maxHeaderSize: 1024 * 1024,
  requestTimeout: 0,
  headersTimeout: 0,
  keepAliveTimeout: 0,
};

/** The answer to a request, whose body was read. */
function answer(exchange, store) {
  const { method } = exchange.req;
  const target = exchange.target;
  if (target !== null && Object.hasOwn(ENDPOINTS, target.pathname)) {
    return method === 'POST' ? exchange.accept() : answers.methodNotAllowed('POST');
  }
  const view = target && findView(store, target);
  if (!view) {
    return answers.invalidPath();
  }
  return method === 'GET' ? view() : answers.methodNotAllowed('GET');
}

/**
 * Create a collector; listen() starts it.
 *
 * options, all optional:
 * - apiKeys: the API keys that are known (default: any);
 * - badIndexes: 'all', or 'first' to list only the first bad event of each field in a 400;
 * - shortIds: 'remove' ids shorter than min_id_length, or 'refuse' events that have one;
 * - maxBytes: the largest request, uncompressed (default: Amplitude's limit of the endpoint);
 * - maxEvents, maxUsers, maxInsertIds, maxDuplicates: bounds of what is remembered;
 * - now: the clock, in milliseconds;
 * - tls: options of https.createServer(), to serve https;
 * - intercept: async (exchange) => answer, called before the body is read: `{status, headers, body}`
 *   is sent instead of the usual answer; undefined lets the usual one happen; null means that it was
 *   answered, or that nothing shall be.
 */
function createCollector(options = {}) {
  const store = new Store(options);
  const sockets = new Set();

  async function handle(req, res) {
    const exchange = new Exchange(req, res, store, options);
    try {
      const replacement = await options.intercept?.(exchange);
      if (replacement !== null && (await exchange.read())) {
        exchange.send(replacement ?? answer(exchange, store));
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

    /** Where it listens, without a slash at the end; null if it does not. */
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
      return { port: server.address().port, url: this.url };
    },

    /** Stop listening and cut every connection; the store stays. */
    close() {
      return new Promise((resolve) => {
        // The error that there can be is that it does not listen.
        server.close(() => resolve());
        for (const socket of sockets) {
          socket.destroy();
        }
      });
    },
  };
}

module.exports = { createCollector };
