'use strict';

/**
 * What Amplitude would have after the requests that it accepted: the events in order of arrival, and the users with
 * their properties. It is independent of HTTP. Every collection is bounded.
 *
 * Emits 'event' (event) for an event that is stored, 'duplicate' (event) for one that is not because its insert_id
 * is known, 'refusal' ({event, reason, time}) for one that is refused, 'request' (record) for each request, and
 * 'refused' (record) for a request that is answered with an error.
 */

const { EventEmitter } = require('node:events');
const { DEDUPLICATION_MILLIS } = require('./protocol.js');
const { Fifo, RecentIds, WeighedFifo } = require('./bounded.js');
const { flagOf, isUpdate, storeExposure } = require('./exposures.js');
const { applyUserProperties } = require('./profile.js');

const NO_DECISIONS = Object.freeze({});
const MAX_PROJECTS = 100;
const MAX_DEVICES_PER_USER = 100;

/** `now` is a clock in milliseconds; `maxEventBytes` bounds the size of the events' JSON. */
const DEFAULTS = {
  maxEvents: 200_000,
  maxEventBytes: 256 * 1024 * 1024,
  maxUsers: 200_000,
  maxInsertIds: 1_000_000,
  maxDuplicates: 1000,
  maxRefusals: 1000,
  now: Date.now,
};

class User {
  // There may be very many users, and most of them have one device and a few events.
  deviceIds = null;
  properties = new Map();
  events = new Fifo();
  seen = false;
  #decisions = NO_DECISIONS;
  #stale = false;

  constructor(userId, deviceId) {
    this.userId = userId;
    this.deviceId = deviceId;
  }

  addDevice(deviceId) {
    this.deviceIds ??= new Set();
    if (this.deviceIds.size < MAX_DEVICES_PER_USER) {
      this.deviceIds.add(deviceId);
    }
  }

  apply(userProperties) {
    applyUserProperties(this.properties, userProperties);
    this.#stale = true;
  }

  /** The properties that decisions set, as one frozen object that events share until it changes. */
  decisions() {
    if (this.#stale) {
      const decisions = {};
      for (const [name, value] of this.properties) {
        if (flagOf(name) !== null) {
          decisions[name] = value;
        }
      }
      this.#decisions = Object.freeze(decisions);
      this.#stale = false;
    }
    return this.#decisions;
  }
}

