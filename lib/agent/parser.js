'use strict';

/** Server-sent events: pieces of text, cut anywhere, become messages. Fields other than `data` mean nothing here. */

/** In characters. A decision has some hundreds, or what its variables have. */
const MAX_MESSAGE = 16 * 1024 * 1024;

class EventParser {
  #onMessage;
  #rest = ''; // the beginning of a line
  #data = null; // the lines of a message

  constructor(onMessage) {
    this.#onMessage = onMessage;
  }

  /** Take the next piece. Throws when a message is longer than any decision. */
  push(text) {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) {
      this.#take(line.endsWith('\r') ? line.slice(0, -1) : line);
    }
    if (this.#rest.length + (this.#data?.length ?? 0) > MAX_MESSAGE) {
      throw new Error(`a message of more than ${MAX_MESSAGE} characters`);
    }
  }

  #take(line) {
    if (line === '') {
      const message = this.#data;
      this.#data = null;
      if (message !== null) {
        this.#onMessage(message);
      }
    } else if (line.startsWith('data:')) {
      const part = line.slice(line[5] === ' ' ? 6 : 5);
      this.#data = this.#data === null ? part : `${this.#data}\n${part}`;
    }
  }
}

module.exports = { EventParser };
