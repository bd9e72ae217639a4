'use strict';

/**
 * The collections that bound the collector's memory: a full one forgets its oldest item.
 */

/** A first-in, first-out list of at most `limit` items (Infinity: no bound). */
class Fifo {
  #items = [];
  #head = 0;
  #limit;

  constructor(limit = Infinity) {
    this.#limit = limit;
  }

  get size() {
    return this.#items.length - this.#head;
  }

  /** The oldest item, or undefined. */
  peek() {
    return this.#items[this.#head];
  }

  /** Add an item; return the item that it displaced, or undefined. */
  push(item) {
    this.#items.push(item);
    return this.size > this.#limit ? this.shift() : undefined;
  }

  /** Remove and return the oldest item, or undefined. */
  shift() {
    if (this.size === 0) {
      return undefined;
    }
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    // Array.prototype.shift() moves every item. Moving them only when half of the array is spent
    // makes a removal cheap however long the list is.
    if (this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** The last `count` items for which `test` holds, oldest first. */
  last(count = Infinity, test = () => true) {
    const found = [];
    for (let i = this.#items.length - 1; i >= this.#head && found.length < count; i--) {
      if (test(this.#items[i])) {
        found.push(this.#items[i]);
      }
    }
    return found.reverse();
  }
}

const NOTHING = Object.freeze([]);

/** A Fifo that is bounded by the weight of its items, too. */
class WeighedFifo {
  #items = new Fifo();
  #weights = new Fifo();
  #weight = 0;
  #maxItems;
  #maxWeight;

  constructor(maxItems, maxWeight) {
    this.#maxItems = maxItems;
    this.#maxWeight = maxWeight;
  }

  get size() {
    return this.#items.size;
  }

  /** Add an item; return the items that it displaced, which may include itself. */
  push(item, weight) {
    this.#items.push(item);
    this.#weights.push(weight);
    this.#weight += weight;
    let gone = NOTHING;
    while (this.#items.size > this.#maxItems || this.#weight > this.#maxWeight) {
      gone = gone === NOTHING ? [] : gone;
      gone.push(this.#items.shift());
      this.#weight = this.#items.size === 0 ? 0 : this.#weight - this.#weights.peek();
      this.#weights.shift();
    }
    return gone;
  }

  last(count, test) {
    return this.#items.last(count, test);
  }
}

/**
 * A set that remembers an id for a while.
 *
 * Two generations instead of a list in order of age: when the young one is half of the limit, it
 * becomes the old one, and the old one is forgotten. So at least the last limit/2 ids are known,
 * at no cost for each of them.
 */
class RecentIds {
  #young = new Map();
  #old = new Map();
  #generation;
  #lifetime;

  /** `lifetime` has the unit of the `now` of add(). */
  constructor(limit, lifetime) {
    this.#generation = Math.max(1, Math.ceil(limit / 2));
    this.#lifetime = lifetime;
  }

  /** Remember an id; return false when it is known already, which does not make it younger. */
  add(id, now) {
    const since = this.#young.get(id) ?? this.#old.get(id);
    if (since !== undefined && now - since < this.#lifetime) {
      return false;
    }
    if (this.#young.size >= this.#generation) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(id, now);
    return true;
  }
}

module.exports = { Fifo, RecentIds, WeighedFifo };
