'use strict';

/**
 * The ways in which Amplitude, or anything between it and the client, can fail.
 *
 * Each member of `faults` makes a fault: a function (req, exchange) that is called when the body is read. It returns
 * the answer `{status, headers, body}` to send, or undefined for the usual answer, or null when it has dealt with the
 * connection itself. exchange.accept() takes the events and returns the usual answer; exchange.events are the events
 * of the body, and exchange.bytes its size without compression. A fault with the property `beforeReading` is called
 * before the body is read.
 */

const { once } = require('node:events');
const http = require('node:http');
const { setImmediate: nextTurn, setTimeout: sleep } = require('node:timers/promises');

const HTML =
  '<html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>';
const refusal = (code, error, more) => ({ status: code, body: { code, error, ...more } });
const page = (status, body = HTML) => ({ status, headers: { 'Content-Type': 'text/html' }, body });

/** Turn a list, a Set, one value or a predicate into a predicate. */
function matcher(wanted) {
  if (typeof wanted === 'function') {
    return wanted;
  }
  const set = new Set(typeof wanted === 'string' ? [wanted] : wanted);
  return (value) => set.has(value);
}

/** The indexes of the events whose `field` matches. */
function indexesOf(events, field, wanted) {
  const matches = matcher(wanted);
  const indexes = [];
  events.forEach((event, index) => {
    if (event[field] !== undefined && matches(event[field])) {
      indexes.push(index);
    }
  });
  return indexes;
}

/** The whole answer as bytes, for faults of the connection. */
function rawAnswer({ status, headers, body = '' }, contentLength) {
  const payload = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const lines = [`HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? ''}`];
  const all = {
    'Content-Type': 'application/json',
    'Content-Length': contentLength ?? payload.length,
    ...headers,
  };
  for (const [name, value] of Object.entries(all)) {
    lines.push(`${name}: ${value}`);
  }
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), payload]);
}

/** Cut the connection with a TCP reset, or as hard as TLS allows. */
function reset(socket) {
  if (socket.encrypted) {
    socket.destroy();
  } else {
    socket.resetAndDestroy();
  }
}

/** Write bytes to the client; resolve when the system has them, or the client is gone. */
function write(socket, bytes) {
  return new Promise((resolve) => {
    if (socket.destroyed) {
      resolve();
      return;
    }
    socket.once('close', resolve);
    socket.write(bytes, () => {
      socket.off('close', resolve);
      resolve();
    });
  });
}

// ---- answers -------------------------------------------------------------------------------------

/** A status with Amplitude's kind of JSON. */
const status =
  (code = 500, error = http.STATUS_CODES[code], headers = {}) =>
  () => ({ ...refusal(code, error), headers });

/** Any answer: `{status, headers, body}`. */
const answer = (fixed) => () => fixed;

/** 503: nothing was accepted. */
const unavailable = () => status(503);

/** 502 with the HTML page of a load balancer. */
const badGatewayPage = () => () => page(502);

/** 408. */
const requestTimeout = () => status(408);

/** 403 with the page of a firewall. */
const forbiddenPage = () => () => page(403);

/** 403 with JSON. */
const forbidden = () => status(403);

/** 404 with JSON. */
const notFound = () => status(404, 'Invalid request path');

/** 400 because of the API key. */
const invalidApiKey = () => () => refusal(400, 'Invalid API key: this one');

/** A redirect to another URL. */
const redirect =
  (url, code = 302) =>
  () => ({ status: code, headers: { Location: url } });

/** An answer without body. */
const emptyBody =
  (code = 200) =>
  () => ({ status: code });

/** 200 (or another status) with a body that is not JSON. */
const rubbish =
  (code = 200) =>
  () => ({ status: code, body: '{"code":200,"events_inge\u0000\u0001' });

/** 200 (or another status) with an HTML page. */
const htmlPage =
  (code = 200) =>
  () =>
    page(code);

/** 503 (or another status) with a Retry-After: seconds, a Date (sent as an HTTP date), or any text. */
const retryAfter = (value, code = 503) =>
  status(code, undefined, {
    'Retry-After': value instanceof Date ? value.toUTCString() : String(value),
  });

// ---- refusals of some events ------------------------------------------------------------------------

/** 429 without a list. */
const rateLimited = () => status(429, 'Too many requests');

