'use strict';

/** The switch that makes the collector fail, so that one can watch a client recover. */

const { answers } = require('./protocol.js');

/** A client that splits its requests gets below this. */
const MAX_EVENTS_WHEN_SMALL = 10;

/** What each mode answers to an exchange whose body was read: undefined is the usual answer, null is none. */
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

  /** Switch to a mode; return false if there is no such one. */
  set(mode) {
    if (!Object.hasOwn(MODES, mode)) {
      return false;
    }
    this.#mode = mode;
    // Who waits in vain would wait until its own timeout; a cut connection tells it sooner.
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
