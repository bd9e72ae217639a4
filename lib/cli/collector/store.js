'use strict';

/**
 * What Amplitude would have after the requests that it accepted: the events in order of arrival, and the users with
 * their properties. It is independent of HTTP.
 *
 * One bound holds for all of it, events, users and properties, in bytes as V8 has them: the oldest events are
 * forgotten, and a user with the last one. Values live as JSON (see record.js), so what they weigh is known.
 *
 * Emits 'event' (event) for an event that is stored, 'duplicate' (event) for one that is not because its insert_id is
 * known, 'refusal' ({event, reason, time}) for one that is refused, 'request' (record) for each request, 'refused'
 * (record) for a request that is answered with an error, and 'reset'.
 */

const { EventEmitter } = require('node:events');
const { DEDUPLICATION_MILLIS, MAX_DEPTH } = require('./protocol.js');
const { Fifo, RecentIds, WeighedFifo } = require('./bounded.js');
const { Prefixes, storeExposure } = require('./exposures.js');
const { People } = require('./people.js');
const { Record } = require('./record.js');
const { stringBytes } = require('./weight.js');

/**
 * `now` is a clock in milliseconds; `maxBytes` bounds the memory; `prefixes` are of user properties that hold
 * variations.
 */
const DEFAULTS = {
  maxEvents: 200_000,
  maxBytes: 256 * 1024 * 1024,
  maxInsertIds: 1_000_000,
  maxDuplicates: 1000,
  maxRefusals: 1000,
  prefixes: [],
  now: Date.now,
};

/** Duplicates and refusals are only looked at, so they get a smaller share of the memory. */
const SMALL_SHARE = 1 / 16;
/** A list entry and its object, beside its text. */
const ITEM_BYTES = 200;

class Store extends EventEmitter {
  #limits;
  #now;
  #startedAt;
  #revision = 0;
  #sequence = 0;
  #latest = 0;
  #counts = { stored: 0, duplicates: 0, requests: 0, bytes: 0, byStatus: new Map() };
  #records;
  #recordBytes;
  #people;
  #prefixes;
  #duplicates;
  #refusals;
  #insertIds;

  constructor(options = {}) {
    super();
    const limits = { ...DEFAULTS };
    for (const name of Object.keys(DEFAULTS)) {
      limits[name] = options[name] ?? DEFAULTS[name];
      if (name.startsWith('max') && !(limits[name] > 0)) {
        throw new TypeError(`${name} must be a positive number`);
      }
    }
    this.#limits = limits;
    this.#now = limits.now;
    this.#startedAt = this.#now();
    this.#clear();
  }

