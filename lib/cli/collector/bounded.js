'use strict';

/**
 * The collections that bound the collector's memory: a full one forgets its oldest item.
 */

const { randomInt } = require('node:crypto');

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

  /** Remove the oldest item and return it, or undefined. */
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

  /** The last `count` items for which `test` holds, oldest first; of those before one for which `isOver` holds none. */
  last(count = Infinity, test = () => true, isOver = () => false) {
    const found = [];
    for (let i = this.#items.length - 1; i >= this.#head && found.length < count; i--) {
      if (isOver(this.#items[i])) {
        break;
      }
      if (test(this.#items[i])) {
        found.push(this.#items[i]);
      }
    }
    return found.reverse();
  }

  *[Symbol.iterator]() {
    for (let i = this.#head; i < this.#items.length; i++) {
      yield this.#items[i];
    }
  }
}

/** A Fifo that is bounded by the sum of its items' `bytes`, too. */
class WeighedFifo {
  #items = new Fifo();
  #maxItems;
  #maxBytes;
  #bytes = 0;

  constructor(maxItems, maxBytes) {
    this.#maxItems = maxItems;
    this.#maxBytes = maxBytes;
  }

  push(item) {
    this.#items.push(item);
    this.#bytes += item.bytes;
    while (this.#items.size > this.#maxItems || this.#bytes > this.#maxBytes) {
      this.#bytes -= this.#items.shift().bytes;
    }
  }

  last() {
    return this.#items.last();
  }
}

const MIN_SLOTS = 1024;

/** Prints of ids with the time of each, in open addressing: 12 bytes for a slot, whatever the length of an id. */
class Prints {
  size = 0;
  #low;
  #high; // 0: a free slot
  #times;

  constructor(slots = MIN_SLOTS) {
    this.#low = new Uint32Array(slots);
    this.#high = new Uint32Array(slots);
    this.#times = new Uint32Array(slots);
  }

  #slotOf(low, high) {
    const mask = this.#low.length - 1;
    let slot = low & mask;
    while (this.#high[slot] !== 0 && (this.#high[slot] !== high || this.#low[slot] !== low)) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  /** The time of a print, or undefined. */
  get(low, high) {
    const slot = this.#slotOf(low, high);
    return this.#high[slot] === 0 ? undefined : this.#times[slot];
  }

  set(low, high, time) {
    const slot = this.#slotOf(low, high);
    if (this.#high[slot] === 0) {
      this.size++;
    }
    [this.#low[slot], this.#high[slot], this.#times[slot]] = [low, high, time];
    if (this.size * 2 > this.#low.length) {
      this.#grow();
    }
  }

  #grow() {
    const larger = new Prints(2 * this.#low.length);
    for (let slot = 0; slot < this.#low.length; slot++) {
      if (this.#high[slot] !== 0) {
        larger.set(this.#low[slot], this.#high[slot], this.#times[slot]);
      }
    }
    [this.#low, this.#high, this.#times] = [larger.#low, larger.#high, larger.#times];
  }
}

/**
 * A set that remembers ids for a while, as prints of 63 bits: of a million ids, two share one with a probability of one
 * in ten million.
 *
 * Two generations instead of a list in order of age: when the young one is half of the limit, it becomes the old one,
 * and the old one is forgotten. So at least the last limit/2 ids are known, at no cost for each of them.
 */
class RecentIds {
  #young = new Prints();
  #old = new Prints();
  #generation;
  #lifetime;
  #seed = randomInt(2 ** 31);
  #low = 0;
  #high = 0;

  /** `lifetime` has the unit of the `now` of add(), which counts from 0 in whole numbers. */
  constructor(limit, lifetime) {
    this.#generation = Math.max(1, Math.ceil(limit / 2));
    this.#lifetime = lifetime;
  }

  /** Remember an id; return false when it is known already, which does not make it younger. */
  add(id, now) {
    this.#print(id);
    const [low, high] = [this.#low, this.#high];
    const since = this.#young.get(low, high) ?? this.#old.get(low, high);
    if (since !== undefined && now - since < this.#lifetime) {
      return false;
    }
    if (this.#young.size >= this.#generation) {
      this.#old = this.#young;
      this.#young = new Prints();
    }
    this.#young.set(low, high, now);
    return true;
  }

  /** Two hashes in the manner of MurmurHash3's mixing, which the seed makes unpredictable. */
  #print(id) {
    let low = this.#seed ^ 0x9e3779b9;
    let high = this.#seed ^ 0x85ebca6b;
    for (let i = 0; i < id.length; i++) {
      const code = id.charCodeAt(i);
      low = Math.imul(low ^ code, 0x9e3779b1);
      low ^= low >>> 15;
      high = Math.imul(high ^ code, 0x5f356495);
      high ^= high >>> 13;
    }
    low = Math.imul(low ^ (high >>> 16), 0x85ebca6b);
    high = Math.imul(high ^ (low >>> 13), 0xc2b2ae35);
    this.#low = (low ^ (low >>> 16)) >>> 0;
    this.#high = ((high ^ (high >>> 16)) | 1) >>> 0;
  }
}

module.exports = { Fifo, RecentIds, WeighedFifo };
