'use strict';

/** One HTTP request to the collector and its answer, step by step: read, accept, send. */

const { BATCH, HTTP_V2 } = require('../../endpoints.js');
const { redact } = require('../shown.js');
const { APIS, answers, listRefusals } = require('./protocol.js');
const { parseBody } = require('./body.js');
const { validate } = require('./validate.js');

/** The characters of a URL that are kept. */
const MAX_URL_LENGTH = 2000;
const MAX_ERROR_LENGTH = 500;
/** The only other path with a large body. */
const IMPORT_PATH = '/api/import';

/** The URL that a request asks for, or null when its target is not a URL. */
function parseTarget(target) {
  try {
    return new URL(target, 'http://collector');
  } catch {
    return null;
  }
}

/** What an answer says of an error, in one line without keys; null if it says nothing. It may come from any server. */
function errorOf(body) {
  const error = body?.error;
  const text = typeof error === 'object' && error !== null ? error.message : error;
  return text == null ? null : redact(String(text).slice(0, MAX_ERROR_LENGTH));
}

class Exchange {
  #store;
  #options;
  #bodies;
  #maxBytes;
  #reading = null;
  #parsed = null;
  #answer = null;
  #recorded = false;
  #isView = false;

  constructor(req, res, store, bodies, options) {
    this.req = req;
    this.res = res;
    this.target = parseTarget(req.url);
    this.#store = store;
    this.#bodies = bodies;
    this.#options = options;
    const path = this.target?.pathname;
    const api = path === IMPORT_PATH ? BATCH : Object.hasOwn(APIS, path) ? APIS[path] : HTTP_V2;
    this.#maxBytes = options.maxBytes ?? api.maxBytes;
    /** The body as it was sent; null until it is read, and when it is cut off or far too large. */
    this.rawBody = null;
    /** The store's record of the exchange; `bytes` is the size of the body as sent, `jsonBytes` without compression. */
    this.record = {
      method: req.method,
      url: req.url.slice(0, MAX_URL_LENGTH),
      status: null,
      error: null,
      bytes: 0,
      jsonBytes: 0,
      compressed: req.headers['content-encoding'] === 'gzip',
      events: 0,
      duplicates: 0,
      receivedAt: store.now(),
      answeredAt: null,
    };
    res.on('close', () => this.#close());
  }

  /** Whether the body was not read, because too many are read at the same time. */
  isRefused = false;

  /** Read the body; resolve to false when the client went away. */
  read() {
    this.#reading ??= this.#bodies.read(this.req, this.#maxBytes).then(
      ({ raw, bytes, isRefused, free }) => {
        this.rawBody = raw;
        this.isRefused = isRefused;
        this.record.bytes = bytes;
        this.res.on('close', free);
        return true;
      },
      () => false,
    );
    return this.#reading;
  }

  #parse() {
    if (this.#parsed === null) {
      this.#parsed = parseBody(this.rawBody, this.req.headers, this.#maxBytes);
      this.record.jsonBytes = this.bytes;
      this.record.events = this.events.length;
    }
    return this.#parsed;
  }

  /** Whether the request goes to one of the paths that take events. */
  get isUpload() {
    return this.target !== null && Object.hasOwn(APIS, this.target.pathname);
  }

  /** Keep the exchange out of the store: requests that only look at the collector are not part of what it shows. */
  doNotRecord() {
    this.#isView = true;
  }

  /** The events of the body, once it is read; empty if the body is unusable. */
  get events() {
    const events = this.#parse().request?.events;
    return Array.isArray(events) ? events : [];
  }

  /** The size of the body without compression, 0 if it is unusable. */
  get bytes() {
    return this.#parse().bytes ?? 0;
  }

  /** Treat the body, once it is read, as Amplitude does, and return the answer. Further calls return the same one. */
  accept() {
    this.#answer ??= this.#ingest();
    return this.#answer;
  }

  #ingest() {
    const { answer, request, bytes } = this.#parse();
    const refusal = answer ?? validate(request, this.#options);
    if (refusal) {
      return refusal;
    }
    const { events } = request;
    this.record.duplicates = this.#store.ingest(request.api_key, events).duplicates;
    return answers.accepted(events.length, bytes, this.#store.now());
  }

  /**
   * Send an answer: `{status, headers, body}`, where a body that is neither text nor bytes is sent as JSON.
   * `json` is the parsed content of a body that is text or bytes.
   */
  send({ status, headers, body = '', json = body }) {
    const payload = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    this.record.error = errorOf(json);
    if (status >= 400 && this.rawBody !== null && this.isUpload) {
      this.#noteRefusals(json);
    }
    this.sent(status);
    this.res.writeHead(status, {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(payload),
      ...headers,
    });
    this.res.end(payload);
  }

  #noteRefusals(body) {
    const { events } = this;
    for (const { index, reason } of listRefusals(body)) {
      if (typeof events[index] === 'object' && events[index] !== null) {
        this.#store.refuse(events[index], reason);
      }
    }
  }

  /** Note that the answer is being sent; for callers that write to the socket themselves, without send(). */
  sent(status) {
    this.record.status = status;
    this.#close();
  }

  #close() {
    if (!this.#recorded && !this.#isView) {
      this.#recorded = true;
      this.record.answeredAt = this.record.status === null ? null : this.#store.now();
      this.#store.record(this.record);
    }
  }
}

module.exports = { Exchange };
