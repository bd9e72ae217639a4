'use strict';

/**
 * One cohort: what is known of it, and what follows from the outcome of a refresh. Pure.
 *
 * loading   nothing is known yet
 * refused   nothing is known, and the source has said why: it is asked seldom
 * fresh     the members are those that the source had staleAfterMillis ago, or later
 * stale     they are older; they are still used
 * held      the source has so many fewer members that the present ones are kept for staleAfterMillis
 * expired   they are older than maxStaleMillis, and not used any more
 */

const { isObject } = require('../checks.js');

const isTime = (value) => value === null || Number.isFinite(value);
const isNullOrObject = (value) => value === null || isObject(value);

/** Whether a value is what toState() returned in another process: it was written where others may write, too. */
const isState = (value) =>
  isObject(value) &&
  isTime(value.confirmedAt) &&
  isTime(value.lastModified) &&
  Number.isFinite(value.bytes) &&
  isNullOrObject(value.lastError) &&
  isNullOrObject(value.held) &&
  isTime(value.held?.since ?? null);

class Cohort {
  attribute;
  id;
  slot;
  format;
  exports; // where its files are, of a cohort that has several: { directory, cohortId }
  size = null;
  lastModified = null; // when the source changed it, in ms
  bytes = 0; // of the last load
  confirmedAt = null; // when the source was known to have these members; null: none are loaded
  held = null; // { since, version, size } of the members that are not taken
  isRefused = false;
  from = null; // 'snapshot', as long as nobody has confirmed it; 'store'; null: the source itself
  failures = 0; // in a row
  lastError = null;
  messageAt = -Infinity; // as of when the latest message of the webhook is
  #version = null; // by which the source knows that its members are the latest
  #options;

  constructor({ attribute, id, format = 'json', exports }, slot, options) {
    this.attribute = attribute;
    this.id = id;
    this.format = format;
    this.exports = exports;
    this.slot = slot;
    this.#options = options;
  }

  get isLoaded() {
    return this.confirmedAt !== null;
  }

  /** The age of the members; null when there are none. */
  ageAt(now) {
    return this.isLoaded ? Math.max(0, now - this.confirmedAt) : null;
  }

  /** When the members are used no longer; Infinity for never. */
  get expiresAt() {
    const { maxStaleMillis } = this.#options;
    return this.isLoaded && maxStaleMillis !== null
      ? this.confirmedAt + maxStaleMillis + 1
      : Infinity;
  }

  stateAt(now) {
    if (!this.isLoaded) {
      return this.isRefused ? 'refused' : 'loading';
    }
    if (now >= this.expiresAt) {
      return 'expired';
    }
    if (this.held !== null) {
      return 'held';
    }
    return this.ageAt(now) > this.#options.staleAfterMillis ? 'stale' : 'fresh';
  }

  isKnownAt(now) {
    return this.isLoaded && now < this.expiresAt;
  }

  /** Whether a smaller cohort is held back now: for staleAfterMillis, and then it is believed. */
  #holdsAt(now) {
    return (
      this.isKnownAt(now) &&
      (this.held === null || now - this.held.since < this.#options.staleAfterMillis)
    );
  }

  /** The fewest members that are taken. */
  minMembersAt(now) {
    const { holdShrink } = this.#options;
    return holdShrink < 1 && this.#holdsAt(now) ? Math.ceil(this.size * (1 - holdShrink)) : 0;
  }

  /** The version that need not be sent again; null when any is wanted. */
  knownVersionAt(now) {
    if (this.held !== null) {
      return this.#holdsAt(now) ? this.held.version : null;
    }
    return this.#version;
  }

  /** Start with what a snapshot has: the members that the source had then. */
  restore({ size, lastModified, confirmedAt }) {
    Object.assign(this, { size, lastModified: lastModified || null, confirmedAt });
    this.from = 'snapshot';
    this.#version = this.lastModified;
  }

  /**
   * Take the outcome of a refresh: `kind` is loaded, unchanged, held, refused or failed. `confirmedAt` is when the
   * source had these members.
   */
  take(outcome, now) {
    const { kind } = outcome;
    const confirmedAt = Math.max(outcome.confirmedAt ?? now, this.messageAt);
    if (kind === 'refused' || kind === 'failed') {
      this.failures++;
      this.isRefused = kind === 'refused';
      this.lastError = {
        message: outcome.message,
        statusCode: outcome.statusCode ?? 0,
        time: now,
      };
      return;
    }
    this.failures = 0;
    this.isRefused = false;
    if (kind === 'loaded') {
      const { size, lastModified, bytes, version } = outcome;
      Object.assign(this, { size, lastModified, bytes, held: null, lastError: null, confirmedAt });
      this.#version = version;
      this.from = null;
    } else if (kind === 'held') {
      const { size, version } = outcome;
      this.held = { since: this.held?.since ?? now, version, size };
    } else if (this.held === null) {
      this.confirmedAt = confirmedAt;
      this.from = null;
      this.lastError = null;
    }
  }

  /** What another process has to know to go on with it. */
  toState() {
    const { confirmedAt, lastModified, bytes, isRefused, lastError, held } = this;
    const version = this.#version;
    return { confirmedAt, lastModified, bytes, isRefused, lastError, held, version };
  }

  /**
   * Take what the process says that asks the source. `size` is that of its members, which are here, too; null when none
   * are; undefined when they are the same as before. `from` is where they come from: 'store' or 'snapshot'. Nothing is
   * confirmed that is not here.
   */
  follow({ version, ...state }, size, from) {
    const { lastModified, bytes, isRefused, lastError, held } = state;
    const isHere = (size === undefined ? this.confirmedAt : size) !== null;
    const isConfirmed = isHere && state.confirmedAt !== null;
    const confirmedAt = isConfirmed ? Math.max(state.confirmedAt, this.messageAt) : null;
    Object.assign(this, { confirmedAt, lastModified, bytes, isRefused, lastError, held });
    Object.assign(this, { failures: 0, from });
    this.#version = isConfirmed ? version : null;
    this.size = size === undefined ? this.size : size;
  }

  /** Take what a message has changed, as of `time`. It confirms what is known, and makes nothing known. */
  change({ entered, left }, time, now) {
    this.messageAt = Math.max(this.messageAt, Math.min(time, now));
    if (this.isLoaded) {
      this.size += entered - left;
      this.confirmedAt = Math.max(this.confirmedAt, this.messageAt);
    }
  }
}

module.exports = { Cohort, isState };
