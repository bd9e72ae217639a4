'use strict';

/**
 * For AWS Lambda: delivers an invocation's decisions before its result is returned, because the process is frozen
 * right after that, and may never be thawed.
 */

/** The time that the runtime keeps for sending the result. */
const DEFAULT_MARGIN_MILLIS = 500;
/** A function may have 15 minutes, but a response should not wait longer for analytics than flush() does by default. */
const MAX_FLUSH_MILLIS = 10_000;

/**
 * Wrap a handler so that the dispatcher is flushed when the handler has returned or thrown.
 *
 * Takes async handlers, handlers with a callback, and streaming handlers, wrapped before or after
 * awslambda.streamifyResponse(). The flush ends `marginMillis` before the function's deadline; decisions that are
 * pending then stay queued for the next invocation. A failing delivery never fails an invocation.
 */
function withFlush(handler, dispatcher, options) {
  const { marginMillis = DEFAULT_MARGIN_MILLIS } = options ?? {};
  check(typeof handler === 'function', 'withFlush(handler, dispatcher): handler is not a function');
  check(
    typeof dispatcher?.flush === 'function',
    'withFlush(handler, dispatcher): dispatcher is not what createDispatcher() returned',
  );
  check(
    Number.isFinite(marginMillis) && marginMillis >= 0,
    'withFlush(): marginMillis is not a number of milliseconds',
  );

  const wrapped = async (...args) => {
    try {
      return await call(handler, args);
    } finally {
      await flush(dispatcher, args, marginMillis);
    }
  };
  // streamifyResponse() marks a handler with symbols.
  return Object.defineProperties(wrapped, pickSymbols(Object.getOwnPropertyDescriptors(handler)));
}

/** Call a handler, which takes a callback as its third argument or returns its result or a promise. */
function call(handler, args) {
  const takesCallback = handler.length >= 3 && typeof args[2] === 'function';
  if (!takesCallback) {
    return handler(...args);
  }
  return new Promise((resolve, reject) => {
    const callback = (error, result) => (error ? reject(error) : resolve(result));
    const returned = handler(args[0], args[1], callback);
    if (typeof returned?.then === 'function') {
      returned.then(resolve, reject);
    }
  });
}

/** Flush, and ignore every error, so that the handler's result is the invocation's. */
async function flush(dispatcher, args, marginMillis) {
  try {
    await dispatcher.flush({ timeoutMillis: timeLeft(args, marginMillis), abort: true });
  } catch {
    // flush() does not reject; the context of the invocation may throw.
  }
}

/** The time for the flush. The context is the second argument, or the third one of a streaming handler. */
function timeLeft(args, marginMillis) {
  const context = args.find((arg) => typeof arg?.getRemainingTimeInMillis === 'function');
  const left =
    context === undefined ? MAX_FLUSH_MILLIS : context.getRemainingTimeInMillis() - marginMillis;
  return Math.min(Math.max(Number(left) || 0, 0), MAX_FLUSH_MILLIS);
}

function pickSymbols(descriptors) {
  return Object.fromEntries(
    Object.getOwnPropertySymbols(descriptors).map((symbol) => [symbol, descriptors[symbol]]),
  );
}

function check(condition, message) {
  if (!condition) {
    throw Object.assign(new TypeError(message), { code: 'ERR_OA_LAMBDA' });
  }
}

module.exports = { withFlush };
