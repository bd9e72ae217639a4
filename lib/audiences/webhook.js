'use strict';

/**
 * Amplitude's cohort webhook as a request handler: who may send, what is a message, and what is answered.
 *
 * Amplitude takes any answer but 200, and none within a second or two, for a failure, and sends the message again, some
 * times. So a message that is no use here, of another cohort or an earlier moment, is answered with 200.
 */

const { createHash, timingSafeEqual } = require('node:crypto');

const { addonFor } = require('../engine.js');
const { Unexpected, describe, isObject, optionError, resolveTable } = require('../checks.js');
const { reasonOf } = require('../reason.js');
const { isText } = require('../text.js');
const { fromEvent, fromFastify, isEvent, isFastify, toResult } = require('./callers.js');

/** The largest body: 10,000 users with 50 properties each have less. */
const MAX_BODY_BYTES = 32 * 1024 * 1024;
/** What is still read of a body that is refused, so that its sender gets to see the answer. */
const MAX_REST_BYTES = 1024 * 1024;
/** What is read of a body at once when it is there as a whole. */
const PIECE_BYTES = 64 * 1024;
const MIN_SECRET_LENGTH = 16;
const DEFAULT_HEADER = 'x-webhook-secret';

// ---- options ----------------------------------------------------------------------------------------

/** One secret, or two while one is replaced by the other; as hashes, which have one length. */
function secrets(value) {
  const all = Array.isArray(value) ? value : [value];
  const isGood = (secret) =>
    isText(secret, 1) && /^[\x21-\x7e]+$/.test(secret) && secret.length >= MIN_SECRET_LENGTH;
  if (all.length === 0 || !all.every(isGood)) {
    throw new Unexpected(
      `a secret of at least ${MIN_SECRET_LENGTH} visible ASCII characters, or an array of such`,
      Array.isArray(value) ? 'an array with another value' : describeSecret(value),
    );
  }
  return all.map(hash);
}

/** What a value is, without what it is. */
function describeSecret(value) {
  if (value === undefined || value === '') {
    return `${describe(value)}: is its environment variable set?`;
  }
  return typeof value === 'string'
    ? 'a string that is shorter, or has others'
    : `another ${typeof value}`;
}

function header(value) {
  if (typeof value !== 'string' || !/^[\w!#$%&'*+.^`|~-]{1,100}$/.test(value)) {
    throw new Unexpected(`the name of a header, such as '${DEFAULT_HEADER}'`);
  }
  return value.toLowerCase();
}

function cohortIds(value) {
  const ids = isObject(value) ? Object.values(value) : [];
  if (ids.length === 0 || !ids.every((id) => isText(id, 1))) {
    throw new Unexpected(
      "an object { attribute: id of the cohort }, as Amplitude's messages name it",
      ids.length === 0 && isObject(value) ? 'an empty one' : undefined,
    );
  }
  if (new Set(ids).size < ids.length) {
    throw new Unexpected('another cohort for each attribute', 'the same for two of them');
  }
  return value;
}

const TABLE = {
  secret: { check: secrets, required: true },
  header: { check: header, default: DEFAULT_HEADER },
  cohorts: { check: cohortIds, default: null },
};

/** What webhook() is without options: whoever reaches it may send. A secret that is undefined is none of these. */
const OPEN = { secret: null, header: DEFAULT_HEADER, cohorts: null };

/** Check the options of webhook() of these cohorts; `cohorts` becomes a Map: id -> cohort. */
function resolveWebhook(options, cohorts, source) {
  if (options !== undefined && !isObject(options)) {
    throw optionError(
      `webhook() expects its options, webhook({ secret: ... }), got ${describe(options)}`,
    );
  }
  const resolved = options === undefined ? OPEN : resolveTable(TABLE, options, 'webhook.');
  if (resolved.cohorts === null && source === 'file') {
    throw optionError(
      "option 'webhook.cohorts': expected { attribute: id of the cohort }, because the cohorts of createAudiences() are files",
    );
  }
  const byId = new Map();
  const ids =
    resolved.cohorts ?? Object.fromEntries(cohorts.map((each) => [each.attribute, each.id]));
  for (const [attribute, id] of Object.entries(ids)) {
    const cohort = cohorts.find((each) => each.attribute === attribute);
    if (cohort === undefined) {
      throw optionError(
        `option 'webhook.cohorts': createAudiences() has no attribute ${describe(attribute)}`,
      );
    }
    byId.set(id, cohort);
  }
  return { ...resolved, cohorts: byId };
}

// ---- a request --------------------------------------------------------------------------------------

const hash = (text) => createHash('sha256').update(text).digest();

/** Whether a request has one of the secrets. Each comparison takes the same time, and all are made. */
function isAllowed(request, { header: name, secret }) {
  if (secret === null) {
    return true;
  }
  const given = hash(String(request.headers[name] ?? ''));
  return secret.map((each) => timingSafeEqual(given, each)).includes(true);
}

/** An answer: its status, and a sentence for the log of the sender. */
const answerOf = (status, message, headers = {}) => ({ status, message, headers });

/** What is wrong before the body is read; null for nothing. */
function refusalOf(request, options) {
  if (request.method !== 'POST') {
    return answerOf(405, 'expected POST', { Allow: 'POST' });
  }
  if (!isAllowed(request, options)) {
    return answerOf(401, `the header ${options.header} does not have the secret`);
  }
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') {
    return answerOf(415, 'expected a body that is not compressed');
  }
  return Number(request.headers['content-length']) > MAX_BODY_BYTES ? TOO_LARGE : null;
}