  #clear() {
    const { maxBytes, maxDuplicates, maxInsertIds, maxRefusals, prefixes } = this.#limits;
    this.#records = new Fifo();
    this.#recordBytes = 0;
    this.#people = new People();
    this.#prefixes = new Prefixes(prefixes);
    this.#duplicates = new WeighedFifo(maxDuplicates, maxBytes * SMALL_SHARE);
    this.#refusals = new WeighedFifo(maxRefusals, maxBytes * SMALL_SHARE);
    this.#insertIds = new RecentIds(maxInsertIds, DEDUPLICATION_MILLIS / 1000);
  }

  /** Forget all events, users and insert_ids; the counts of requests go on. */
  reset() {
    this.#revision++;
    this.#counts.stored = 0;
    this.#counts.duplicates = 0;
    this.#latest = 0;
    this.#clear();
    this.emit('reset');
  }

  /** A number that changes with every event that comes in. */
  get revision() {
    return this.#revision;
  }

  /** What the events, users and properties weigh, in bytes. */
  get bytes() {
    return this.#recordBytes + this.#people.bytes;
  }

  /** Which user properties hold variations. */
  get prefixes() {
    return this.#prefixes;
  }

  /** The store's clock, in milliseconds. */
  now() {
    return this.#now();
  }

  /**
   * Take the events of one accepted request, and change them: each gets `server_received_time`, and `time` if it has
   * none. A `$exposure` is stored under Amplitude's name for it; `sent_as` tells.
   */
  ingest(apiKey, events) {
    const now = this.#now();
    const seconds = Math.floor((now - this.#startedAt) / 1000);
    let stored = 0;
    for (const event of events) {
      this.#revision++;
      event.server_received_time = now;
      if (this.#isRepeat(apiKey, event, seconds)) {
        this.#counts.duplicates++;
        this.#duplicates.push(describe({ event }));
        this.emit('duplicate', event);
      } else {
        this.#add(event, now);
        stored++;
      }
    }
    this.#counts.stored += stored;
    return { stored, duplicates: events.length - stored };
  }

  /** Remember a refused event and the reason. */
  refuse(event, reason) {
    const refusal = { event, reason, time: this.#now() };
    this.#revision++;
    this.#refusals.push(describe(refusal));
    this.emit('refusal', refusal);
  }

  #add(event, now) {
    const people = this.#people;
    const [person, restored] = people.resolve(event);
    let changes = restored;
    const apply = (userProperties) => {
      const made = people.weigh(person, () => person.apply(userProperties));
      changes = changes === null ? made : [...changes, ...(made ?? [])];
    };
    event.time ??= now;
    if (event.user_properties && event.$skip_user_properties_sync !== true) {
      apply(event.user_properties);
    }
    const exposed = storeExposure(event);
    if (exposed !== null) {
      apply(exposed);
    }
    const record = new Record(event, this.#sequence++, changes);
    if (record.exposure !== null && !record.isExperiments) {
      this.#prefixes.learn(record.exposure, person.lastChanges, person.properties);
    }
    this.#latest = Math.max(this.#latest, record.time);
    person.add(record);
    this.#records.push(record);
    this.#recordBytes += record.bytes;
    this.#evict();
    this.emit('event', event);
  }

  #evict() {
    const { maxEvents, maxBytes } = this.#limits;
    while (this.#records.size > maxEvents || (this.bytes > maxBytes && this.#records.size > 0)) {
      const oldest = this.#records.shift();
      this.#recordBytes -= oldest.bytes;
      this.#people.forget(oldest);
    }
  }

  /** Whether an event repeats one of the last 7 days: same insert_id, and same device_id if it has one. */
  #isRepeat(apiKey, { insert_id: insertId, device_id: deviceId }, seconds) {
    return (
      insertId != null &&
      !this.#insertIds.add(
        deviceId == null ? `${apiKey}\n${insertId}` : `${apiKey}\n${insertId}\n${deviceId}`,
        seconds,
      )
    );
  }

  /** The stored events, oldest first: the last `limit` of those of a user (or device) and of a type. */
  events({ user, type, limit } = {}) {
    return this.#recordsOf(
      user,
      type === undefined ? undefined : (record) => record.type === type,
      limit,
    ).map(({ event }) => event);
  }

  #recordsOf(user, test = () => true, limit = Infinity) {
    if (user === undefined) {
      return this.#records.last(limit, test);
    }
    const found = (this.#people.find(user)?.records ?? []).filter(test);
    return limit < found.length ? found.slice(found.length - limit) : found;
  }

  /** The latest time of all events, which may be in the future, or now. */
  latest() {
    return Math.max(this.#latest, this.#now());
  }

  /** The number that the next record gets. */
  get sequence() {
    return this.#sequence;
  }

  /** The last `limit` records from number `since` on for which `test` holds, oldest first. */
  recent(limit, test, since = 0) {
    return this.#records.last(limit, test, ({ sequence }) => sequence < since);
  }

  /** Every record, oldest first (record.js). */
  records() {
    return this.#records;
  }

  /** The last events that were suppressed because of their insert_id. */
  duplicates() {
    return this.#duplicates.last().map(({ text }) => JSON.parse(text).event);
  }

  /** The last events that were refused: {event, reason, time}. */
  refusals() {
    return this.#refusals.last().map(({ text }) => JSON.parse(text));
  }

  /** Every user, in order of appearance (people.js). */
  people() {
    return this.#people;
  }

  /** A user by user id or device id; undefined if unknown. */
  user(id) {
    const person = this.#people.find(id);
    return (
      person && {
        user_id: person.userId,
        device_ids: [...person.devices],
        user_properties: Object.fromEntries(person.properties),
        events: person.records.map(({ event }) => event),
      }
    );
  }

  /** Count one request. `record` has at least status (null: not answered) and bytes (of its body). */
  record(record) {
    const { byStatus } = this.#counts;
    const status = record.status ?? 'none';
    byStatus.set(status, (byStatus.get(status) ?? 0) + 1);
    this.#counts.requests++;
    this.#counts.bytes += record.bytes;
    this.emit('request', record);
    if (record.status >= 400) {
      this.emit('refused', record);
    }
  }

  stats() {
    const { stored, duplicates, requests, bytes, byStatus } = this.#counts;
    return {
      requests: { total: requests, by_status: Object.fromEntries(byStatus), bytes },
      events: { ingested: stored, kept: this.#records.size, duplicates },
      users: this.#people.size,
    };
  }
}

/** An item as text, with its weight. A refused event may be nested deeper than JSON.stringify() goes. */
function describe(item) {
  const text = JSON.stringify(cut(item, MAX_DEPTH + 2));
  return { text, bytes: ITEM_BYTES + stringBytes(text) };
}

/** A value without what is deeper than so many levels. */
function cut(value, depth) {
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  if (depth === 0) {
    return '…';
  }
  return Array.isArray(value)
    ? value.map((item) => cut(item, depth - 1))
    : Object.fromEntries(Object.entries(value).map(([name, item]) => [name, cut(item, depth - 1)]));
}

module.exports = { Store };
