'use strict';

/**
 * For AWS Lambda: delivers an invocation's decisions before its result is returned, because the process is frozen
 * right after that, and may never be thawed. Here a handler is wrapped; lambda-delivery.js has the policy.
 */

const { MAX_TIMER_MILLIS } = require('./checks.js');
const { Delivery } = require('./lambda-delivery.js');

const OPTIONS = ['timeoutMillis', 'marginMillis'];
/** The time that the runtime keeps for sending the result. */
const DEFAULT_MARGIN_MILLIS = 500;

/** What each function has of its own. The wrapper takes no callback, so it must not have the handler's length. */
const OWN_PROPERTIES = new Set(['length', 'prototype', 'arguments', 'caller']);

/** A body that reads `arguments`, or no source at all, as of a bound function. */
const UNDECLARED_PARAMETERS = /\barguments\b|\[native code\]/;

/**
 * Whether a function may use a third argument. `length` ends at the first default or rest parameter, so there the
 * parameters of the source are counted: the commas between them, and a rest parameter for any number.
 */
function takesThree(fn) {
  const source = String(fn);
  if (fn.length >= 3 || UNDECLARED_PARAMETERS.test(source)) {
    return true;
  }
  const start = source.indexOf('(');
  if (start === -1 || source.slice(0, start).includes('=>')) {
    return false; // an arrow function of one parameter
  }
  let depth = 0;
  let count = 1;
  let before = '';
  for (const [token] of source.slice(start).matchAll(/\.{3}|[()[\]{},]|[\w$]+/g)) {
    if ('([{'.includes(token)) {
      depth++;
    } else if (')]}'.includes(token)) {
      depth--;
      if (depth === 0) {
        return count - (before === ',' ? 1 : 0) >= 3; // a comma may end the list
      }
    } else if (depth === 1 && token === '...') {
      return true;
    } else if (depth === 1 && token === ',') {
      count++;
    }
    before = token;
  }
  return false;
}

/**
 * Wrap a handler so that the dispatcher is flushed when the handler has returned or thrown, and also when it is about
 * to run out of time.
 *
 * Takes async handlers, handlers with a callback, and streaming handlers, wrapped before or after
 * awslambda.streamifyResponse(), and returns what has the same properties. A failing delivery never fails an
 * invocation; decisions that are pending stay queued for the next one.
 */
function withFlush(handler, dispatcher, options) {
  check(typeof handler === 'function', 'withFlush(handler, dispatcher): handler is not a function');
  check(
    typeof dispatcher === 'function' || typeof dispatcher?.flush === 'function',
    'withFlush(handler, dispatcher): dispatcher is neither what createDispatcher() returned nor a function',
  );
  const delivery = new Delivery(dispatcher, readOptions(options));
  const mayUseCallback = takesThree(handler);

  const wrapped = async function (...args) {
    const invocation = delivery.begin(contextOf(args));
    try {
      return await call(handler, mayUseCallback, this, args);
    } finally {
      const flushed = invocation.end();
      if (flushed !== null) {
        await flushed;
      }
    }
  };
  return copyProperties(handler, wrapped);
}

function readOptions(options) {
  const { timeoutMillis, marginMillis = DEFAULT_MARGIN_MILLIS, ...unknown } = options ?? {};
  const [name] = Object.keys(unknown);
  check(
    name === undefined,
    `withFlush(): unknown option '${name}': it takes { ${OPTIONS.join(', ')} }`,
  );
  for (const [option, value] of Object.entries({ timeoutMillis, marginMillis })) {
    check(
      value === undefined || (Number.isFinite(value) && value >= 0 && value <= MAX_TIMER_MILLIS),
      `withFlush(): ${option} is not a number of milliseconds`,
    );
  }
  return { timeoutMillis, marginMillis };
}

/** The context is the second argument, or the third one of a streaming handler. */
function contextOf(args) {
  return args.find((arg) => typeof arg?.getRemainingTimeInMillis === 'function');
}

/**
 * Call a handler, which returns its result or a promise, or takes a callback as its third argument. As in Lambda's
 * runtime the first answer counts, and what a handler with a callback returns is none, unless it is a promise.
 */
function call(handler, mayUseCallback, self, args) {
  if (typeof args[2] !== 'function') {
    return Reflect.apply(handler, self, args);
  }
  return new Promise((resolve, reject) => {
    const callback = (error, result) => (error ? reject(error) : resolve(result));
    const returned = Reflect.apply(handler, self, [
      ...args.slice(0, 2),
      callback,
      ...args.slice(3),
    ]);
    if (typeof returned?.then === 'function') {
      returned.then(resolve, reject);
    } else if (!mayUseCallback) {
      resolve(returned);
    }
  });
}

/**
 * Give a wrapper the properties of its handler: the symbols of streamifyResponse(), and methods such as those of middy.
 * A method that returns the handler, for chaining, returns the wrapper.
 */
function copyProperties(handler, wrapper) {
  const chained = {
    apply(method, self, args) {
      const result = Reflect.apply(method, self === wrapper ? handler : self, args);
      return result === handler ? wrapper : result;
    },
  };
  for (const key of Reflect.ownKeys(handler)) {
    if (!OWN_PROPERTIES.has(key)) {
      const descriptor = Object.getOwnPropertyDescriptor(handler, key);
      if (typeof descriptor.value === 'function') {
        descriptor.value = new Proxy(descriptor.value, chained);
      }
      Object.defineProperty(wrapper, key, descriptor);
    }
  }
  return wrapper;
}

function check(condition, message) {
  if (!condition) {
    throw Object.assign(new TypeError(message), { code: 'ERR_OA_LAMBDA' });
  }
}

module.exports = { withFlush };
