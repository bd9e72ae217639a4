'use strict';

/**
 * What the addon calls back: its log lines, its drops, and the question whom to trust. None throws.
 */

const channels = require('./diagnostics.js');
const { isPromise, reasonOf } = require('./reason.js');

/** The addon's log levels, by number. */
const LEVELS = ['debug', 'info', 'warn', 'error'];

/**
 * Make the handlers of one dispatcher. `getNative` returns its native one, which does not exist yet.
 * They must not hold the dispatcher itself: what is forgotten without close() is to be collected.
 */
function createAddonHandlers({ onDrop, apiKey }, log, getNative) {
  return {
    log(level, topic, text) {
      const message = redact(text, apiKey);
      if (level <= 1) {
        log[LEVELS[level]](message);
      } else {
        log[LEVELS[level]](topic, message);
      }
    },

    /** May come in the middle of a decide(), so the application hears of it later. */
    dropped(reason, text, statusCode, decisions) {
      queueMicrotask(() => {
        const drop = { reason, message: redact(text, apiKey), statusCode, decisions };
        channels.drop.publish(drop);
        try {
          isPromise(onDrop?.(drop)); // an async one may reject, and must not end the process
        } catch (error) {
          log.error('onDrop', `onDrop threw: ${reasonOf(error)}`);
        }
      });
    },

    requested(request) {
      channels.request.publish({ ...request, message: redact(request.message, apiKey) });
    },

    trustNeeded() {
      try {
        const { trustedCertificates } = require('./trust.js'); // only https needs it
        const status = getNative().setTrust(trustedCertificates());
        if (status !== 'ok') {
          log.warn(
            'trust',
            `libcurl does not take Node's list of CA certificates (${status}); the system's is used`,
          );
        }
      } catch (error) {
        log.warn(
          'trust',
          `Node's CA certificates cannot be read (${reasonOf(error)}); the system's are used`,
        );
      }
    },
  };
}

/** Shorter ones than any real key are words that a message may well have. */
const MIN_KEY_LENGTH = 8;

/** A message without the API key, which a server or a proxy may have quoted in its answer. */
function redact(message, apiKey) {
  return apiKey.length < MIN_KEY_LENGTH ? message : message.replaceAll(apiKey, '***');
}

module.exports = { createAddonHandlers, redact };