const TOO_LARGE = answerOf(413, 'the body is too large: choose a smaller batch size');

/** Read a stream and give its pieces to `take`, which returns whether it wants more; false when it broke off. */
function readStream(request, take) {
  return new Promise((resolve) => {
    const finish = (isComplete) => {
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
      request.on('error', () => {}); // nobody waits for it any more
      resolve(isComplete);
    };
    const onData = (piece) => {
      if (!take(typeof piece === 'string' ? Buffer.from(piece) : piece)) {
        request.pause();
        finish(true);
      }
    };
    const onEnd = () => finish(true);
    const onClose = () => finish(false);
    request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
    request.resume();
  });
}

/** The body that something else has read already, as bytes; null for none. */
function bodyOf({ rawBody, body }) {
  const given = rawBody ?? body;
  if (given instanceof Uint8Array) {
    return given;
  }
  if (typeof given === 'string') {
    return Buffer.from(given);
  }
  return isObject(given) || Array.isArray(given) ? Buffer.from(JSON.stringify(given)) : null;
}

const isOver = (request) => request.readableEnded === true || request.readable === false;

/** Read the rest of a body that nobody wants, if there is little; whether all was read. */
async function discard(request) {
  if (isOver(request)) {
    return true;
  }
  let bytes = 0;
  const take = (piece) => (bytes += piece.length) <= MAX_REST_BYTES;
  return (await readStream(request, take)) && bytes <= MAX_REST_BYTES;
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** Read a message; the answer when that fails, and null when it is complete, or the sender is gone. */
async function readMessage(request, message) {
  let bytes = 0;
  let status = 'ok';
  const take = (piece) => {
    bytes += piece.length;
    status = bytes > MAX_BODY_BYTES ? 'too_large' : message.feed(piece);
    return status === 'ok';
  };
  if (!isOver(request)) {
    if (!(await readStream(request, take))) {
      return answerOf(400, 'the body broke off');
    }
  } else {
    const body = bodyOf(request);
    if (body === null) {
      return answerOf(500, 'the body was read by something else: have the webhook come before it');
    }
    for (
      let at = 0;
      at < body.length && take(body.subarray(at, at + PIECE_BYTES));
      at += PIECE_BYTES
    ) {
      await nextTurn();
    }
  }
  return failureOf(status);
}

/** The answer for a status of the addon that is not 'ok'. */
function failureOf(status, problem = null) {
  switch (status) {
    case 'ok':
      return null;
    case 'too_large':
      return TOO_LARGE;
    case 'malformed':
      return problem === null ? MALFORMED : answerOf(400, `that is no message: ${problem}`);
    default:
      return answerOf(503, 'memory ran out, or the audiences are closed');
  }
}

/** What is wrong is known once the message is asked for its fields. */
const MALFORMED = answerOf(400, 'that is no message');

class Webhook {
  #options;
  #receiver;
  #native;
  #log;

  constructor(options, { receiver, native, log }) {
    this.#options = options;
    this.#receiver = receiver;
    this.#native = native;
    this.#log = log;
  }

  /**
   * Handle what Node, Express, Fastify or Lambda calls it with; never throws. For Lambda it returns a promise of the
   * result, and otherwise nothing, since a framework may take what is returned for the answer.
   */
  call(request, response) {
    if (isEvent(request)) {
      return this.#invoke(request);
    }
    this.#handle(
      ...(isFastify(request, response) ? fromFastify(request, response) : [request, response]),
    );
    return undefined;
  }

  async #invoke(event) {
    const { result, response } = toResult(event);
    await this.#handle(fromEvent(event), response);
    return result;
  }

  async #handle(request, response) {
    let answer;
    try {
      answer = await this.#answer(request);
    } catch (error) {
      answer = answerOf(500, reasonOf(error));
    }
    try {
      await this.#send(request, response, answer);
    } catch (error) {
      this.#log.warn('webhook answer', `the webhook could not answer: ${reasonOf(error)}`);
    }
  }

  async #answer(request) {
    const refusal = refusalOf(request, this.#options);
    if (refusal !== null) {
      return refusal;
    }
    if (!this.#receiver.isOpen) {
      return failureOf('closed');
    }
    const { CohortMessage } = addonFor('webhook()');
    const message = new CohortMessage(this.#native);
    try {
      const failure = await readMessage(request, message);
      if (failure !== null && failure !== MALFORMED) {
        return failure;
      }
      const fields = message.end();
      return (
        failureOf(fields.status, fields.problem) ??
        answerOf(...(await this.#receiver.take(message, fields, this.#options.cohorts)))
      );
    } finally {
      message.free();
    }
  }

  async #send(request, response, { status, message, headers }) {
    const isRead = await discard(request);
    if (status !== 200) {
      this.#receiver.refused++;
      this.#log.warn(
        `webhook ${status}`,
        `a request to the webhook is answered with ${status}: ${message}`,
      );
    }
    if (response.headersSent || response.destroyed) {
      return;
    }
    const body = `${JSON.stringify({ message })}\n`;
    response.writeHead(status, {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
      ...(!isRead && { Connection: 'close' }),
      ...headers,
    });
    response.end(body);
  }
}

module.exports = { MAX_BODY_BYTES, Webhook, resolveWebhook };
