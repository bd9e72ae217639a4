'use strict';

/** The last requests that came in, and sums of all of them. */

const { Fifo } = require('./bounded.js');

const MAX_REQUESTS = 200;

class RequestLog {
  #recent;
  #sums;
  #byStatus;

  constructor() {
    this.reset();
  }

  reset() {
    this.#recent = new Fifo(MAX_REQUESTS);
    this.#sums = { requests: 0, bytes: 0, jsonBytes: 0, compressed: 0, events: 0, largestBytes: 0 };
    this.#byStatus = new Map();
  }

  add(record) {
    const sums = this.#sums;
    const status = record.status ?? 'none';
    this.#recent.push(record);
    this.#byStatus.set(status, (this.#byStatus.get(status) ?? 0) + 1);
    sums.requests++;
    sums.bytes += record.bytes;
    sums.jsonBytes += record.jsonBytes;
    sums.compressed += record.compressed;
    sums.events += record.events;
    sums.largestBytes = Math.max(sums.largestBytes, record.bytes);
  }

  /** The last requests, oldest first. */
  recent() {
    return this.#recent.last();
  }

  sums() {
    return { ...this.#sums, byStatus: Object.fromEntries(this.#byStatus) };
  }
}

module.exports = { RequestLog };
