'use strict';

/**
 * The fields of Amplitude's events that an application may give: their checks, and their names on the wire.
 */

const { Unexpected, checked, describe, isObject, resolveTable, shorten } = require('./checks.js');
const { MAX_STRING_LENGTH, isText } = require('./text.js');

const MAX_GROUP_TYPES = 5;
const MAX_GROUP_VALUES = 10;
const EXPECTED_GROUPS =
  `an object {type: name or array of names} of at most ${MAX_GROUP_TYPES} types and ` +
  `${MAX_GROUP_VALUES} names in all, none of them empty`;

/** Check the name, or the array of names, of one type of group; an array is copied. */
function groupNames(type, value) {
  const names = Array.isArray(value) ? Object.freeze([...value]) : value;
  const all = [names].flat();
  if (!isText(type, 1) || all.length === 0 || !all.every((name) => isText(name, 1))) {
    throw new Unexpected(
      EXPECTED_GROUPS,
      `${describe(value)} for ${JSON.stringify(shorten(type))}`,
    );
  }
  return names;
}

function groups(value) {
  if (!isObject(value)) {
    throw new Unexpected(EXPECTED_GROUPS);
  }
  const entries = Object.entries(value).map(([type, names]) => [type, groupNames(type, names)]);
  const count = entries.flatMap(([, names]) => names).length;
  if (entries.length > MAX_GROUP_TYPES || count > MAX_GROUP_VALUES) {
    throw new Unexpected(EXPECTED_GROUPS, `${count} names of ${entries.length} types`);
  }
  return entries.length === 0 ? null : Object.freeze(Object.fromEntries(entries));
}

function text(value) {
  if (!isText(value, 1)) {
    throw new Unexpected(
      `a string of 1 to ${MAX_STRING_LENGTH} characters, without lone surrogates`,
    );
  }
  return value;
}

/** A check of an object of texts, which may lack some of them; null when it has none. */
function texts(option, names) {
  const table = Object.fromEntries(names.map((name) => [name, { check: text }]));
  return (value) => {
    if (!isObject(value)) {
      throw new Unexpected(`an object with ${names.join(', ')}`);
    }
    const given = Object.entries(resolveTable(table, value, `${option}.`)).filter(
      ([, member]) => member !== undefined,
    );
    return given.length === 0 ? null : Object.freeze(Object.fromEntries(given));
  };
}

const ingestionMetadata = texts('ingestionMetadata', ['sourceName', 'sourceVersion']);
const plan = texts('plan', ['branch', 'source', 'version', 'versionId']);

function sessionId(value) {
  if (!Number.isSafeInteger(value) || value < -1) {
    throw new Unexpected('an integer, the start of the session in ms, or -1 for none');
  }
  return value;
}

/** Not `$remote`, which stands for the address of the request, and that is the server's own. */
function ip(value) {
  const { isIP } = require('node:net'); // here, because an application without it would wait for it
  if (typeof value !== 'string' || isIP(value) === 0) {
    throw new Unexpected('an IPv4 or IPv6 address');
  }
  return value;
}

/** What a field is, without what it says: it may be personal. */
const describeField = (value) =>
  typeof value === 'string' ? `a string of ${value.length} characters` : describe(value);

/** What resolveUser may return beside the ids. `groups` comes first: the core looks for it there. */
const FIELDS = [
  { name: 'groups', key: 'groups', check: groups },
  { name: 'sessionId', key: 'session_id', check: sessionId },
  { name: 'appVersion', key: 'app_version', check: text },
  { name: 'platform', key: 'platform', check: text },
  { name: 'country', key: 'country', check: text },
  { name: 'language', key: 'language', check: text },
  { name: 'ip', key: 'ip', check: ip },
].map((field) => ({ ...field, describe: describeField }));

/** JSON has no NaN and no Infinity. */
function number(value) {
  if (!Number.isFinite(value)) {
    throw new Unexpected('a finite number');
  }
  return value;
}

/** By the name on the wire: the fields of an event of track() that are checked. */
const FIELDS_BY_KEY = new Map([
  ...FIELDS.map((field) => [field.key, field]),
  ...['price', 'quantity', 'revenue', 'location_lat', 'location_lng'].map((key) => [
    key,
    { check: number, describe: describeField },
  ]),
]);

const isAbsent = (value) => value === undefined || value === null || value === '';

/**
 * Return the event fields of what resolveUser returned as members of a JSON object, `"session_id":1,"ip":"..."`, or
 * undefined when there are none. A field that is wrong is left out; `onFault` gets its name and what is wrong with it.
 */
function toFieldMembers(user, onFault) {
  let members = '';
  for (const field of FIELDS) {
    try {
      const value = user[field.name];
      const valid = isAbsent(value) ? null : checked(field, value, field.name);
      if (valid !== null) {
        members += `${members && ','}"${field.key}":${JSON.stringify(valid)}`;
      }
    } catch (error) {
      onFault(field.name, error);
    }
  }
  return members || undefined;
}

/**
 * Return the value of a field of an event by its name on the wire: undefined for an absent one of those that are
 * checked. Throws an error that says what is wrong with it.
 */
function checkField(key, value) {
  const field = FIELDS_BY_KEY.get(key);
  if (field === undefined) {
    return value;
  }
  return isAbsent(value) ? undefined : (checked(field, value, key) ?? undefined);
}

/** Return the fields that are the same in all events of a dispatcher. */
function constantFields({ ingestionMetadata: metadata, plan: trackingPlan, partnerId }) {
  return {
    ...(metadata && {
      ingestion_metadata: {
        source_name: metadata.sourceName,
        source_version: metadata.sourceVersion,
      },
    }),
    ...(trackingPlan && { plan: trackingPlan }),
    ...(partnerId && { partner_id: partnerId }),
  };
}

/** The same as members of a JSON object; null when there are none. */
function toConstantMembers(options) {
  return JSON.stringify(constantFields(options)).slice(1, -1) || null;
}

module.exports = {
  checkField,
  constantFields,
  groups,
  ingestionMetadata,
  plan,
  text,
  toConstantMembers,
  toFieldMembers,
};
