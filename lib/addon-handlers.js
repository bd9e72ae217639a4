'use strict';

/**
 * The functions that the addon calls: for log lines, drops, finished requests, and the certificates to trust. None of
 * them throws.
 */

const channels = require('./diagnostics.js');
const { isPromise, reasonOf } = require('./reason.js');

/** The addon's log levels, in the order of their numbers. */
const LEVELS = ['debug', 'info', 'warn', 'error'];

const RESOLVED = Promise.resolve();

/**
 * Make the handlers of one native dispatcher, which `getNative` returns once it exists. They hold no other reference to
 * it, so that a dispatcher that is dropped without close() can be collected.
 */
function createAddonHandlers({ onDrop, apiKey }, log, store, getNative) {
  return {
    log(level, topic, text) {
      const message = redact(text, apiKey);
      if (level <= 1) {
        log[LEVELS[level]](message);
      } else {
        log[LEVELS[level]](topic, message);
      }
    },

    /**
     * The addon may call this inside a decide(), so the application's function is called later: by a promise, since
     * fake timers of test runners hold queueMicrotask() up.
     */
    dropped(reason, text, statusCode, records) {
      RESOLVED.then(() => {
        const drop = {
          reason,
          message: redact(text, apiKey),
          statusCode,
          decisions: records.filter(({ event }) => event === undefined),
          events: records.filter(({ event }) => event !== undefined).map(toEvent),
        };
        channels.drop.publish(drop);
        try {
          isPromise(onDrop?.(drop)); // the rejection of an async function must not end the process
        } catch (error) {
          log.error('onDrop', `onDrop threw: ${reasonOf(error)}`);
        }
      });
    },

    requested(request) {
      channels.request.publish({ ...request, message: redact(request.message, apiKey) });
    },

    storeReady() {
      return store.isReady();
    },

    /** Returns true: the answer comes later, if only to say that nothing is known. */
    store(call) {
      store.call(call).then((answers) => getNative()?.answerStore(call.id, answers));
      return true;
    },

    trustNeeded() {
      require('./trust.js').giveTrust(getNative(), log); // needed for https only
    },
  };
}

/** An event of the application's own, as it was to be sent: its ids and its other members. */
function toEvent({ userId, deviceId, event }) {
  return {
    ...(userId !== undefined && { user_id: userId }),
    ...(deviceId !== undefined && { device_id: deviceId }),
    ...JSON.parse(`{${event}}`),
  };
}

/** A key shorter than any real one may be an ordinary word of a message. */
const MIN_KEY_LENGTH = 8;

/** Return a message without the API key, which a server or a proxy may quote in its answer. */
function redact(message, apiKey) {
  return apiKey.length < MIN_KEY_LENGTH ? message : message.replaceAll(apiKey, '***');
}

module.exports = { createAddonHandlers, redact };
