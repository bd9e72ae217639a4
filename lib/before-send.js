'use strict';

/**
 * The option beforeSend: the events of a decision as objects, and what the application's function makes of them.
 * Loaded only when the option is given, since without it no such object exists.
 *
 * It is for redaction. So whatever it does wrong costs what it was called for: a decision that is not sent is better
 * than one that says what nobody was to know.
 */

const { toConstantMembers } = require('./event-fields.js');
const { LIBRARY } = require('./library.js');
const { MAX_DEPTH, toMembers } = require('./properties.js');
const { isPromise, reasonOf } = require('./reason.js');
const { isText } = require('./text.js');

/** What the addon adds; `insert_id` is a hash by which a repeat is counted once. */
const ADDED_LATER = ['user_id', 'device_id', 'insert_id', 'event_id'];

const isId = (value) => typeof value === 'string' && value !== '';
const isIdOrNone = (value) => value === undefined || value === null || typeof value === 'string';

/** Join members of a JSON object; absent ones are left out. */
const join = (...members) => members.filter(Boolean).join();

const member = (name, value) => `${JSON.stringify(name)}:${JSON.stringify(value)}`;

function idMembers({ userId, deviceId }) {
  return join(
    isId(userId) && member('user_id', userId),
    isId(deviceId) && member('device_id', deviceId),
  );
}

class BeforeSend {
  #options;
  #common; // members of every event
  #groups; // members of every event but a $identify

  constructor(options) {
    this.#options = options;
    this.#common = join(member('library', LIBRARY), toConstantMembers(options));
    this.#groups = options.groups && member('groups', options.groups);
  }

  /**
   * Return what is left of a decision: `{ userId, deviceId, event, identify, exposure, left }`, the events as members
   * without the ids, and how many were left out; null if none is to be sent. Throws if one may not be sent.
   *
   * `fields`, `eventProperties` and `userProperties` are members, or undefined.
   */
  takeDecision(decision, user, { fields, eventProperties, userProperties }) {
    const { sendsIdentify, sendsEvent, sendsExposure, eventSetsProperty } = this.#options.format;
    const origin = join(idMembers(user), fields, member('time', Date.now()), this.#common);
    const groups = fields?.startsWith('"groups":') ? null : this.#groups;
    const set = join(this.#setMember(decision), userProperties);
    const build = (isSent, type, ...members) =>
      isSent
        ? this.call(JSON.parse(`{${join(member('event_type', type), origin, ...members)}}`))
        : undefined;

    const identify = build(
      sendsIdentify || eventSetsProperty,
      '$identify',
      `"user_properties":{"$set":{${set}}}`,
    );
    const event = build(
      sendsEvent,
      this.#options.eventType,
      groups,
      `"event_properties":{${join(eventMembers(decision), eventProperties)}}`,
      eventSetsProperty && `"user_properties":{${set}}`,
    );
    const exposure = build(
      sendsExposure,
      '$exposure',
      groups,
      `"event_properties":{${join(exposureMembers(decision), eventProperties)}}`,
    );
    // An event that sets the property is sent with a $identify only to set it again.
    const isForLater = identify && !sendsIdentify;
    const sent = [isForLater ? undefined : identify, exposure, event];
    const kept = sent.filter(Boolean);
    if (kept.length === 0) {
      return null;
    }
    const { userId, deviceId } = theOneUser(isForLater ? [...kept, identify] : kept);
    return {
      userId,
      deviceId,
      event: event?.members,
      identify: isForLater && !event ? undefined : identify?.members,
      exposure: exposure?.members,
      left: sent.filter((one) => one === null).length,
    };
  }

  /** Give an event to the application; null if it is not to be sent. Throws if it may not be sent. */
  call(event) {
    let changed;
    try {
      changed = this.#options.beforeSend(event);
    } catch (error) {
      throw new Error(`beforeSend threw: ${reasonOf(error)}`, { cause: error });
    }
    if (isPromise(changed)) {
      throw new Error('beforeSend returned a promise: it has to return the event, or null');
    }
    if (changed === null) {
      return null;
    }
    if (typeof changed !== 'object' || Array.isArray(changed)) {
      throw new Error(
        `beforeSend returned ${Array.isArray(changed) ? 'an array' : typeof changed}: return the event, or null to keep it out`,
      );
    }
    const { event_type: type, user_id: userId, device_id: deviceId } = changed;
    if (!isText(type, 1) || !isIdOrNone(userId) || !isIdOrNone(deviceId)) {
      throw new Error(
        'beforeSend returned an event whose event_type, user_id or device_id is wrong',
      );
    }
    try {
      return { userId, deviceId, members: toMembers(changed, ADDED_LATER, MAX_DEPTH + 1) };
    } catch (error) {
      throw new Error(`beforeSend: ${reasonOf(error)}`, { cause: error });
    }
  }

  #setMember({ flagKey, variationKey, enabled }) {
    const { propertyPrefix, disabledValue } = this.#options;
    const isKey = variationKey !== null && variationKey !== undefined;
    return member(
      propertyPrefix + flagKey,
      isKey && (enabled || disabledValue === 'variation') ? variationKey : 'off',
    );
  }
}

/** The event's own properties, as variant.c writes them: a test compares. */
function eventMembers({ flagKey, variationKey, ruleKey, enabled }) {
  return join(
    member('flag_key', flagKey),
    member('variation_key', variationKey ?? null),
    member('rule_key', ruleKey ?? null),
    member('enabled', enabled),
  );
}

function exposureMembers({ flagKey, variationKey, ruleKey }) {
  return join(
    member('flag_key', flagKey),
    variationKey != null && member('variant', variationKey),
    ruleKey != null && member('experiment_key', ruleKey),
  );
}

/** The user of a decision's events. It decides what is sent once and in which order, so there has to be one. */
function theOneUser(events) {
  const [first] = events;
  const isOther = ({ userId, deviceId }) =>
    (userId || null) !== (first.userId || null) || (deviceId || null) !== (first.deviceId || null);
  if (events.some(isOther)) {
    throw new Error('beforeSend gave the events of one decision different users');
  }
  return first;
}

module.exports = { ADDED_LATER, BeforeSend };
