'use strict';

/**
 * Amplitude's API from which servers download cohorts, `GET /sdk/v1/cohort/<id>?maxCohortSize=&lastModified=`: all
 * members, or 204 if the client names the latest version, or 413 if there are more than it takes.
 */

const { COHORT_PATH } = require('../../endpoints.js');
const { answers } = require('./protocol.js');

/** The API key of `Authorization: Basic <API key:secret key>`, or null without both keys. */
function apiKeyOf({ authorization = '' }) {
  const [, encoded] = /^Basic ([\w+/]+=*)$/i.exec(authorization) ?? [];
  const [, key] = /^([^:]+):./s.exec(Buffer.from(encoded ?? '', 'base64').toString()) ?? [];
  return key ?? null;
}

function answer(cohort, { searchParams }) {
  const { id, size, lastModified, lastComputed } = cohort.describe();
  if (searchParams.get('lastModified') === String(lastModified)) {
    return { status: 204 };
  }
  const maxSize = searchParams.get('maxCohortSize');
  if (maxSize !== null && size > Number(maxSize)) {
    return answers.refusal(413, `The cohort has ${size} members, more than maxCohortSize`);
  }
  return {
    status: 200,
    // In Amplitude's order: clients rely on the members to be last.
    body: {
      cohortId: id,
      groupType: 'User',
      groupTypeId: 0,
      lastComputed,
      lastModified,
      size,
      memberIds: [...cohort.members()],
    },
  };
}

/**
 * Create a function that returns the view of a path, which makes the answer, or null for another path. The keys are
 * any, unless `apiKeys` lists those that are known. `outage` may answer instead.
 */
function createCohortApi(cohorts, outage, { apiKeys }) {
  function download(exchange, id) {
    const apiKey = apiKeyOf(exchange.req.headers);
    if (apiKey === null || (apiKeys !== undefined && !apiKeys.includes(apiKey))) {
      return answers.refusal(401, 'Basic authorization with API key and secret key is needed');
    }
    const cohort = cohorts.get(id);
    return cohort === undefined
      ? answers.refusal(
          404,
          `There is no such cohort; there is ${[...cohorts.keys()].join(', ') || 'none'}`,
        )
      : answer(cohort, exchange.target);
  }

  return (pathname) => {
    if (!pathname.startsWith(COHORT_PATH)) {
      return null;
    }
    const id = pathname.slice(COHORT_PATH.length);
    return (exchange) => {
      const failure = outage.answer(exchange);
      const result = failure === undefined ? download(exchange, id) : failure;
      const cohort = cohorts.get(id);
      if (cohort !== undefined) {
        cohort.asked = { time: exchange.record.receivedAt, status: result?.status ?? null };
      }
      return result;
    };
  };
}

module.exports = { createCohortApi };
