'use strict';

/** The properties that the application's callbacks add, as JSON. */

/** Amplitude's limit for nested objects and arrays; the properties themselves are the first level. */
const MAX_DEPTH = 40;

/**
 * Return the members of `properties` as JSON without the outer braces, `"a":1,"b":2`, or undefined when
 * there are none. The names in `ownNames`, which the decision itself has, are left out.
 *
 * Throws an Error that says what cannot be sent.
 */
function toMembers(properties, ownNames, maxDepth = MAX_DEPTH) {
  if (properties === undefined || properties === null) {
    return undefined;
  }
  if (typeof properties !== 'object' || Array.isArray(properties)) {
    throw new Error(
      `it returned ${Array.isArray(properties) ? 'an array' : `a ${typeof properties}`} where an object is expected`,
    );
  }
  checkDepth(properties, maxDepth);
  const plain = typeof properties.toJSON === 'function' ? properties.toJSON('') : properties;
  const json = JSON.stringify(withoutOwn(plain, ownNames)); // throws for a BigInt, and says so
  if (json === undefined || json[0] !== '{') {
    throw new Error('its toJSON() does not return an object');
  }
  return json.length > 2 ? json.slice(1, -1) : undefined;
}

function withoutOwn(properties, ownNames) {
  if (
    typeof properties !== 'object' ||
    properties === null ||
    !ownNames.some((name) => Object.hasOwn(properties, name))
  ) {
    return properties;
  }
  const rest = { ...properties };
  for (const name of ownNames) {
    rest[name] = undefined; // JSON has no such members; deleting them would make the object slow
  }
  return rest;
}

/** Throw an Error if a value is nested too deeply, which it also is if it contains itself. */
function checkDepth(value, maxDepth = MAX_DEPTH) {
  if (isDeeper(value, maxDepth)) {
    throw new Error(`it is nested more than ${maxDepth} levels deep, or contains itself`);
  }
}

function isDeeper(value, levels) {
  if (typeof value !== 'object' || value === null) {
    return false;
  }
  if (levels === 0) {
    return true;
  }
  for (const name of Object.keys(value)) {
    if (isDeeper(value[name], levels - 1)) {
      return true;
    }
  }
  return false;
}

module.exports = { MAX_DEPTH, checkDepth, toMembers };
