'use strict';

/**
 * Takes messages of the webhook: of each the users enter or leave one cohort, as of the moment at which Amplitude computed
 * it. The addon keeps what they change in front of the table, and merges it into the next one when there is much of it.
 */

const { reasonOf } = require('../reason.js');

/** Merge from so many changes on: half of what the addon keeps. */
const MERGE_CHANGES = 64 * 1024;
/** Users that are changed at once: a millisecond or two. */
const SLICE_USERS = 4096;
/** How long a message waits for room, before Amplitude is asked to send it again: it waits 1 to 2 s for an answer. */
const ROOM_MILLIS = 800;
/** Messages that are remembered by their id. */
const MAX_MESSAGE_IDS = 4096;
/** Times below are in seconds, times above in milliseconds. */
const FIRST_MILLIS = 1e11;
/** A moment so far ahead is no clock that is a little wrong. */
const MAX_AHEAD_MILLIS = 24 * 60 * 60 * 1000;

class Receiver {
  isOpen = true;
  messages = 0; // that were applied
  repeats = 0;
  late = 0; // users for whom a later change was known
  otherCohorts = 0; // messages of cohorts that are not ours
  refused = 0; // requests
  #native;
  #refresher;
  #fleet; // null: only this process knows
  #log;
  #onMoved;
  #onChanged;
  #ids = new Set(); // of the last messages, in order

  /**
   * `onMoved(cohort, moved, timeMillis)` is called for each part of a message as soon as it counts, and
   * `onChanged(cohort, outcome, previousSize)` for each message that was applied.
   */
  constructor({ native, refresher, fleet = null, log, onMoved, onChanged }) {
    this.#native = native;
    this.#fleet = fleet;
    this.#refresher = refresher;
    this.#log = log;
    this.#onMoved = onMoved;
    this.#onChanged = onChanged;
  }

  stats() {
    const { messages, repeats, late, otherCohorts, refused } = this;
    return {
      messages,
      repeats,
      late,
      otherCohorts,
      refused,
      changes: this.#native.stats().changes,
    };
  }

  /** Take a complete message of one of the cohorts (id -> cohort); resolves to a status and a sentence. */
  async take(message, fields, cohorts) {
    const { cohortId, messageId, computedTime } = fields;
    const time = computedTime < FIRST_MILLIS ? computedTime * 1000 : computedTime;
    if (time > Date.now() + MAX_AHEAD_MILLIS) {
      return [400, 'computed_time is more than a day ahead'];
    }
    const cohort = cohorts.get(cohortId);
    if (cohort === undefined) {
      this.otherCohorts++;
      this.#log.warn(
        'webhook cohort',
        `the webhook got a message of cohort ${JSON.stringify(cohortId)}, which no attribute has: it is not used`,
      );
      return [200, 'no attribute has this cohort'];
    }
    if (messageId !== '' && this.#ids.has(messageId)) {
      this.repeats++;
      return [200, 'it came before'];
    }
    if (this.#fleet !== null) {
      return this.#tellFleet(message, fields, cohort, time);
    }
    const startedAt = performance.now();
    const previousSize = cohort.size;
    const moved = await this.#apply(message, fields, cohort, time);
    if (moved.done < fields.users) {
      return [503, 'there is no room before a merge is over'];
    }
    this.#remember(messageId);
    this.messages++;
    this.late += moved.late;
    const durationMillis = Math.round(performance.now() - startedAt);
    const outcome = { kind: 'changed', ...moved, skipped: fields.skipped, durationMillis };
    this.#onChanged(cohort, outcome, previousSize);
    if (this.#native.stats().changes >= MERGE_CHANGES) {
      this.#refresher.merge();
    }
    return [
      200,
      moved.late === fields.users && moved.late > 0 ? 'something later is known' : 'done',
    ];
  }

  /** Have all processes change the users, this one too. */
  async #tellFleet(message, fields, cohort, time) {
    try {
      await this.#fleet.send(message, fields, cohort, time);
    } catch (error) {
      this.#log.warn(
        'webhook store',
        `a message of the webhook cannot be put into the store: ${reasonOf(error)}; Amplitude has to send it again`,
      );
      const previousSize = cohort.size;
      const moved = await this.#apply(message, fields, cohort, time);
      this.#onChanged(cohort, { kind: 'changed', ...moved, skipped: fields.skipped }, previousSize);
      return [503, 'the store does not take it: only this process has it'];
    }
    this.#remember(fields.messageId);
    this.messages++;
    return [200, 'done'];
  }

  /** Change all users, a slice in each turn of the loop. A slice counts as soon as it is there. */
  async #apply(message, { isIn, users }, cohort, time) {
    const sum = { done: 0, entered: 0, left: 0, late: 0 };
    const endsAt = performance.now() + ROOM_MILLIS;
    while (sum.done < users) {
      const { status, ...moved } = this.#native.change(
        message,
        cohort.slot,
        isIn,
        time,
        sum.done,
        SLICE_USERS,
      );
      if (moved.done > 0) {
        this.#onMoved(cohort, moved, time);
      }
      Object.keys(sum).forEach((name) => (sum[name] += moved[name]));
      if (status === 'too_large' && performance.now() < endsAt) {
        await this.#room(endsAt - performance.now());
      } else if (status !== 'ok') {
        break;
      } else if (sum.done < users) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    return sum;
  }

  /** Wait until there is room for more changes, or the time is over. */
  async #room(millis) {
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, millis);
    });
    await Promise.race([this.#refresher.merge(), late]);
    clearTimeout(timer);
  }

  #remember(messageId) {
    if (messageId === '') {
      return;
    }
    this.#ids.add(messageId);
    if (this.#ids.size > MAX_MESSAGE_IDS) {
      this.#ids.delete(this.#ids.values().next().value);
    }
  }
}

module.exports = { MAX_MESSAGE_IDS, Receiver };