/** 429 to any request with events whose `field` matches. */
function throttle(
  field,
  wanted,
  list,
  { listEvents = true, listNames = true, threshold = 30 } = {},
) {
  return (req, { events }) => {
    const indexes = indexesOf(events, field, wanted);
    if (indexes.length === 0) {
      return undefined;
    }
    const names = Object.fromEntries(indexes.map((index) => [events[index][field], threshold + 1]));
    return refusal(429, 'Too many requests for some devices and users', {
      eps_threshold: threshold,
      throttled_devices: {},
      throttled_users: {},
      ...(listNames && { [list]: names }),
      ...(listEvents && { throttled_events: indexes }),
    });
  };
}

/** 429 to any request with events of these users: a list, or a predicate. Options: listEvents, threshold. */
const throttledUsers = (users, options) => throttle('user_id', users, 'throttled_users', options);

/** The same for devices. */
const throttledDevices = (devices, options) =>
  throttle('device_id', devices, 'throttled_devices', options);

/** 429 that lists indexes of events, but neither users nor devices. */
const throttledEvents = (users) =>
  throttle('user_id', users, 'throttled_users', { listNames: false });

/** 429 because these users are over the quota of a day. */
const dailyQuotaUsers = (users, options) =>
  throttle('user_id', users, 'exceeded_daily_quota_users', { threshold: 500_000, ...options });

/** The same for devices. */
const dailyQuotaDevices = (devices, options) =>
  throttle('device_id', devices, 'exceeded_daily_quota_devices', {
    threshold: 500_000,
    ...options,
  });

/** 413 to any request of more than so many bytes, uncompressed. */
const tooManyBytes =
  (limit = 0) =>
  (req, { bytes }) =>
    bytes > limit ? refusal(413, 'Payload too large') : undefined;

/** 413 to any request of more than so many events. */
const tooManyEvents =
  (limit = 0) =>
  (req, { events }) =>
    events.length > limit ? refusal(413, 'Payload too large') : undefined;

/**
 * 400 to any request with events of these users. It lists 'all' of their indexes, the 'first' one, or 'none', in the
 * member `map` of the answer, under the name of the `field`.
 */
const rejectUsers =
  (users, { list = 'all', field = 'user_id', map = 'events_with_invalid_fields' } = {}) =>
  (req, { events }) => {
    const indexes = indexesOf(events, 'user_id', users);
    if (indexes.length === 0) {
      return undefined;
    }
    const listed = { all: indexes, first: indexes.slice(0, 1), none: [] }[list];
    return refusal(
      400,
      'Invalid field values on some events',
      list === 'none' ? {} : { [map]: { [field]: listed } },
    );
  };

/** 400 to any request with events of these devices: Amplitude has silenced them. */
const silencedDevices =
  (devices) =>
  (req, { events }) => {
    const indexes = indexesOf(events, 'device_id', devices);
    return indexes.length === 0
      ? undefined
      : refusal(400, 'Events silenced for device_id', {
          eps_threshold: 100,
          exceeded_daily_quota_devices: {},
          silenced_devices: [...new Set(indexes.map((index) => events[index].device_id))],
          silenced_events: indexes,
          throttled_devices: {},
          throttled_events: [],
        });
  };

// ---- after the events were accepted ------------------------------------------------------------------

/** Any fault, after the events were ingested. */
const accepted = (fault) => (req, exchange) => {
  exchange.accept();
  return fault(req, exchange);
};

/** 500, although everything was accepted. */
const errorAfterAccepting = (code = 500) => accepted(status(code));

/** The connection is cut although everything was accepted. */
const resetAfterAccepting = () => accepted(resetBeforeAccepting());

// ---- the connection ----------------------------------------------------------------------------------

/** The request is read, and the connection cut. */
const resetBeforeAccepting = () => (req) => {
  reset(req.socket);
  return null;
};

/** The connection is cut before the body is read. */
const resetBeforeReading = () => Object.assign(resetBeforeAccepting(), { beforeReading: true });

/** An answer is sent before the body is read, and the connection closed. */
const earlyAnswer = (code = 413) =>
  Object.assign(
    (req, exchange) => {
      exchange.send({
        ...refusal(code, http.STATUS_CODES[code]),
        headers: { Connection: 'close' },
      });
      return null;
    },
    { beforeReading: true },
  );

/** No answer at all. */
const silence = () => () => null;

