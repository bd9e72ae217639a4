'use strict';

/**
 * Sends the collector's page what happens, as server-sent events: `start` with the whole state when the page
 * connects, then `news` a few times a second at most, however much comes in. Without a page it costs nothing.
 */

const { answers } = require('./protocol.js');
const { pairDecisions, tellsOfDecision } = require('./analysis.js');

const INTERVAL_MILLIS = 250;
const HEARTBEAT_MILLIS = 15_000;
const MAX_CLIENTS = 32;
/** The page gets the last decisions and requests between two messages; more could not be read anyway. */
const MAX_EVENTS = 400;
const MAX_DECISIONS = 100;
const MAX_REQUESTS = 50;
/** A decision with larger events is sent without them. */
const MAX_DECISION_CHARS = 50_000;
/** A client that leaves this much unread is cut off. It reconnects by itself. */
const MAX_BACKLOG_BYTES = 4 * 1024 * 1024;

function encode(decision) {
  const json = JSON.stringify(decision);
  return json.length <= MAX_DECISION_CHARS
    ? json
    : JSON.stringify({ ...decision, event: null, exposure: null, identify: null });
}

const message = (name, state, decisions, requests) =>
  `event: ${name}\ndata: {"state":${JSON.stringify(state)},` +
  `"decisions":[${decisions.map(encode).join()}],"requests":${JSON.stringify(requests)}}\n\n`;

class Stream {
  #store;
  #describe;
  #clients = new Set();
  #events = [];
  #requests = [];
  #timer = null;
  #heartbeat = null;
  #onEvent = (event) => this.#note(this.#events, event, MAX_EVENTS);
  #onRequest = (record) => this.#note(this.#requests, record, MAX_REQUESTS);
  #onOther = () => this.change();

  /** `describe` returns the state that every message carries. */
  constructor(store, describe) {
    this.#store = store;
    this.#describe = describe;
  }

  /** Answer a request with the stream. */
  open(exchange, requests) {
    if (this.#clients.size === MAX_CLIENTS) {
      exchange.send(answers.unavailable());
      return;
    }
    const { res } = exchange;
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    const decisions = pairDecisions(this.#store.recent(MAX_EVENTS, tellsOfDecision)).slice(
      -MAX_DECISIONS,
    );
    res.write(message('start', this.#describe(), decisions, requests));
    if (this.#clients.size === 0) {
      this.#listen();
    }
    this.#clients.add(res);
    res.on('close', () => {
      this.#clients.delete(res);
      if (this.#clients.size === 0) {
        this.#stopListening();
      }
    });
  }

  #listen() {
    this.#store
      .on('event', this.#onEvent)
      .on('request', this.#onRequest)
      .on('duplicate', this.#onOther)
      .on('refusal', this.#onOther);
    this.#heartbeat = setInterval(() => this.#write(':\n\n'), HEARTBEAT_MILLIS).unref();
  }

  #stopListening() {
    this.#store
      .off('event', this.#onEvent)
      .off('request', this.#onRequest)
      .off('duplicate', this.#onOther)
      .off('refusal', this.#onOther);
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#events = [];
    this.#requests = [];
  }

  #note(list, item, limit) {
    list.push(item);
    if (list.length === 2 * limit) {
      list.splice(0, limit);
    }
    this.change();
  }

  /** Note a change that the page shows. */
  change() {
    if (this.#clients.size > 0) {
      this.#timer ??= setTimeout(() => this.#tell(), INTERVAL_MILLIS).unref();
    }
  }

  #tell() {
    this.#timer = null;
    const decisions = pairDecisions(this.#events.slice(-MAX_EVENTS)).slice(-MAX_DECISIONS);
    const requests = this.#requests.slice(-MAX_REQUESTS);
    this.#events = [];
    this.#requests = [];
    this.#write(message('news', this.#describe(), decisions, requests));
  }

  #write(text) {
    for (const res of this.#clients) {
      if (res.writableLength > MAX_BACKLOG_BYTES) {
        res.destroy();
      } else {
        res.write(text);
      }
    }
  }
}

module.exports = { Stream };
