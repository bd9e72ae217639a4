'use strict';

/**
 * Amplitude's validation of a request. Pure, apart from Amplitude's own changes to events that it accepts: it
 * truncates strings, and removes ids that are too short.
 */

const {
  DEFAULT_MIN_ID_LENGTH,
  INVALID_IDS,
  MAX_DEPTH,
  MAX_EVENTS_PER_REQUEST,
  MAX_GROUP_TYPES,
  MAX_GROUP_VALUES,
  MAX_STRING_LENGTH,
  answers,
} = require('./protocol.js');
const { isApplicable, isObject } = require('./profile.js');

const isString = (value) => typeof value === 'string';
const isNumber = (value) => typeof value === 'number';
const isBoolean = (value) => typeof value === 'boolean';

/** One or more values of at most MAX_GROUP_TYPES group types, MAX_GROUP_VALUES values in all. */
function isGroups(groups) {
  if (!isObject(groups)) {
    return false;
  }
  const values = Object.values(groups).flat();
  return (
    Object.keys(groups).length <= MAX_GROUP_TYPES &&
    values.length <= MAX_GROUP_VALUES &&
    values.every((value) => isString(value) || isNumber(value))
  );
}

/** What the fields must be, apart from the ids; a field that is not listed may be anything. */
const FIELD_TYPES = new Map(
  Object.entries({
    event_type: isString,
    insert_id: isString,
    library: isString,
    ip: isString,
    time: Number.isInteger,
    event_id: Number.isInteger,
    session_id: Number.isInteger,
    quantity: Number.isInteger,
    price: isNumber,
    revenue: isNumber,
    location_lat: isNumber,
    location_lng: isNumber,
    event_properties: isObject,
    user_properties: (value) => isObject(value) && isApplicable(value),
    group_properties: isObject,
    groups: isGroups,
    $skip_user_properties_sync: isBoolean,
  }),
);

/** Truncate the strings in `value` in place; return false when it is nested too deeply. */
function truncateStrings(value, depth) {
  if (depth > MAX_DEPTH) {
    return false;
  }
  // for-in would make a text of each index, and Object.keys() of an array, too.
  const keys = Array.isArray(value) ? null : Object.keys(value);
  const count = keys === null ? value.length : keys.length;
  for (let i = 0; i < count; i++) {
    const key = keys === null ? i : keys[i];
    const item = value[key];
    if (typeof item === 'string') {
      if (item.length > MAX_STRING_LENGTH) {
        value[key] = item.slice(0, MAX_STRING_LENGTH);
      }
    } else if (typeof item === 'object' && item !== null && !truncateStrings(item, depth + 1)) {
      return false;
    }
  }
  return true;
}

/** The events of one request that are refused, by the field that is the reason. */
class Problems {
  #maps = {}; // list -> field -> indexes; fields are of the sender, and may be called __proto__
  #firstOnly;

  constructor(firstOnly) {
    this.#firstOnly = firstOnly;
  }

  add(map, field, index) {
    const fields = (this.#maps[map] ??= new Map());
    if (!fields.has(field)) {
      fields.set(field, [index]);
    } else if (!this.#firstOnly) {
      fields.get(field).push(index);
    }
  }

  /** The answer, or null when there is no problem. */
  answer() {
    const maps = Object.fromEntries(
      Object.entries(this.#maps).map(([map, fields]) => [map, Object.fromEntries(fields)]),
    );
    if (maps.events_with_missing_fields) {
      return answers.refusal(400, 'Request missing required field', maps);
    }
    if (maps.events_with_invalid_fields) {
      return answers.refusal(400, 'Invalid field values on some events', maps);
    }
    // Not documented, but the live service answers so, and Amplitude's own SDKs understand it.
    if (maps.events_with_invalid_id_lengths) {
      return answers.refusal(400, 'Invalid id length for user_id or device_id', maps);
    }
    return null;
  }
}

/** Check the ids of an event, and remove ids that are too short; it is an error when no id is left. */
function checkIds(event, index, minIdLength, problems, refuseShort) {
  let short = null;
  let valid = 0;
  for (const field of ['user_id', 'device_id']) {
    const id = event[field];
    if (id === undefined || id === null) {
      continue;
    }
    if (!isString(id) || INVALID_IDS.has(id)) {
      problems.add('events_with_invalid_fields', field, index);
      return;
    }
    if (id.length >= minIdLength) {
      valid++;
      continue;
    }
    short ??= field;
    delete event[field];
  }
  if (short !== null && (valid === 0 || refuseShort)) {
    problems.add('events_with_invalid_id_lengths', short, index);
  } else if (valid === 0) {
    problems.add('events_with_missing_fields', 'user_id', index);
  }
}

function checkEvent(event, index, minIdLength, problems, refuseShort) {
  if (!event.event_type) {
    problems.add('events_with_missing_fields', 'event_type', index);
  }
  checkIds(event, index, minIdLength, problems, refuseShort);
  for (const field in event) {
    const value = event[field];
    const isValid = FIELD_TYPES.get(field);
    if (value === null) {
      continue; // counts as absent
    }
    if (
      (isValid !== undefined && !isValid(value)) ||
      (typeof value === 'object' && !truncateStrings(value, 1))
    ) {
      problems.add('events_with_invalid_fields', field, index);
    } else if (typeof value === 'string' && value.length > MAX_STRING_LENGTH) {
      event[field] = value.slice(0, MAX_STRING_LENGTH);
    }
  }
}

/**
 * Validate a parsed request body.
 *
 * options: `apiKeys` (the known ones; default: any), `badIndexes` ('all', or 'first': only the first
 * bad event of each field is listed, so that a client has to send again and again), `shortIds`
 * ('remove', as documented, or 'refuse' the event even if its other id is long enough).
 *
 * Return the answer that refuses the request, or null.
 */
function validate(request, options = {}) {
  if (!isObject(request)) {
    return answers.invalidJson();
  }
  const { api_key: apiKey, events } = request;
  if (!isString(apiKey) || apiKey === '') {
    return answers.missingField('api_key');
  }
  if (options.apiKeys && !options.apiKeys.includes(apiKey)) {
    return answers.invalidApiKey(apiKey);
  }
  if (!Array.isArray(events) || events.length === 0) {
    return answers.missingField('events');
  }
  if (events.length > MAX_EVENTS_PER_REQUEST) {
    return answers.payloadTooLarge();
  }
  if (!events.every(isObject)) {
    return answers.invalidEvent();
  }
  const minIdLength = request.options?.min_id_length ?? DEFAULT_MIN_ID_LENGTH;
  const problems = new Problems(options.badIndexes === 'first');
  const refuseShort = options.shortIds === 'refuse';
  for (let index = 0; index < events.length; index++) {
    checkEvent(events[index], index, minIdLength, problems, refuseShort);
  }
  return problems.answer();
}

module.exports = { validate };