/** The usual answer, but only after release() of the fault; `waiting` counts the requests that are held. */
function held() {
  let release;
  const released = new Promise((resolve) => {
    release = resolve;
  });
  const fault = async () => {
    fault.waiting++;
    await released;
    return undefined;
  };
  return Object.assign(fault, { release, waiting: 0 });
}

/** The usual answer, so many milliseconds later. */
const delayed = (millis) => () => sleep(millis);

/** The usual answer, one byte at a time, with an optional pause between them. */
const byteByByte =
  (pauseMillis = 0) =>
  async ({ socket }, exchange) => {
    const usual = exchange.accept();
    exchange.sent(usual.status);
    socket.setNoDelay(true);
    for (const byte of rawAnswer({ ...usual, headers: { Connection: 'close' } })) {
      await write(socket, Buffer.from([byte]));
      await (pauseMillis > 0 ? sleep(pauseMillis) : nextTurn());
      if (socket.destroyed) {
        return null;
      }
    }
    socket.end();
    return null;
  };

/** An answer that ends before its Content-Length. */
const truncated =
  () =>
  async ({ socket }, exchange) => {
    const usual = exchange.accept();
    exchange.sent(usual.status);
    const bytes = rawAnswer(usual);
    await write(socket, bytes.subarray(0, bytes.length - 10));
    socket.destroy();
    return null;
  };

/** A chunked answer whose last chunk never comes. */
const truncatedChunked =
  () =>
  async ({ socket }, exchange) => {
    exchange.accept();
    exchange.sent(200);
    await write(
      socket,
      'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n' +
        'c\r\n{"code":200,\r\n',
    );
    socket.destroy();
    return null;
  };

/** A wrong Content-Length: by so many bytes (if it is too large, the client waits for the rest), or any text. */
const wrongContentLength =
  (wrong = -10) =>
  async ({ socket }, exchange) => {
    const usual = exchange.accept();
    exchange.sent(usual.status);
    const right = Buffer.byteLength(JSON.stringify(usual.body));
    await write(socket, rawAnswer(usual, typeof wrong === 'number' ? right + wrong : wrong));
    return null;
  };

/** An answer that is not HTTP. */
const notHttp =
  () =>
  async ({ socket }) => {
    await write(socket, 'SSH-2.0-OpenSSH_9.9\r\n');
    socket.destroy();
    return null;
  };

/** Interim answers (100 Continue, 103 Early Hints), and then the usual answer. */
const interim =
  (codes = [100, 103]) =>
  async ({ socket }) => {
    for (const code of codes) {
      await write(
        socket,
        `HTTP/1.1 ${code} ${http.STATUS_CODES[code]}\r\n${code === 103 ? 'Link: </x>\r\n' : ''}\r\n`,
      );
    }
    return undefined;
  };

/** The usual answer, which does not announce that the connection is then closed. */
const closeAfterAnswer =
  () =>
  ({ socket }, { res }) => {
    once(res, 'finish').then(() => socket.end());
    return undefined;
  };

const faults = {
  accepted,
  answer,
  badGatewayPage,
  byteByByte,
  closeAfterAnswer,
  dailyQuotaDevices,
  dailyQuotaUsers,
  delayed,
  earlyAnswer,
  emptyBody,
  errorAfterAccepting,
  forbidden,
  forbiddenPage,
  held,
  htmlPage,
  interim,
  invalidApiKey,
  notFound,
  notHttp,
  rateLimited,
  redirect,
  rejectUsers,
  requestTimeout,
  resetAfterAccepting,
  resetBeforeAccepting,
  resetBeforeReading,
  retryAfter,
  rubbish,
  silence,
  silencedDevices,
  status,
  throttledDevices,
  throttledEvents,
  throttledUsers,
  tooManyBytes,
  tooManyEvents,
  truncated,
  truncatedChunked,
  unavailable,
  wrongContentLength,
};

/** Return a fault as it is, or by its name, with default arguments; 'ok' stands for the usual answer. */
function findFault(faultOrName) {
  if (typeof faultOrName === 'function') {
    return faultOrName;
  }
  if (faultOrName === 'ok') {
    return () => undefined;
  }
  if (!Object.hasOwn(faults, faultOrName)) {
    throw new TypeError(`unknown fault '${faultOrName}'`);
  }
  return faults[faultOrName]();
}

module.exports = { faults, findFault };
