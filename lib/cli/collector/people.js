'use strict';

/**
 * Who did what: the users of a store, with their properties and records.
 *
 * Ids are resolved as Amplitude assigns its own (in its documentation: How Amplitude assigns Amplitude IDs): events of
 * a device without a user belong to the user who logs in on it next, and after that to the user who was last on it. A
 * user who logs in on a device of another user stays apart.
 */

const { applyUserProperties } = require('./profile.js');
const { textOf } = require('./record.js');
const { MAP_ENTRY, stringBytes, valueBytes } = require('./weight.js');

/** More devices of one user are not linked. */
const MAX_DEVICES = 1000;
/** A user, with two maps and a list that are empty. */
const PERSON_BYTES = 450;

const NO_CHANGES = null;
const noneBefore = new Map();
const noDevices = new Set();

class Person {
  userId;
  properties = new Map();
  /** What the last update changed: [name, value, ...]. */
  lastChanges = NO_CHANGES;
  bytes = PERSON_BYTES;
  #records = [];
  #kept = 0;
  #isSorted = true;
  #devices = null; // most users have one, or none
  /** The properties that were set by records that are forgotten, as texts. */
  #base = null;

  constructor(userId) {
    this.userId = userId;
  }

  get id() {
    return this.userId ?? this.devices.values().next().value;
  }

  /** Its device ids, a Set that nobody changes. */
  get devices() {
    return this.#devices ?? noDevices;
  }

  /** The number of its records. */
  get size() {
    return this.#kept;
  }

  /** What its properties were before its first record, as texts. */
  get base() {
    return this.#base ?? noneBefore;
  }

  /** Its records, in order of arrival. Borrowed: it is valid until the next record. */
  get records() {
    if (!this.#isSorted) {
      this.#records.sort((a, b) => a.sequence - b.sequence);
      this.#isSorted = true;
    }
    if (this.#records.length !== this.#kept) {
      this.#records = this.#records.filter(({ person }) => person === this);
    }
    return this.#records;
  }

  add(record) {
    const last = this.#records.at(-1);
    this.#isSorted &&= last === undefined || last.sequence < record.sequence;
    record.person = this;
    this.#records.push(record);
    this.#kept++;
    if (this.#records.length > 1.25 * this.#kept + 16) {
      this.#records = this.#records.filter(({ person }) => person === this);
    }
  }

  forget(record) {
    this.#kept--;
    for (let at = 0; record.changes !== null && at < record.changes.length; at += 2) {
      this.#setBase(record.changes[at], record.changes[at + 1]);
    }
    record.clear(); // it stays in the list for a while
  }

  #setBase(name, value) {
    this.#base ??= new Map();
    const before = this.#base.get(name);
    this.bytes -= before === undefined ? 0 : MAP_ENTRY + stringBytes(before);
    if (value === undefined) {
      this.#base.delete(name);
    } else {
      this.bytes += MAP_ENTRY + stringBytes(value);
      this.#base.set(name, value);
    }
  }

  /** Apply the `user_properties` of an event; return what they change, as texts: [name, value, ...], or null. */
  apply(userProperties) {
    const changed = applyUserProperties(this.properties, userProperties);
    if (changed.size === 0) {
      return NO_CHANGES;
    }
    const changes = new Array(2 * changed.size);
    let at = 0;
    for (const [name, before] of changed) {
      const value = this.properties.get(name);
      this.bytes -= before === undefined ? 0 : MAP_ENTRY + stringBytes(name) + valueBytes(before);
      this.bytes += value === undefined ? 0 : MAP_ENTRY + stringBytes(name) + valueBytes(value);
      changes[at++] = name;
      changes[at++] = textOf(value);
    }
    this.lastChanges = changes;
    return changes;
  }

  addDevice(deviceId) {
    this.#devices ??= new Set();
    if (!this.#devices.has(deviceId)) {
      this.#devices.add(deviceId);
      this.bytes += 2 * MAP_ENTRY + stringBytes(deviceId);
    }
  }

  /**
   * Take over all that an anonymous user has. Return the own properties that its records would change, as texts: they
   * are in effect again from now on.
   */
  takeOver(other) {
    const kept = [];
    for (const [name, value] of other.properties) {
      if (this.properties.has(name)) {
        kept.push(name, textOf(this.properties.get(name)));
      } else {
        this.properties.set(name, value);
        this.bytes += MAP_ENTRY + stringBytes(name) + valueBytes(value);
      }
    }
    for (const [name, value] of other.base) {
      if (!this.base.has(name)) {
        this.#setBase(name, value);
      }
    }
    other.records.forEach((record) => this.add(record));
    return kept.length === 0 ? NO_CHANGES : kept;
  }
}

class People {
  /** The sum of what they weigh, without their records. */
  bytes = 0;
  #byUser = new Map();
  #byDevice = new Map();
  #all = new Set();

  get size() {
    return this.#all.size;
  }

  /** Every user, in order of appearance. */
  [Symbol.iterator]() {
    return this.#all.values();
  }

  /** A user by user id or device id, or undefined. */
  find(id) {
    return this.#byUser.get(id) ?? this.#byDevice.get(id);
  }

  /** The user of an event, and what a log-in changes: [person, changes]. */
  resolve({ user_id: userId, device_id: deviceId }) {
    const known = deviceId == null ? undefined : this.#byDevice.get(deviceId);
    if (userId == null) {
      return [known ?? this.#create(null, deviceId), NO_CHANGES];
    }
    const person = this.#byUser.get(userId);
    if (person === undefined) {
      return [this.#logIn(userId, deviceId, known), NO_CHANGES];
    }
    if (deviceId == null || known === person) {
      return [person, NO_CHANGES];
    }
    let changes = NO_CHANGES;
    if (known?.userId === null) {
      changes = this.#merge(person, known);
    }
    this.#link(person, deviceId);
    return [person, changes];
  }

  #logIn(userId, deviceId, known) {
    if (known?.userId !== null || known === undefined) {
      return this.#create(userId, deviceId);
    }
    known.userId = userId;
    this.#byUser.set(userId, known);
    return known;
  }

  #create(userId, deviceId) {
    const person = new Person(userId);
    person.bytes += MAP_ENTRY + stringBytes(userId ?? '');
    this.#all.add(person);
    this.bytes += person.bytes;
    if (userId != null) {
      this.#byUser.set(userId, person);
    }
    if (deviceId != null) {
      this.#link(person, deviceId);
    }
    return person;
  }

  /** Note that a device was last used by this user. */
  #link(person, deviceId) {
    if (person.devices.size < MAX_DEVICES) {
      this.weigh(person, () => person.addDevice(deviceId));
      this.#byDevice.set(deviceId, person);
    }
  }

  #merge(person, other) {
    this.#remove(other);
    return this.weigh(person, () => person.takeOver(other));
  }

  /** Do something that changes what a user weighs. */
  weigh(person, change) {
    this.bytes -= person.bytes;
    const result = change();
    this.bytes += person.bytes;
    return result;
  }

  #remove(person) {
    this.bytes -= person.bytes;
    this.#all.delete(person);
    this.#byUser.delete(person.userId);
    for (const device of person.devices) {
      if (this.#byDevice.get(device) === person) {
        this.#byDevice.delete(device);
      }
    }
  }

  /** Forget a record, and its user with the last one. */
  forget(record) {
    const { person } = record;
    if (person.size === 1) {
      this.#remove(person);
      record.clear();
    } else {
      this.weigh(person, () => person.forget(record));
    }
  }
}

module.exports = { People };
