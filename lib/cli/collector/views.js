'use strict';

/** The collector's JSON views of its store. */

const { BATCH, COHORT_PATH, HTTP_V2 } = require('../../endpoints.js');
const { answers } = require('./protocol.js');

const DEFAULT_LIMIT = 1000;
const ok = (body) => ({ status: 200, body });

const INDEX = {
  name: 'optimizely-amplitude collector, a local stand-in for Amplitude',
  endpoints: {
    [`POST ${HTTP_V2.path}`]: "events, as Amplitude's HTTP V2 API takes them",
    [`POST ${BATCH.path}`]: "events, as Amplitude's Batch API takes them",
    'GET /users/{id}': 'a user by user_id or device_id, URL-encoded: properties and events',
    'GET /events?user=&type=&limit=': `the last events, oldest first (limit: ${DEFAULT_LIMIT})`,
    [`GET ${COHORT_PATH}{id}?maxCohortSize=&lastModified=`]:
      "the members of a cohort, as Amplitude's API for servers has them",
    'GET /stats': 'counts of requests, events, duplicates and users',
  },
};

function showUser(store, encodedId) {
  let user;
  try {
    user = store.user(decodeURIComponent(encodedId));
  } catch {
    // Not URL-encoded, so no id.
  }
  return user ? ok(user) : answers.refusal(404, 'Unknown user');
}

function showEvents(store, query) {
  const limit = Number(query.get('limit') || DEFAULT_LIMIT);
  if (!Number.isInteger(limit) || limit < 0) {
    return answers.refusal(400, 'limit must be a whole number');
  }
  // An empty parameter counts as absent.
  return ok({
    events: store.events({
      user: query.get('user') || undefined,
      type: query.get('type') || undefined,
      limit,
    }),
  });
}

/** The view of a path, as a function that makes the answer; null when there is no view. */
function findView(store, { pathname, searchParams }) {
  switch (pathname) {
    case '/':
      return () => ok(INDEX);
    case '/stats':
      return () => ok(store.stats());
    case '/events':
      return () => showEvents(store, searchParams);
    default:
      return pathname.startsWith('/users/')
        ? () => showUser(store, pathname.slice('/users/'.length))
        : null;
  }
}

module.exports = { findView };
