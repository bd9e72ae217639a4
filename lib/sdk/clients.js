'use strict';

/**
 * The clients that a dispatcher listens to, held weakly: an application may make one for each request.
 *
 *     dispatcher --weak--> attachment <----> listener <---- notification centre <---- client
 *                                               |
 *     dispatcher <------------------------------+
 *
 * So an attachment lives as long as something can decide, and goes with its client.
 */

const { reasonOf } = require('../reason.js');

class Clients {
  #attachments = new WeakMap(); // client -> { attachment, detach }
  #references = new Set(); // weak references to the attachments that are there
  #collected = new FinalizationRegistry((reference) => this.#references.delete(reference));
  #log;

  constructor(log) {
    this.#log = log;
  }

  /** Register the listeners of a client again, and return its detach(); undefined if it is not attached. */
  renew(client) {
    const known = this.#attachments.get(client);
    known?.attachment.registration.renew();
    return known?.detach;
  }

  /**
   * Add `{ client, registration, ... }`, and return a function that detaches. The listener has to hold the attachment.
   */
  add(attachment) {
    const reference = new WeakRef(attachment);
    const detach = () => this.#detach(reference);
    this.#attachments.set(attachment.client, { attachment, detach });
    this.#references.add(reference);
    this.#collected.register(attachment, reference);
    return detach;
  }

  detachAll() {
    this.#references.forEach((reference) => this.#detach(reference));
  }

  /** Whether one of the clients passes a test. */
  some(test) {
    return [...this.#references].some((reference) => {
      const attachment = reference.deref();
      return attachment !== undefined && test(attachment.client);
    });
  }

  /** An error of the client ends neither detach() nor close(). */
  #detach(reference) {
    const attachment = reference.deref();
    if (!this.#references.delete(reference) || attachment === undefined) {
      return;
    }
    this.#attachments.delete(attachment.client);
    try {
      attachment.registration.remove();
    } catch (error) {
      this.#log.warn('detach', `a client cannot be detached: ${reasonOf(error)}`);
    }
  }
}

module.exports = { Clients };
