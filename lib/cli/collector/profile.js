'use strict';

/**
 * Applies the `user_properties` of an event to the properties of its user, as Amplitude does. Properties are a Map,
 * because the sender chooses their names (`__proto__` is possible).
 */

const { MAX_LIST_LENGTH, MAX_USER_PROPERTIES } = require('./protocol.js');

const toList = (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]);
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The same text for equal values of JSON. */
const canonical = (value) =>
  JSON.stringify(value, (name, item) =>
    isObject(item)
      ? Object.fromEntries(Object.entries(item).sort(([one], [other]) => (one < other ? -1 : 1)))
      : item,
  );

/** A set, since a sender may give a million values to look for in a list of ten thousand. */
function without(list, values) {
  const known = new Set(values.map(canonical));
  return list.filter((item) => !known.has(canonical(item)));
}

/** By operation: the new value of a property (undefined: no property) from the current one and the operand. */
const OPERATIONS = {
  $unset: () => undefined,
  $set: (current, value) => value,
  $setOnce: (current, value) => (current === undefined ? value : current),
  $add: (current, value) =>
    Number.isFinite(Number(value)) ? (Number(current) || 0) + Number(value) : current,
  $append: (current, value) => [...toList(current), ...toList(value)],
  $prepend: (current, value) => [...toList(value), ...toList(current)],
  $preInsert: (current, value) => [...without(toList(value), toList(current)), ...toList(current)],
  $postInsert: (current, value) => [...toList(current), ...without(toList(value), toList(current))],
  $remove: (current, value) => (Array.isArray(current) ? without(current, toList(value)) : current),
};

/** The order in which Amplitude applies the operations of one event, whatever their order in it. */
const ORDER = [
  '$unset',
  '$set',
  '$setOnce',
  '$add',
  '$append',
  '$prepend',
  '$preInsert',
  '$postInsert',
  '$remove',
];

const isOperation = (name) => name === '$clearAll' || Object.hasOwn(OPERATIONS, name);

/** Whether Amplitude could apply `userProperties`: operations and plain values cannot be mixed. */
function isApplicable(userProperties) {
  let operations = 0;
  let names = 0;
  for (const name in userProperties) {
    names++;
    if (isOperation(name)) {
      operations++;
      if (name !== '$clearAll' && !isObject(userProperties[name])) {
        return false;
      }
    }
  }
  return operations === 0 || operations === names;
}

function applyOperation(properties, operation, values, changed) {
  for (const name of Object.keys(values)) {
    const current = properties.get(name);
    const next = operation(current, values[name]);
    if (next === undefined && current === undefined) {
      continue;
    }
    if (current === undefined && properties.size >= MAX_USER_PROPERTIES) {
      continue;
    }
    if (!changed.has(name)) {
      changed.set(name, current);
    }
    if (next === undefined) {
      properties.delete(name);
    } else {
      properties.set(name, Array.isArray(next) ? next.slice(0, MAX_LIST_LENGTH) : next);
    }
  }
}

/**
 * Apply applicable `userProperties`: `{$set: {...}, ...}`, or plain values, which are set. Return the names that it
 * sets or unsets, with their values before: a Map.
 */
function applyUserProperties(properties, userProperties) {
  const changed = new Map();
  if (!Object.keys(userProperties).some(isOperation)) {
    applyOperation(properties, OPERATIONS.$set, userProperties, changed);
    return changed;
  }
  if (Object.hasOwn(userProperties, '$clearAll')) {
    properties.forEach((value, name) => changed.set(name, value));
    properties.clear();
  }
  for (const name of ORDER) {
    if (Object.hasOwn(userProperties, name)) {
      applyOperation(properties, OPERATIONS[name], userProperties[name], changed);
    }
  }
  return changed;
}

module.exports = { applyUserProperties, isApplicable, isObject };
