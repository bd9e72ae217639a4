'use strict';

/** The body of a request: read within a bound, decompressed within a bound, parsed. */

const zlib = require('node:zlib');
const { answers } = require('./protocol.js');

/** A browser's beacon is sent as plain text, whatever its content is. */
const JSON_TYPE = /^(application\/json|text\/plain)\s*(;|$)/i;
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Read a request to its end: `{raw, bytes}`, where raw is null if there were more than maxBytes.
 * A body that is too large is read and discarded, so that the connection can be used again after the answer. Rejects when the client goes away.
 */
async function readBody(req, maxBytes) {
  // Compression makes data that cannot be compressed a little larger.
  const keptBytes = maxBytes * 1.01 + 1024;
  const chunks = [];
  let bytes = 0;
  for await (const chunk of req) {
    bytes += chunk.length;
    if (bytes <= keptBytes) {
      chunks.push(chunk);
    }
  }
  return { raw: bytes <= keptBytes ? Buffer.concat(chunks) : null, bytes };
}

/** Decompress and parse the result of readBody(): `{request, bytes}`, or `{answer}`, which refuses it. */
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
    return { request: JSON.parse(UTF8.decode(json)), bytes: json.length };
  } catch (error) {
    return {
      answer:
        error.code === 'ERR_BUFFER_TOO_LARGE' ? answers.payloadTooLarge() : answers.invalidJson(),
    };
  }
}

module.exports = { parseBody, readBody };
