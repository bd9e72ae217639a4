'use strict';

/**
 * Which users are in which cohort, as attributes. The hot path: a look-up in the addon, and a copy of an object that was made
 * for another user with the same memberships.
 *
 * A cohort that is not known is left out, so that neither an audience nor its negation matches.
 */

const BITS = 32;
/** The results that a view keeps. Users of 8 cohorts have at most 256 different ones, and of more only some. */
const MAX_RESULTS = 1024;

/** The attributes that are wanted of those that are known, and results that were made of them. */
class View {
  names; // a Set, or null for all
  epoch = -1; // of the known cohorts from which it was made
  entries = []; // { attribute, word, bit }
  mask = 0; // the bits of the first word that matter
  isSmall = true; // no other word matters
  results = new Map(); // bits of the first word -> a result

  constructor(names) {
    this.names = names;
  }
}

class Membership {
  /** When something that is known is too old, by Date.now(). */
  expiresAt = Infinity;
  #find;
  #words;
  #slots = new Map(); // attribute -> { attribute, word, bit, isKnown }
  #epoch = 0;
  #all = new View(null);
  #onExpired;

  /**
   * `find` writes the set of a user's cohorts into `words`, in the order of `attributes`. `onExpired` is called when
   * expiresAt is over, and has to set what is known, and expiresAt.
   */
  constructor(find, words, attributes, onExpired) {
    this.#find = find;
    this.#words = words;
    this.#onExpired = onExpired;
    attributes.forEach((attribute, index) => {
      const place = { word: Math.floor(index / BITS), bit: 2 ** (index % BITS) };
      this.#slots.set(attribute, { attribute, ...place, isKnown: false });
    });
  }

  /** Set whether the members of an attribute's cohort are known. */
  setKnown(attribute, isKnown) {
    const slot = this.#slots.get(attribute);
    if (slot.isKnown !== isKnown) {
      slot.isKnown = isKnown;
      this.#epoch++;
    }
  }

  forgetAll() {
    this.#slots.forEach(({ attribute }) => this.setKnown(attribute, false));
    this.expiresAt = Infinity;
  }

  /** Make a view of some attributes, by their names. */
  view(names) {
    return new View(names);
  }

  /** Whether a user is in the cohort of an attribute; undefined while that is not known. */
  has(userId, attribute) {
    this.#expire();
    const slot = this.#slots.get(attribute);
    if (slot === undefined || !slot.isKnown || typeof userId !== 'string') {
      return undefined;
    }
    this.#find(userId);
    return (this.#words[slot.word] & slot.bit) !== 0;
  }

  /**
   * Return a new object: the attributes of a user, and those that the application gives, which come first. Measured:
   * a spread of both takes ten times as long.
   */
  add(userId, attributes, view = this.#all) {
    const result = this.#of(userId, view);
    return attributes === undefined ? { ...result } : Object.assign({}, result, attributes);
  }

  /** The attributes of a user, which are not to be changed. Not frozen, because V8 copies frozen objects slowly. */
  #of(userId, view) {
    this.#expire();
    if (view.epoch !== this.#epoch) {
      this.#renew(view);
    }
    if (view.entries.length === 0 || typeof userId !== 'string') {
      return NONE;
    }
    this.#find(userId);
    if (!view.isSmall) {
      return this.#compose(view);
    }
    const bits = this.#words[0] & view.mask;
    const result = view.results.get(bits);
    return result === undefined ? this.#remember(view, bits) : result;
  }

  #expire() {
    if (this.expiresAt !== Infinity && Date.now() >= this.expiresAt) {
      this.#onExpired();
    }
  }

  #renew(view) {
    view.epoch = this.#epoch;
    view.results.clear();
    view.entries = [...this.#slots.values()].filter(
      ({ attribute, isKnown }) => isKnown && (view.names === null || view.names.has(attribute)),
    );
    view.isSmall = view.entries.every(({ word }) => word === 0);
    view.mask = view.entries.reduce((mask, { word, bit }) => (word === 0 ? mask | bit : mask), 0);
  }

  #remember(view, bits) {
    const result = this.#compose(view);
    if (view.results.size < MAX_RESULTS) {
      view.results.set(bits, result);
    }
    return result;
  }

  #compose(view) {
    const result = {};
    for (const { attribute, word, bit } of view.entries) {
      result[attribute] = (this.#words[word] & bit) !== 0;
    }
    return result;
  }
}

const NONE = Object.freeze({});

module.exports = { Membership };
