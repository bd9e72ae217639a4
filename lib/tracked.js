'use strict';

/**
 * The application's own events: track() and identify(), in the shape of Amplitude's SDK for Node.js. Loaded with the
 * first of them.
 *
 * An event that is wrong is counted and logged, and throws nothing: it is sent from where a decision is, too.
 */

const { randomUUID } = require('node:crypto');

const { isObject } = require('./checks.js');
const { constantFields } = require('./event-fields.js');
const { LIBRARY } = require('./library.js');
const { STATUS, STATUS_BITS, describeOutcome, leftOutOf, outcomeOf } = require('./outcomes.js');
const { MAX_DEPTH, toMembers } = require('./properties.js');
const { reasonOf } = require('./reason.js');
const { isText } = require('./text.js');

/** What the addon adds, or what is appended to the members. */
const ADDED_LATER = ['user_id', 'device_id', 'insert_id', 'event_id'];
/** Of Amplitude's SDK, which does not send them either. */
const NEVER_SENT = { extra: undefined, delay: undefined };
/** Types that describe a user or a group. */
const PROFILE_EVENT_TYPES = new Set(['$identify', '$groupidentify']);
const OPERATIONS = new Set([
  '$set',
  '$setOnce',
  '$add',
  '$append',
  '$prepend',
  '$preInsert',
  '$postInsert',
  '$remove',
  '$unset',
  '$clearAll',
]);

const CHECKS = {
  event_type: [(value) => isText(value, 1), 'text of 1 to 1024 characters'],
  user_id: [isString, 'a string'],
  device_id: [isString, 'a string'],
  time: [(value) => Number.isSafeInteger(value) && value >= 0, 'an integer, in ms since 1970'],
  insert_id: [(value) => isText(value, 1), 'text of 1 to 1024 characters'],
  event_properties: [isObject, 'an object'],
  user_properties: [isObject, 'an object'],
  group_properties: [isObject, 'an object'],
};

function isString(value) {
  return typeof value === 'string';
}

class Tracked {
  #log;
  #track;
  #beforeSend;
  #constants;
  #groups;
  #counts = { ignored: 0, invalid: 0 };
  leftOutIds = 0;

  /** `track` is the addon's function; `beforeSend` may be null. */
  constructor(options, log, track, beforeSend) {
    this.#log = log;
    this.#track = track;
    this.#beforeSend = beforeSend;
    this.#constants = constantFields(options);
    this.#groups = options.groups === null ? {} : { groups: options.groups };
  }

  /** How many were not accepted. */
  get counts() {
    return { ...this.#counts };
  }

  track(input, eventProperties, eventOptions) {
    this.#take(() => trackEvent(input, eventProperties, eventOptions));
  }

  identify(identify, eventOptions) {
    this.#take(() => identifyEvent(identify, eventOptions));
  }

  #take(create) {
    try {
      const rendered = this.#render(create());
      if (rendered === null) {
        this.#counts.ignored++;
      } else {
        this.#conclude(this.#track(rendered.userId, rendered.deviceId, rendered.members));
      }
    } catch (error) {
      this.#counts.invalid++;
      const reason = reasonOf(error);
      this.#log.warn(`track: ${reason}`, `an event is not sent: ${reason}`);
    }
  }

  /** Return the ids of an event and all of its other members; null if beforeSend keeps it out. */
  #render(given) {
    check(given);
    const event = {
      ...this.#constants,
      ...(PROFILE_EVENT_TYPES.has(given.event_type) ? {} : this.#groups),
      ...given,
      ...NEVER_SENT,
      time: given.time ?? Date.now(),
      library: LIBRARY,
    };
    const insertId = `"insert_id":${JSON.stringify(given.insert_id ?? randomUUID())}`;
    const members = toMembers(event, ADDED_LATER, MAX_DEPTH + 1);
    const { user_id: userId, device_id: deviceId } = given;
    if (this.#beforeSend === null) {
      return { userId, deviceId, members: `${members},${insertId}` };
    }
    // A copy, because the application's function may change it.
    const ids = JSON.stringify({ user_id: userId || undefined, device_id: deviceId || undefined });
    const changed = this.#beforeSend.call({ ...JSON.parse(ids), ...JSON.parse(`{${members}}`) });
    return changed && { ...changed, members: `${changed.members},${insertId}` };
  }

  /** Count and log a result of the addon, which counts what it has accepted. */
  #conclude(result) {
    const status = result & STATUS_BITS;
    if (status !== result) {
      const { name, outcome } = leftOutOf(result);
      const { message, advice } = describeOutcome(outcome);
      this.leftOutIds++;
      this.#log.warn(
        `track ${name} ${outcome}`,
        `a ${name} is left out, and the event goes with the other id: ${message} (${advice})`,
      );
    }
    if (status === STATUS.ok || status === STATUS.opted_out) {
      return;
    }
    const outcome = outcomeOf(status);
    const { message } = describeOutcome(outcome);
    if (status === STATUS.queue_full || status === STATUS.closed) {
      this.#log.warn(`track ${outcome}`, `an event is dropped: ${message}`);
      return;
    }
    this.#counts.invalid++;
    this.#log.warn(`track ${outcome}`, `an event is not sent: ${message}`);
  }
}

function optional(value, what) {
  if (value !== undefined && value !== null && !isObject(value)) {
    throw new Error(`${what} are not an object`);
  }
  return value;
}

/** track(type, properties?, options?) or track(event, properties?, options?): the later ones win. */
function trackEvent(input, eventProperties, eventOptions) {
  const base = typeof input === 'string' ? { event_type: input } : input;
  if (!isObject(base)) {
    throw new Error('track() expects the type of the event, or the event');
  }
  const properties = optional(eventProperties, 'its properties');
  return {
    ...base,
    ...optional(eventOptions, 'its options, such as { user_id },'),
    ...(properties && { event_properties: properties }),
  };
}

/** identify(new Identify(), options?), or identify({ property: value }, options?). */
function identifyEvent(identify, eventOptions) {
  if (!isObject(identify)) {
    throw new Error('identify() expects an Identify, or an object of user properties');
  }
  return {
    ...optional(eventOptions, 'its options, such as { user_id },'),
    event_type: '$identify',
    user_properties:
      typeof identify.getUserProperties === 'function'
        ? identify.getUserProperties()
        : toOperations(identify),
  };
}

function toOperations(properties) {
  const names = Object.keys(properties);
  const operations = names.filter((name) => OPERATIONS.has(name));
  if (operations.length > 0 && operations.length < names.length) {
    throw new Error(`identify() mixes operations (${operations.join()}) with properties`);
  }
  return operations.length > 0 ? properties : { $set: properties };
}

function check(event) {
  for (const name of Object.keys(CHECKS)) {
    const value = event[name];
    const [isValid, expected] = CHECKS[name];
    const isAbsent = (value === undefined || value === null) && name !== 'event_type';
    if (!isAbsent && !isValid(value)) {
      throw new Error(`its ${name} is not ${expected}`);
    }
  }
}

module.exports = { Tracked };
