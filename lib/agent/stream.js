'use strict';

/**
 * The stream of one Agent: it is read as fast as it comes, and connected to again when it ends.
 *
 *     connecting -> listening -> waiting -> connecting ...
 *         |                         ^
 *         +-------------------------+
 *
 * An Agent keeps nothing for a listener that is away, and a listener that reads slowly holds up its decisions. So messages
 * are handed on at once, whatever becomes of them, and the time away is counted.
 *
 * An Agent answers a request only with its first event, which may be hours later; only a refusal comes at once. So a
 * connection without an answer is taken for a stream after half a second.
 */

const http = require('node:http');
const https = require('node:https');

const { reasonOf } = require('../reason.js');
const { EventParser } = require('./parser.js');

const CONNECT_MILLIS = 10_000;
const REFUSAL_MILLIS = 500;
/** An idle connection is asked for a sign of life; 10 s without one end it. */
const KEEP_ALIVE_MILLIS = 15_000;
/** The first attempt follows at once, in 50 ms at most; then the pauses double up to this one. */
const FIRST_PAUSE_MILLIS = 50;
const MAX_PAUSE_MILLIS = 5_000;
const MAX_REASON = 200;

const ADVICE = {
  401: 'is the access token right?',
  403: 'are notifications enabled (OPTIMIZELY_API_ENABLENOTIFICATIONS=1), and is the access token right?',
  404: 'is this the URL of an Optimizely Agent?',
  422: 'is the SDK key right?',
};

/** Agent's server has a deadline for an answer, 10 s by default: the first event after it is lost, and ends the stream. */
const CUT =
  'and what it was sending is lost; unless it has restarted, set OPTIMIZELY_SERVER_WRITETIMEOUT=0s there';

class Stream {
  #url;
  #headers;
  #log;
  #onMessage;
  #request = null;
  #timer = null; // of the state: to connect in time, to be refused, to connect again
  #state = 'connecting';
  #failures = 0; // since it was last listened to
  #connections = 0;
  #awayMillis = 0; // before awaySince
  #awaySince = performance.now(); // null while it is listened to
  #connectedAt = null;
  #lastError = null;

  /** `headers()` returns those of a request, or a promise of them; `onMessage(text)` never throws. */
  constructor(url, { headers, log, onMessage }) {
    this.#url = url;
    this.#headers = headers;
    this.#log = log;
    this.#onMessage = onMessage;
    this.#connect();
  }

  get status() {
    const away = this.#awaySince === null ? 0 : performance.now() - this.#awaySince;
    return {
      url: this.#url,
      state: this.#state,
      connections: this.#connections,
      awayMillis: Math.round(this.#awayMillis + away),
      lastError: this.#lastError && { ...this.#lastError },
    };
  }

  close() {
    if (this.#state !== 'closed') {
      const { awayMillis } = this.status;
      this.#awayMillis = awayMillis;
      this.#awaySince = null;
      this.#state = 'closed';
      clearTimeout(this.#timer);
      this.#request?.destroy();
    }
  }

  async #connect() {
    this.#state = 'connecting';
    const isSecure = this.#url.startsWith('https:');
    let request;
    try {
      const headers = { Accept: 'text/event-stream', ...(await this.#headers()) };
      if (this.#state === 'closed') {
        return;
      }
      request = (isSecure ? https : http).get(this.#url, { agent: false, headers });
    } catch (error) {
      this.#end(`it cannot be asked: ${reasonOf(error)}`); // no token, or one that no header takes
      return;
    }
    this.#request = request;
    let reason = null;
    let answer = null;
    request.on('socket', (socket) => {
      socket.setKeepAlive(true, KEEP_ALIVE_MILLIS);
      socket.once(isSecure ? 'secureConnect' : 'connect', () => {
        this.#connectedAt = performance.now();
        this.#after(REFUSAL_MILLIS, () => this.#listen());
      });
    });
    request.on('response', (response) => {
      answer = response;
      this.#read(response, (message) => {
        reason = message;
      });
    });
    request.on('error', (error) => {
      reason ??= reasonOf(error);
    });
    request.on('close', () => this.#end(reason ?? this.#endOf(answer)));
    this.#after(CONNECT_MILLIS, () =>
      request.destroy(new Error(`no connection within ${CONNECT_MILLIS} ms`)),
    );
  }

  #endOf(answer) {
    const seconds = Math.round((performance.now() - this.#connectedAt) / 1000);
    return answer?.complete === false
      ? `the Agent has cut its stream after ${seconds} s, ${CUT}`
      : 'the Agent has closed its stream';
  }

  /** Read an answer; `tell(reason)` says why it ends, unless the connection does. */
  #read(response, tell) {
    response.setEncoding('utf8');
    response.on('error', () => {}); // then the request is closed, too
    const { statusCode, headers } = response;
    if (statusCode !== 200 || !String(headers['content-type']).startsWith('text/event-stream')) {
      this.#refused(response, tell);
      return;
    }
    this.#listen();
    const parser = new EventParser(this.#onMessage);
    response.on('data', (text) => {
      try {
        parser.push(text);
      } catch (error) {
        tell(reasonOf(error));
        response.destroy();
      }
    });
  }

  #refused(response, tell) {
    clearTimeout(this.#timer);
    const { statusCode, headers } = response;
    const isPage = statusCode === 200;
    const advice = ADVICE[isPage ? 404 : statusCode];
    const tellBody = (body) => {
      const text = body.replace(/\s+/g, ' ').trim().slice(0, MAX_REASON);
      const what = isPage
        ? `it answers with ${headers['content-type']}, and not with a stream`
        : `it answers with ${statusCode}${text && ` (${text})`}`;
      tell(advice === undefined ? what : `${what}: ${advice}`);
    };
    let body = '';
    tellBody(body);
    response.on('data', (text) => {
      body += text;
      tellBody(body);
      if (body.length > MAX_REASON) {
        response.destroy();
      }
    });
    this.#after(REFUSAL_MILLIS, () => response.destroy());
  }

  #listen() {
    if (this.#state !== 'connecting') {
      return;
    }
    clearTimeout(this.#timer);
    const away = this.#connectedAt - this.#awaySince;
    this.#awayMillis += away;
    this.#awaySince = null;
    this.#state = 'listening';
    this.#connections++;
    if (this.#connections > 1 || this.#failures > 0) {
      this.#log.warn(
        `away ${this.#url}`,
        `agent ${this.#url}: nobody listened for ${Math.round(away)} ms, and what it decided meanwhile is not known`,
      );
    } else {
      this.#log.info(`agent ${this.#url}: listening to its decisions`);
    }
    this.#failures = 0;
  }

  /** A connection has ended, or could not be made. */
  #end(reason) {
    clearTimeout(this.#timer);
    this.#request = null;
    if (this.#state === 'closed') {
      return;
    }
    this.#awaySince ??= performance.now();
    const limit = Math.min(FIRST_PAUSE_MILLIS * 2 ** this.#failures, MAX_PAUSE_MILLIS);
    this.#failures = Math.min(this.#failures + 1, 20);
    this.#lastError = { message: reason, time: Date.now() };
    this.#log.warn(`end ${this.#url}`, `agent ${this.#url}: ${reason}; trying again`);
    this.#state = 'waiting';
    this.#after(limit * (0.5 + Math.random() / 2), () => this.#connect());
  }

  #after(millis, action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, millis);
  }
}

module.exports = { Stream };