class Store extends EventEmitter {
  #limits;
  #now;
  #startedAt;
  #events;
  #duplicates;
  #refusals;
  #revision = 0;
  #usersById = new Map();
  #usersByDevice = new Map();
  #userClock = new Fifo();
  #insertIds = new Map();
  #counts = { stored: 0, duplicates: 0, requests: 0, bytes: 0, byStatus: new Map() };

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
    this.#events = new WeighedFifo(limits.maxEvents, limits.maxEventBytes);
    // Duplicates and refusals are only looked at, so they get a smaller share of the memory.
    this.#duplicates = new WeighedFifo(limits.maxDuplicates, limits.maxEventBytes / 8);
    this.#refusals = new WeighedFifo(limits.maxRefusals, limits.maxEventBytes / 8);
  }

  /** A number that changes with every event that comes in. */
  get revision() {
    return this.#revision;
  }

  /** The store's clock, in milliseconds. */
  now() {
    return this.#now();
  }

  /**
   * Take the events of one accepted request, and the size of its JSON. The store owns the events from then on. Each
   * gets `server_received_time`, and, if it is stored and does more than set properties, `decisions`: the values
   * that segmentation by `[Optimizely] ...` or `[Experiment] ...` would find on it. A `$exposure` is stored under
   * Amplitude's name for it; `sent_as` tells.
   */
  ingest(apiKey, events, bytes = 0) {
    const now = this.#now();
    // Whole seconds are small integers, which a Map holds without allocating.
    const seconds = Math.floor((now - this.#startedAt) / 1000);
    const seen = this.#seenInsertIds(apiKey);
    const weight = bytes / events.length;
    let stored = 0;
    for (const event of events) {
      this.#revision++;
      event.server_received_time = now;
      if (isRepeat(seen, event, seconds)) {
        this.#counts.duplicates++;
        this.#duplicates.push(event, weight);
        this.emit('duplicate', event);
      } else {
        this.#add(event, now, weight);
        stored++;
      }
    }
    this.#counts.stored += stored;
    return { stored, duplicates: events.length - stored };
  }

  /** Remember a refused event, its size and the reason. */
  refuse(event, reason, bytes = 0) {
    const refusal = { event, reason, time: this.#now() };
    this.#revision++;
    this.#refusals.push(refusal, bytes);
    this.emit('refusal', refusal);
  }

  #add(event, now, weight) {
    const user = this.#userOf(event);
    event.time ??= now;
    if (event.user_properties && event.$skip_user_properties_sync !== true) {
      user.apply(event.user_properties);
    }
    const exposed = storeExposure(event);
    if (exposed !== null) {
      user.apply(exposed);
    }
    if (!isUpdate(event)) {
      event.decisions = user.decisions();
    }
    user.events.push(event);
    this.#events.push(event, weight).forEach((evicted) => this.#forgetEvent(evicted));
    this.emit('event', event);
  }

  #forgetEvent(event) {
    const user = this.#findUser(event);
    // A user that was forgotten and then seen again no longer has this event.
    if (user?.events.peek() === event) {
      user.events.shift();
    }
  }

  #findUser({ user_id: userId, device_id: deviceId }) {
    return userId == null ? this.#usersByDevice.get(deviceId) : this.#usersById.get(userId);
  }

  /** The user of an event: its user_id, or its device_id if it has none. */
  #userOf(event) {
    const { user_id: userId = null, device_id: deviceId = null } = event;
    let user = this.#findUser(event);
    if (user === undefined) {
      user = new User(userId, deviceId);
      if (userId === null) {
        this.#usersByDevice.set(deviceId, user);
      } else {
        this.#usersById.set(userId, user);
      }
      this.#userClock.push(user);
      this.#evictUser();
    } else {
      user.seen = true;
    }
    if (deviceId !== null) {
      user.addDevice(deviceId);
    }
    return user;
  }

  /** When there are too many users, forget the oldest one without events since its last turn. */
  #evictUser() {
    while (this.#userClock.size > this.#limits.maxUsers) {
      const user = this.#userClock.shift();
      if (user.seen) {
        user.seen = false;
        this.#userClock.push(user);
      } else if (user.userId === null) {
        this.#usersByDevice.delete(user.deviceId);
      } else {
        this.#usersById.delete(user.userId);
      }
    }
  }

  #seenInsertIds(apiKey) {
    let seen = this.#insertIds.get(apiKey);
    if (seen === undefined) {
      if (this.#insertIds.size >= MAX_PROJECTS) {
        this.#insertIds.delete(this.#insertIds.keys().next().value);
      }
      seen = new RecentIds(this.#limits.maxInsertIds, DEDUPLICATION_MILLIS / 1000);
      this.#insertIds.set(apiKey, seen);
    }
    return seen;
  }

  /** The stored events, oldest first: the last `limit` of those of a user (or device) and of a type. */
  events({ user, type, limit } = {}) {
    const list = user === undefined ? this.#events : this.#lookUp(user)?.events;
    return (
      list?.last(limit, type === undefined ? undefined : (event) => event.event_type === type) ?? []
    );
  }

  /** The last `limit` events for which `test` holds, oldest first. */
  recent(limit, test) {
    return this.#events.last(limit, test);
  }

  /** The last events that were suppressed because of their insert_id. */
  duplicates() {
    return this.#duplicates.last();
  }

  /** The last events that were refused: {event, reason, time}. */
  refusals() {
    return this.#refusals.last();
  }

  /** Every user, in order of appearance: {id, properties (a Map), events}. */
  *users() {
    for (const users of [this.#usersById, this.#usersByDevice]) {
      for (const [id, user] of users) {
        yield { id, properties: user.properties, events: user.events.last() };
      }
    }
  }

  /** The ids of users that contain `text`, at most `limit`. */
  findUsers(text, limit) {
    const found = [];
    for (const users of [this.#usersById, this.#usersByDevice]) {
      for (const id of users.keys()) {
        if (found.length === limit) {
          return found;
        }
        if (id.includes(text)) {
          found.push(id);
        }
      }
    }
    return found;
  }

  #lookUp(id) {
    return this.#usersById.get(id) ?? this.#usersByDevice.get(id);
  }

  /** A user by user_id, or by device_id if no event of that device named a user; undefined if unknown. */
  user(id) {
    const user = this.#lookUp(id);
    return (
      user && {
        user_id: user.userId,
        device_ids: [...(user.deviceIds ?? [])],
        user_properties: Object.fromEntries(user.properties),
        events: user.events.last(),
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
      events: { ingested: stored, kept: this.#events.size, duplicates },
      users: this.#userClock.size,
    };
  }
}

/** Whether an event repeats one of the last 7 days: same insert_id, and same device_id if it has one. */
function isRepeat(seen, { insert_id: insertId, device_id: deviceId }, seconds) {
  if (insertId == null) {
    return false;
  }
  return !seen.add(deviceId == null ? insertId : `${deviceId}\n${insertId}`, seconds);
}

/** An event as it came in, without the fields that the store added. */
function asSent(event) {
  const sent = { ...event };
  delete sent.server_received_time;
  delete sent.decisions;
  if (sent.sent_as !== undefined) {
    sent.event_type = sent.sent_as;
    delete sent.sent_as;
  }
  return sent;
}

module.exports = { Store, asSent };
