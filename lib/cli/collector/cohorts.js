'use strict';

/**
 * Cohorts of the users in a store: the users with an event at least so many times within so many days. It is
 * independent of HTTP.
 *
 * Membership follows from the times of the events alone, also for any moment before, so nothing is counted along.
 */

const DAY_MILLIS = 24 * 60 * 60 * 1000;
const MAX_COUNT = 1000;
const MAX_DAYS = 365;
/** The moments for which the size is told. */
const HISTORY_POINTS = 60;

/** What a cohort is, as text: 'power_users=Purchase:2/30d'. The type of an event may contain any character. */
const DEFINITION = /^([^=]*)=(.+):(\d+)\/(\d+)d$/s;
const EXPECTED =
  'such as power_users=Purchase:2/30d (an id, and its members: users with Purchase at least 2 times within 30 days)';

function parseCohort(text) {
  const [, id, eventType, times, span] = DEFINITION.exec(text) ?? [];
  if (id === undefined) {
    throw new TypeError(`expected a cohort ${EXPECTED}, not '${text}'`);
  }
  const [count, days] = [Number(times), Number(span)];
  if (!/^[\w-]{1,64}$/.test(id)) {
    throw new TypeError(
      `the id of a cohort has 1 to 64 letters, digits, _ and -, unlike '${id}' in '${text}'`,
    );
  }
  if (count < 1 || count > MAX_COUNT) {
    throw new TypeError(`a cohort takes 1 to ${MAX_COUNT} events, not ${count} as in '${text}'`);
  }
  if (days < 1 || days > MAX_DAYS) {
    throw new TypeError(`a cohort takes 1 to ${MAX_DAYS} days, not ${days} as in '${text}'`);
  }
  return { id, eventType, count, days };
}

/** Cohorts as text, as a list of { id, eventType, count, days }; throws a TypeError that says what is wrong. */
function parseCohorts(texts) {
  const definitions = texts.map(parseCohort);
  const ids = definitions.map(({ id }) => id);
  const repeated = ids.find((id, index) => ids.indexOf(id) !== index);
  if (repeated !== undefined) {
    throw new TypeError(`there are two cohorts '${repeated}'`);
  }
  return definitions;
}

/** When an event happened. A clock may be wrong, but nothing happens after it arrived. */
const timeOf = ({ time, arrived }) => Math.min(time, arrived);

/** The spans [from, until] in which a user is a member that did the event at these times, in order. */
function spansOf(times, count, windowMillis) {
  const spans = [];
  for (let last = count - 1; last < times.length; last++) {
    const from = times[last];
    const until = times[last - count + 1] + windowMillis;
    const before = spans.at(-1);
    if (before !== undefined && from <= before[1]) {
      before[1] = until;
    } else if (from < until) {
      spans.push([from, until]);
    }
  }
  return spans;
}

class Cohort {
  /** When it was last downloaded, and the status of the answer, or null. */
  asked = null;
  #definition;
  #store;
  #windowMillis;
  #members = new Set();
  #spans = [];
  #lastModified = null;
  #lastComputed = null;
  #revision = null; // of the store, when the members were computed
  #changesAt = 0; // when the members change, without any event

  constructor(definition, store) {
    this.#definition = definition;
    this.#store = store;
    this.#windowMillis = definition.days * DAY_MILLIS;
  }

  get id() {
    return this.#definition.id;
  }

  /** Its definition, its size, when its members changed, and when they were computed. */
  describe() {
    this.#compute();
    return {
      ...this.#definition,
      size: this.#members.size,
      lastModified: this.#lastModified,
      lastComputed: this.#lastComputed,
      asked: this.asked,
    };
  }

  /** The ids of the members, a Set that nobody changes. */
  members() {
    this.#compute();
    return this.#members;
  }

  /** The size at moments up to now: [{ time, size }], over its days, or since its first member. */
  history() {
    this.#compute();
    const now = this.#store.now();
    const first = this.#spans.reduce((time, [from]) => Math.min(time, from), now);
    const start = Math.max(first, now - this.#windowMillis);
    if (start === now) {
      return [{ time: now, size: this.#members.size }];
    }
    const last = HISTORY_POINTS - 1;
    /** The first moment at or after a time. Multiplied first, so that the last one is met exactly. */
    const pointOf = (time) =>
      Math.max(0, Math.min(HISTORY_POINTS, Math.ceil(((time - start) * last) / (now - start))));
    const changes = new Array(HISTORY_POINTS + 1).fill(0);
    for (const [from, until] of this.#spans) {
      changes[pointOf(from)]++;
      changes[pointOf(until)]--;
    }
    let size = 0;
    return changes.slice(0, HISTORY_POINTS).map((change, index) => {
      size += change;
      return { time: Math.round(start + (index * (now - start)) / last), size };
    });
  }

  /**
   * The times at which each user did it. Events of a device are those of the user who logged in on it, or nobody's:
   * members are user ids.
   */
  #timesByUser(type) {
    const times = new Map();
    for (const record of this.#store.records()) {
      const id = record.type === type ? record.person.userId : null;
      const known = times.get(id);
      if (known !== undefined) {
        known.push(timeOf(record));
      } else if (id !== null) {
        times.set(id, [timeOf(record)]);
      }
    }
    return times;
  }

  /** Bring the members up to date, if an event has arrived since, or the time of one is over. */
  #compute() {
    const now = this.#store.now();
    if (this.#revision === this.#store.revision && now < this.#changesAt) {
      return;
    }
    const { eventType, count } = this.#definition;
    const members = new Set();
    this.#spans = [];
    this.#changesAt = Infinity;
    for (const [id, times] of this.#timesByUser(eventType)) {
      const spans = spansOf(
        times.sort((a, b) => a - b),
        count,
        this.#windowMillis,
      );
      spans.forEach((span) => this.#spans.push(span));
      const until = spans.at(-1)?.[1] ?? 0;
      if (until > now) {
        members.add(id);
        this.#changesAt = Math.min(this.#changesAt, until);
      }
    }
    if (this.#lastModified === null || !isSame(members, this.#members)) {
      // Two versions may be computed in one millisecond.
      this.#lastModified = Math.max(now, (this.#lastModified ?? 0) + 1);
      this.#members = members;
    }
    this.#lastComputed = now;
    this.#revision = this.#store.revision;
  }
}

const isSame = (one, other) => one.size === other.size && [...one].every((id) => other.has(id));

/** The cohorts of these definitions, as a Map by id. */
const createCohorts = (definitions, store) =>
  new Map(definitions.map((definition) => [definition.id, new Cohort(definition, store)]));

module.exports = { createCohorts, parseCohorts };
