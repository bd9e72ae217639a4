'use strict';

/**
 * The application's own events: track() and identify(), in the shape of Amplitude's SDK for Node.js. Loaded with the
 * first of them.
 *
 * An event that is wrong is counted and logged, and throws nothing: it is sent from where a decision is, too.
 */

const { randomUUID } = require('node:crypto');

const { isObject, shorten } = require('./checks.js');
const { checkField, constantFields } = require('./event-fields.js');
const { LIBRARY } = require('./library.js');
const { STATUS, STATUS_BITS, describeOutcome, leftOutOf, outcomeOf } = require('./outcomes.js');
const { checkDepth } = require('./properties.js');
const { reasonOf } = require('./reason.js');
const { isText } = require('./text.js');

/** What the addon adds, what is rendered by itself, and two fields of Amplitude's SDK that it does not send either. */
const NOT_COPIED = new Set([
  'user_id',
  'device_id',
  'event_id',
  'insert_id',
  'time',
  'library',
  'extra',
  'delay',
]);
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

/** What an id is called in the options of this package, and in those of track(). */
const MISNAMED = { userId: 'user_id', deviceId: 'device_id', sessionId: 'session_id' };

/** By name: whether a value is fine, and what it has to be. */
const CHECKS = Object.entries({
  event_type: [(value) => isText(value, 1), 'text of 1 to 1024 characters'],
  user_id: [isString, 'a string'],
  device_id: [isString, 'a string'],
  time: [(value) => Number.isSafeInteger(value) && value >= 0, 'an integer, in ms since 1970'],
  insert_id: [(value) => isText(value, 1), 'text of 1 to 1024 characters'],
  event_properties: [isObject, 'an object'],
  user_properties: [isObject, 'an object'],
  group_properties: [isObject, 'an object'],
});

function isString(value) {
  return typeof value === 'string';
}

const member = (name, value) => `${JSON.stringify(name)}:${JSON.stringify(value)}`;

const toNamedMember = ([name, value]) => [name, member(name, value)];

class Tracked {
  #log;
  #track;
  #beforeSend;
  #library = member('library', LIBRARY);
  #constants; // [name, member] of the fields that an event has unless it has its own
  #fields; // the same with the groups, which profiles have not
  #counts = { ignored: 0, invalid: 0 };
  /** What events were sent without, because it could not be sent. */
  leftOut = { ids: 0, fields: 0 };

  /** `track` is the addon's function; `beforeSend` may be null. */
  constructor(options, log, track, beforeSend) {
    this.#log = log;
    this.#track = track;
    this.#beforeSend = beforeSend;
    this.#constants = Object.entries(constantFields(options)).map(toNamedMember);
    this.#fields =
      options.groups === null
        ? this.#constants
        : [...this.#constants, toNamedMember(['groups', options.groups])];
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
    const { user_id: userId, device_id: deviceId } = given;
    const insertId = member('insert_id', given.insert_id ?? randomUUID());
    const members = this.#membersOf(given);
    if (this.#beforeSend === null) {
      return { userId, deviceId, members: `${members},${insertId}` };
    }
    // A copy, because the application's function may change it.
    const ids = JSON.stringify({ user_id: userId || undefined, device_id: deviceId || undefined });
    const changed = this.#beforeSend.call({ ...JSON.parse(ids), ...JSON.parse(`{${members}}`) });
    return changed && { ...changed, members: `${changed.members},${insertId}` };
  }

  /** Render an event without its ids. Its members are rendered one by one, because a copy of it would cost more. */
  #membersOf(given) {
    let members = `${member('time', given.time ?? Date.now())},${this.#library}`;
    const isProfile = PROFILE_EVENT_TYPES.has(given.event_type);
    for (const [name, text] of isProfile ? this.#constants : this.#fields) {
      if (given[name] === undefined) {
        members += `,${text}`;
      }
    }
    for (const name of Object.keys(given)) {
      if (!NOT_COPIED.has(name)) {
        const value = this.#fieldOf(given, name);
        checkDepth(value);
        const json = JSON.stringify(value); // throws for a BigInt, and says so
        members += json === undefined ? '' : `,${JSON.stringify(name)}:${json}`;
      }
    }
    return members;
  }

  /** Return a field; one that is wrong is counted and logged, and undefined. */
  #fieldOf(given, name) {
    try {
      if (Object.hasOwn(MISNAMED, name) && isNone(given[MISNAMED[name]])) {
        throw new Error(`${name}: it is ${MISNAMED[name]} here`);
      }
      return checkField(name, given[name]);
    } catch (error) {
      this.leftOut.fields++;
      this.#log.warn(
        `track field ${name}`,
        `track: ${reasonOf(error)}; the event is sent without its ${name}`,
      );
      return undefined;
    }
  }

  /** Count and log a result of the addon, which counts what it has accepted. */
  #conclude(result) {
    const status = result & STATUS_BITS;
    if (status !== result) {
      const { name, outcome } = leftOutOf(result);
      const { message, advice } = describeOutcome(outcome);
      this.leftOut.ids++;
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
  const operations = names.filter((name) => name.startsWith('$'));
  const unknown = operations.find((name) => !OPERATIONS.has(name));
  if (unknown !== undefined) {
    const { nearestName } = require('./suggest.js');
    const known = [...OPERATIONS];
    const nearest = nearestName(unknown, known);
    throw new Error(
      `identify() knows no operation ${JSON.stringify(shorten(unknown))}: ` +
        `${nearest === undefined ? `they are ${known.join(', ')}` : `did you mean ${nearest}?`} ` +
        `A property of such a name goes into $set`,
    );
  }
  if (operations.length > 0 && operations.length < names.length) {
    throw new Error(`identify() mixes operations (${operations.join()}) with properties`);
  }
  const wrong = operations.find((name) => name !== '$clearAll' && !isObject(properties[name]));
  if (wrong !== undefined) {
    throw new Error(`its ${wrong} is not an object of properties`);
  }
  return operations.length > 0 ? properties : { $set: properties };
}

const isNone = (id) => id === undefined || id === null || id === '';

function check(event) {
  if (isNone(event.user_id) && isNone(event.device_id)) {
    const name = ['userId', 'deviceId'].find((each) => Object.hasOwn(event, each));
    if (name !== undefined) {
      throw new Error(`it has a ${name}, which is ${MISNAMED[name]} here`);
    }
  }
  for (const [name, [isValid, expected]] of CHECKS) {
    const value = event[name];
    const isAbsent = (value === undefined || value === null) && name !== 'event_type';
    if (!isAbsent && !isValid(value)) {
      throw new Error(`its ${name} is not ${expected}`);
    }
  }
}

module.exports = { Tracked };
