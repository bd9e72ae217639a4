'use strict';

/** The transport of a dispatcher on an edge runtime: its fetch, which brings connections, certificates and proxies. */

const { MAX_ANSWER_BYTES, retryAfter } = require('../wasm/answer.js');

class FetchTransport {
  #url;
  #host;
  #timeoutMillis;

  constructor({ serverUrl, requestTimeoutMillis }) {
    this.#url = serverUrl;
    this.#host = new URL(serverUrl).host;
    this.#timeoutMillis = requestTimeoutMillis;
  }

  needsTrust = false;

  /** See HttpTransport. When the request that this began in ends, it may be that `done` is never called. */
  post(request, done) {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), this.#timeoutMillis);
    this.#send(request, controller.signal)
      .catch((error) => ({
        error: controller.signal.aborted
          ? `${this.#host}: timed out after ${this.#timeoutMillis} milliseconds`
          : `${this.#host}: ${error.message}`,
      }))
      .then((answer) => {
        clearTimeout(timer);
        done(answer);
      });
    return {
      stop() {
        try {
          clearTimeout(timer);
          controller.abort();
        } catch {
          // It is of a request that has ended.
        }
      },
    };
  }

  async #send({ body, gzip }, signal) {
    const response = await fetch(this.#url, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        Accept: '*/*',
        ...(gzip && { 'Content-Encoding': 'gzip' }),
      },
      body,
      redirect: 'manual',
      signal,
    });
    const answer = new Uint8Array(await response.arrayBuffer());
    if (answer.length > MAX_ANSWER_BYTES) {
      throw new Error('the answer is too large');
    }
    return {
      statusCode: response.status,
      body: answer,
      retryAfterSeconds: retryAfter(response.headers.get('retry-after')),
    };
  }

  close() {}
}

module.exports = { FetchTransport };
