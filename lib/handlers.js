'use strict';

/**
 * What the addon calls back: its log lines, its drops, and the question whom to trust. None throws.
 */

const channels = require('./diagnostics.js');
const { trustedCertificates } = require('./trust.js');

/** The addon's log levels, by number. */
const LEVELS = ['debug', 'info', 'warn', 'error'];

/**
 * Make the handlers of one dispatcher. `getNative` returns its native one, which does not exist yet.
 * They must not hold the dispatcher itself: what is forgotten without close() is to be collected.
 */
function createHandlers({ onDrop }, log, getNative) {
  return {
    log(level, topic, message) {
      if (level <= 1) {
        log[LEVELS[level]](message);
      } else {
        log[LEVELS[level]](topic, message);
      }
    },

    /** May come in the middle of a decide(), so the application hears of it later. */
    dropped(reason, message, statusCode, decisions) {
      queueMicrotask(() => {
        const drop = { reason, message, statusCode, decisions };
        channels.drop.publish(drop);
        try {
          onDrop?.(drop);
        } catch (error) {
          log.error('onDrop', `onDrop threw: ${error?.message ?? 'no reason given'}`);
        }
      });
    },

    requested(request) {
      channels.request.publish(request);
    },

    trustNeeded() {
      try {
        const status = getNative().setTrust(trustedCertificates());
        if (status !== 'ok') {
          log.warn('trust', `libcurl does not take Node's list of CA certificates (${status}); the system's is used`);
        }
      } catch (error) {
        log.warn('trust', `Node's CA certificates cannot be read (${error?.message}); the system's are used`);
      }
    },
  };
}

module.exports = { createHandlers };
