'use strict';

/** The body of a request: read within a bound, decompressed within a bound, parsed. */

const zlib = require('node:zlib');
const { answers } = require('./protocol.js');
const { parsedBytes } = require('./weight.js');

/** A browser's beacon is sent as plain text, whatever its content is. */
const JSON_TYPE = /^(application\/json|text\/plain)\s*(;|$)/i;
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A body of which nothing more comes is given up. */
const IDLE_MILLIS = 20_000;
/** All bodies that are being read may have this much together; three of the largest. */
const MAX_READING_BYTES = 64 * 1024 * 1024;
/** JSON may become this much in memory for the moment in which it is looked at. */
const MAX_PARSED_BYTES = 96 * 1024 * 1024;
/** Smaller bodies need no look: they cannot become that much. */
const UNSUSPICIOUS_BYTES = 1024 * 1024;

/** Reads bodies within a bound for all of them together. */
class BodyReader {
  #readingBytes = 0;
  #idleMillis;
  #maxReadingBytes;

  constructor({ bodyIdleMillis = IDLE_MILLIS, maxReadingBytes = MAX_READING_BYTES } = {}) {
    this.#idleMillis = bodyIdleMillis;
    this.#maxReadingBytes = maxReadingBytes;
  }

  /**
   * Read a request to its end: `{raw, bytes, isRefused}`, where raw is null if there were more than maxBytes, or if it
   * is refused: all bodies together would be too many. Such a body is read and discarded, so that the connection can be
   * used again after the answer. Rejects when the client goes away, or sends nothing for a while. Call `free()` of the
   * result when the body is done with.
   */
  async read(req, maxBytes) {
    // Compression makes data that cannot be compressed a little larger.
    const keptBytes = maxBytes * 1.01 + 1024;
    let chunks = [];
    let bytes = 0;
    let held = 0;
    let isRefused = false;
    const free = () => {
      this.#readingBytes -= held;
      held = 0;
      chunks = [];
    };
    const timer = setTimeout(() => req.destroy(), this.#idleMillis).unref();
    try {
      for await (const chunk of req) {
        timer.refresh();
        bytes += chunk.length;
        isRefused ||=
          bytes <= keptBytes && this.#readingBytes + chunk.length > this.#maxReadingBytes;
        if (isRefused || bytes > keptBytes) {
          free();
        } else {
          chunks.push(chunk);
          held += chunk.length;
          this.#readingBytes += chunk.length;
        }
      }
    } catch (error) {
      free();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    const raw = isRefused || bytes > keptBytes ? null : Buffer.concat(chunks);
    chunks = [];
    return { raw, bytes, isRefused, free };
  }
}

/** Decompress and parse a body: `{request, bytes}`, or `{answer}`, which refuses it. */
function parseBody(raw, headers, maxBytes) {
  const encoding = (headers['content-encoding'] ?? 'identity').toLowerCase();
  if (encoding !== 'gzip' && encoding !== 'identity') {
    return { answer: answers.unsupportedEncoding() };
  }
  if (raw === null) {
    return { answer: answers.payloadTooLarge() };
  }
  try {
    // Not the asynchronous variant: a client in this process may be waiting for the answer in the
    // last thread of the pool. The bound keeps a small body from becoming a huge one.
    const json = encoding === 'gzip' ? zlib.gunzipSync(raw, { maxOutputLength: maxBytes }) : raw;
    if (json.length > maxBytes) {
      return { answer: answers.payloadTooLarge() };
    }
    if (json.length === 0) {
      return { answer: answers.missingBody() };
    }
    if (!JSON_TYPE.test(headers['content-type'] ?? '')) {
      return { answer: answers.invalidJson() };
    }
    if (json.length > UNSUSPICIOUS_BYTES && parsedBytes(json) > MAX_PARSED_BYTES) {
      return { answer: answers.payloadTooLarge() };
    }
    return { request: JSON.parse(UTF8.decode(json)), bytes: json.length };
  } catch (error) {
    return {
      answer:
        error.code === 'ERR_BUFFER_TOO_LARGE' ? answers.payloadTooLarge() : answers.invalidJson(),
    };
  }
}

module.exports = { BodyReader, parseBody };
