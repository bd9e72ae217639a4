'use strict';

/**
 * The source `amplitude`: the API from which Amplitude's own server SDKs download cohorts, or an Evaluation Proxy, which
 * has the same. It always sends all members of a cohort, but only if the version that we name is not the latest.
 */

const { COHORT_PATH } = require('../endpoints.js');
const { LIBRARY } = require('../library.js');

/** Answers that come again until something is changed, and what that may be. */
const REFUSALS = {
  400: 'the request is refused',
  401: "the keys are refused: check apiKey, secretKey and serverZone, and that they are the same project's",
  403: "the keys are refused: check apiKey, secretKey and serverZone, and that they are the same project's",
  404: 'there is no such cohort, or it has no sync named Experiment Local Evaluation',
  413: 'it has more members than maxMembers',
};

/** The header with the keys. */
const authorizationOf = ({ apiKey, secretKey }) =>
  `Authorization: Basic ${Buffer.from(`${apiKey}:${secretKey}`).toString('base64')}`;

class AmplitudeSource {
  name = 'amplitude';
  #options;
  #headers;

  constructor(options) {
    this.#options = options;
    this.#headers = [
      authorizationOf(options),
      `X-Amp-Exp-Library: ${LIBRARY}`,
      'Accept: application/json',
      'Accept-Encoding: gzip',
    ];
  }

  /** What the table calls a cohort. */
  nameOf(cohort) {
    return cohort.id;
  }

  /** What to load for a cohort now. */
  request(cohort, now) {
    const { serverUrl, maxMembers } = this.#options;
    const version = cohort.knownVersionAt(now);
    const since = version === null ? '' : `&lastModified=${version}`;
    return {
      load: {
        url: `${serverUrl}${COHORT_PATH}${cohort.id}?maxCohortSize=${maxMembers}${since}`,
        headers: this.#headers,
      },
      hasVersion: version !== null,
    };
  }

  /** The outcome of an answer that is not a cohort, to a request that named a version or did not. */
  read({ statusCode, retryAfterMillis }, { hasVersion }) {
    if (statusCode === 204) {
      return hasVersion
        ? { kind: 'unchanged', statusCode }
        : this.#failed('failed', statusCode, 'the answer has no members', 0);
    }
    if (statusCode === 429 || statusCode === 408 || statusCode >= 500) {
      const reason = statusCode === 429 ? 'it is asked too often' : 'the server fails';
      return this.#failed('failed', statusCode, reason, retryAfterMillis);
    }
    const reason = REFUSALS[statusCode] ?? 'that is no answer of this API: check serverUrl';
    return this.#failed('refused', statusCode, reason, retryAfterMillis);
  }

  #failed(kind, statusCode, reason, retryAfterMillis) {
    return {
      kind,
      statusCode,
      message: `${reason} (HTTP ${statusCode})`,
      retryAfterMillis,
      // It concerns all cohorts of this server.
      isForAll: statusCode === 429 || retryAfterMillis > 0,
    };
  }
}

module.exports = { AmplitudeSource, authorizationOf };
