'use strict';

/**
 * Sends the collector's page what happens, as server-sent events: `start` with the whole state when the page
 * connects, then `news` a few times a second at most, however much comes in. Without a page it costs nothing.
 */

const { answers } = require('./protocol.js');
const { pairDecisions, tellsOfDecision } = require('./decisions.js');

const INTERVAL_MILLIS = 250;
const HEARTBEAT_MILLIS = 15_000;
const MAX_CLIENTS = 32;
/** The page gets the last decisions and requests between two messages; more could not be read anyway. */
const MAX_RECORDS = 400;
const MAX_DECISIONS = 100;
const MAX_REQUESTS = 50;
/** A decision with larger events is sent without them. */
const MAX_DECISION_CHARS = 50_000;
/** A client that leaves this much unread is cut off. It reconnects by itself. */
const MAX_BACKLOG_BYTES = 4 * 1024 * 1024;

function encode({ event, exposure, identify, ...decision }) {
  const parts = [event, exposure, identify].map((record) => record?.text ?? 'null');
  const isSmall = parts.reduce((sum, { length }) => sum + length, 0) <= MAX_DECISION_CHARS;
  const [one, two, three] = isSmall ? parts : ['null', 'null', 'null'];
  return `${JSON.stringify(decision).slice(0, -1)},"event":${one},"exposure":${two},"identify":${three}}`;
}

const message = (name, state, decisions, requests) =>
  `event: ${name}\ndata: {"state":${JSON.stringify(state)},` +
  `"decisions":[${decisions.map(encode).join()}],"requests":${JSON.stringify(requests)}}\n\n`;

class Stream {
  #store;
  #describe;
  #clients = new Set();
  #told = 0; // the number of the first record that is not told yet
  #requests = [];
  #timer = null;
  #heartbeat = null;
  #onRequest = (record) => this.#note(record);
  #onOther = () => this.change();
  #onReset = () => this.#write(this.#start([]));

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
    res.write(this.#start(requests));
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

  #start(requests) {
    return message('start', this.#describe(), this.#decisions(0), requests);
  }

  #decisions(since) {
    const records = this.#store.recent(MAX_RECORDS, tellsOfDecision, since);
    return pairDecisions(records, this.#store.prefixes).slice(-MAX_DECISIONS);
  }

  #listen() {
    this.#told = this.#store.sequence;
    this.#store
      .on('event', this.#onOther)
      .on('reset', this.#onReset)
      .on('request', this.#onRequest)
      .on('duplicate', this.#onOther)
      .on('refusal', this.#onOther);
    this.#heartbeat = setInterval(() => this.#write(':\n\n'), HEARTBEAT_MILLIS).unref();
  }

  #stopListening() {
    this.#store
      .off('event', this.#onOther)
      .off('reset', this.#onReset)
      .off('request', this.#onRequest)
      .off('duplicate', this.#onOther)
      .off('refusal', this.#onOther);
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#requests = [];
  }

  #note(request) {
    this.#requests.push(request);
    if (this.#requests.length === 2 * MAX_REQUESTS) {
      this.#requests.splice(0, MAX_REQUESTS);
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
    const decisions = this.#decisions(this.#told);
    const requests = this.#requests.slice(-MAX_REQUESTS);
    this.#told = this.#store.sequence;
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
