'use strict';

/** The switch that makes the collector fail, to watch a client recover. */

const { answers } = require('./protocol.js');

/** A client that splits its requests gets below this number of events. */
const MAX_EVENTS_WHEN_SMALL = 10;

/** By mode: the answer to an exchange whose body is read. Undefined is the usual answer, null is no answer. */
const MODES = {
  normal: () => undefined,
  503: () => answers.unavailable(),
  429: () => answers.tooManyRequests(),
  413: ({ events }) =>
    events.length > MAX_EVENTS_WHEN_SMALL ? answers.payloadTooLarge() : undefined,
  silent: () => null,
};

class Outage {
  #mode = 'normal';
  #onChange;
  #silenced = new Set();

  constructor(onChange) {
    this.#onChange = onChange;
  }

  get mode() {
    return this.#mode;
  }

  /** Switch to a mode; return false if it does not exist. */
  set(mode) {
    if (!Object.hasOwn(MODES, mode)) {
      return false;
    }
    this.#mode = mode;
    // Clients that wait would otherwise wait until their own timeout.
    if (mode !== 'silent') {
      this.#silenced.forEach((res) => res.destroy());
    }
    this.#onChange();
    return true;
  }

  answer(exchange) {
    const answer = MODES[this.#mode](exchange);
    if (answer === null) {
      const { res } = exchange;
      this.#silenced.add(res);
      res.on('close', () => this.#silenced.delete(res));
    }
    return answer;
  }
}

module.exports = { Outage };
