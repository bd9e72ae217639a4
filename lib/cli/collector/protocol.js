'use strict';

/**
 * The limits and answers that Amplitude documents for its HTTP V2 and Batch APIs. An answer here is `{status, body}`;
 * the body is sent as JSON.
 */

const { BATCH, HTTP_V2 } = require('../../endpoints.js');

/** Amplitude's APIs by path. */
const APIS = { [HTTP_V2.path]: HTTP_V2, [BATCH.path]: BATCH };

const MAX_EVENTS_PER_REQUEST = 2000;
const MAX_STRING_LENGTH = 1024;
const MAX_DEPTH = 40;
const MAX_USER_PROPERTIES = 1000;
const MAX_LIST_LENGTH = 10_000;
const MAX_GROUP_TYPES = 5;
const MAX_GROUP_VALUES = 10;
const DEFAULT_MIN_ID_LENGTH = 5;
const DEDUPLICATION_MILLIS = 7 * 24 * 60 * 60 * 1000;

/** Ids that Amplitude refuses, because they stand for no user and would merge many. */
const INVALID_IDS = new Set([
  'anonymous',
  'nil',
  'none',
  'null',
  'n/a',
  'na',
  'undefined',
  'unknown',
  '',
  '00000000-0000-0000-0000-000000000000',
  '{}',
  'lmy47d',
  '0',
  '-1',
]);

/** By list of indexes in an answer: what is wrong with these events. */
const FIELD_LISTS = {
  events_with_missing_fields: (field) => `${field} is missing`,
  events_with_invalid_fields: (field) => `${field} is not valid`,
  events_with_invalid_id_lengths: (field) => `${field} is too short`,
};
const EVENT_LISTS = {
  silenced_events: 'its device is silenced',
  throttled_events: 'its user or device is throttled',
};

/** The events that an answer refuses: [{index, reason}]. The answer may come from any server. */
function listRefusals(body) {
  const refusals = [];
  const add = (indexes, reason) => {
    if (Array.isArray(indexes)) {
      indexes.forEach((index) => refusals.push({ index, reason }));
    }
  };
  for (const list of Object.keys(FIELD_LISTS)) {
    for (const [field, indexes] of Object.entries(body?.[list] ?? {})) {
      add(indexes, FIELD_LISTS[list](field));
    }
  }
  for (const list of Object.keys(EVENT_LISTS)) {
    add(body?.[list], EVENT_LISTS[list]);
  }
  return refusals;
}

function refusal(status, error, more) {
  return { status, body: { code: status, error, ...more } };
}

const answers = {
  accepted: (events, bytes, now) => ({
    status: 200,
    body: {
      code: 200,
      events_ingested: events,
      payload_size_bytes: bytes,
      server_upload_time: now,
    },
  }),
  missingBody: () => refusal(400, 'Missing request body'),
  invalidJson: () => refusal(400, 'Invalid JSON request body'),
  invalidEvent: () => refusal(400, 'Invalid event JSON'),
  missingField: (field) => refusal(400, 'Request missing required field', { missing_field: field }),
  invalidApiKey: (key) => refusal(400, `Invalid API key: ${key}`),
  payloadTooLarge: () => refusal(413, 'Payload too large'),
  invalidPath: () => refusal(404, 'Invalid request path'),
  methodNotAllowed: (allowed) => ({
    ...refusal(405, 'Method not allowed'),
    headers: { Allow: allowed },
  }),
  forbidden: (reason) => refusal(403, reason),
  unavailable: () => refusal(503, 'Service unavailable'),
  tooManyBodies: () => refusal(503, 'Too many requests are being read at the same time'),
  tooManyRequests: () => refusal(429, 'Too many requests'),
  unsupportedEncoding: () => refusal(415, 'Unsupported content encoding'),
  refusal,
};

module.exports = {
  APIS,
  MAX_EVENTS_PER_REQUEST,
  MAX_STRING_LENGTH,
  MAX_DEPTH,
  MAX_USER_PROPERTIES,
  MAX_LIST_LENGTH,
  MAX_GROUP_TYPES,
  MAX_GROUP_VALUES,
  DEFAULT_MIN_ID_LENGTH,
  DEDUPLICATION_MILLIS,
  INVALID_IDS,
  answers,
  listRefusals,
};
