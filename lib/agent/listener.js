'use strict';

/** Several Agents, and the dispatcher that gets what they decide. */

const { createLog } = require('../log.js');
const { readNotification } = require('./notification.js');
const { Stream } = require('./stream.js');

class Listener {
  #streams; // each with its counts

  /** The options are those that resolveAgentOptions() returns. */
  constructor({ url, sdkKey, dispatcher, accessToken, logger, logLevel }) {
    const log = createLog(logger, { level: logLevel });
    const headers = async () => {
      const token = typeof accessToken === 'function' ? await accessToken() : accessToken;
      return {
        'X-Optimizely-SDK-Key': sdkKey,
        ...(token !== null && { Authorization: `Bearer ${token}` }),
      };
    };
    this.#streams = url.map((each) => {
      const counts = { decisions: 0, others: 0, unreadable: 0 };
      const onMessage = (text) => {
        const message = parse(text);
        const notification = readNotification(message);
        if (notification !== null) {
          counts.decisions++;
          dispatcher.onDecision(notification); // never throws
        } else if (message !== undefined) {
          counts.others++;
        } else {
          counts.unreadable++;
          log.warn(`message ${each}`, `agent ${each}: a message is left out, since it is not JSON`);
        }
      };
      return { counts, stream: new Stream(each, { headers, log, onMessage }) };
    });
  }

  status() {
    return this.#streams.map(({ counts, stream }) => ({ ...stream.status, ...counts }));
  }

  close() {
    this.#streams.forEach(({ stream }) => stream.close());
  }
}

/** Undefined for what is not JSON. */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

module.exports = { Listener };
