'use strict';

/**
 * A stand-in for Optimizely Agent's stream of events. As in Agent's own handler, a request is answered with the first
 * event and not earlier, nothing is kept for whoever is not there, and an event is written to one listener after the
 * other: who reads slowly holds up the rest.
 */

const { EventEmitter, once } = require('node:events');
const http = require('node:http');
const https = require('node:https');

const { createNotification } = require('../optimizely/sdk.js');

/** A decision as Agent streams it: strings are '' where the JavaScript SDK has null. */
function createAgentDecision(userId, decision = {}) {
  const { type, attributes, decisionInfo } = createNotification(userId, decision);
  const { flagKey, variationKey, ruleKey, enabled, variables, reasons, decisionEventDispatched } =
    decisionInfo;
  return {
    Type: type,
    UserContext: { ID: userId, Attributes: attributes },
    DecisionInfo: {
      decisionEventDispatched,
      enabled,
      flagKey,
      reasons,
      ruleKey: ruleKey ?? '',
      variables,
      variationKey: variationKey ?? '',
    },
  };
}

class Agent {
  /** The headers of each request. */
  requests = [];
  #events = new EventEmitter();
  #server = null;
  #listeners = new Set();
  #port = 0;
  #refusal;
  #tls;

  /** `refusal(headers)` returns [status, text] for a request that is refused; with `tls`, { key, cert }, it is https. */
  constructor(refusal = () => null, tls = null) {
    this.#refusal = refusal;
    this.#tls = tls;
  }

  get url() {
    return `${this.#tls === null ? 'http' : 'https'}://127.0.0.1:${this.#port}`;
  }

  async start() {
    const { createServer } = this.#tls === null ? http : https;
    this.#server = createServer(this.#tls ?? {}, (req, res) => {
      this.requests.push(req.headers);
      const refusal =
        req.url === '/v1/notifications/event-stream'
          ? this.#refusal(req.headers)
          : [404, 'not found'];
      if (refusal !== null) {
        res.writeHead(refusal[0]).end(refusal[1]);
        return;
      }
      res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
      this.#listeners.add(res);
      res.on('close', () => this.#listeners.delete(res));
      this.#events.emit('listener');
    });
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = this.#server.address().port;
    return this;
  }

  /** Resolves when somebody listens. */
  async listened() {
    if (this.#listeners.size === 0) {
      await once(this.#events, 'listener');
    }
  }

  /** Stream a decision; resolves when every listener has taken it. */
  stream(decision) {
    return this.write(`data: ${JSON.stringify(decision)}\n\n`);
  }

  async write(text) {
    for (const res of this.#listeners) {
      if (!res.write(text)) {
        await new Promise((resolve) => {
          const done = () => {
            res.off('drain', done).off('close', done);
            resolve();
          };
          res.on('drain', done).on('close', done);
        });
      }
    }
  }

  /** What the deadline of Go's server does: the event that comes after it is lost, and its connection is cut. */
  cut() {
    this.#listeners.forEach((res) => res.destroy());
  }

  /** End as a process that is told to: what was written arrives, and then the connections close. */
  async stop() {
    await Promise.all([...this.#listeners].map((res) => new Promise((done) => res.end(done))));
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

const startAgent = (refusal, tls) => new Agent(refusal, tls).start();

module.exports = { createAgentDecision, startAgent };
