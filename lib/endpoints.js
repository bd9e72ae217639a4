'use strict';

/** Amplitude's addresses and the limits of its two APIs: the only place that names its hosts, zones and paths. */

/**
 * The HTTP V2 API and the Batch API. `maxBytes` is the size that a request body has to stay below, before
 * compression; `throttleMillis` is how long a throttled user has to wait.
 */
const HTTP_V2 = Object.freeze({
  path: '/2/httpapi',
  maxBytes: 1_000_000,
  throttleMillis: 30_000,
});
const BATCH = Object.freeze({ path: '/batch', maxBytes: 20_000_000, throttleMillis: 15_000 });

/** The origin of each zone. */
const ORIGINS = Object.freeze({
  US: 'https://api2.amplitude.com',
  EU: 'https://api.eu.amplitude.com',
});

/** The API from which Amplitude's own server SDKs download cohorts, in each zone. An Evaluation Proxy has it, too. */
const COHORT_ORIGINS = Object.freeze({
  US: 'https://cohort-v2.lab.amplitude.com',
  EU: 'https://cohort-v2.lab.eu.amplitude.com',
});
const COHORT_PATH = '/sdk/v1/cohort/';

/** The Behavioral Cohorts API, which exports any cohort, seldom. */
const BEHAVIORAL_ORIGINS = Object.freeze({
  US: 'https://amplitude.com',
  EU: 'https://analytics.eu.amplitude.com',
});
const BEHAVIORAL_PATH = '/api/5/cohorts/';

/** The last one is an older name of the zone US. */
const HOSTS = new Set([
  ...[ORIGINS, COHORT_ORIGINS, BEHAVIORAL_ORIGINS].flatMap((origins) =>
    Object.values(origins).map((origin) => origin.slice('https://'.length)),
  ),
  'api.amplitude.com',
]);

/** The URL of an API in a zone. */
const endpointOf = (zone, api) => ORIGINS[zone] + api.path;

/** Whether a host is one of Amplitude's own. */
const isAmplitude = (hostname) => HOSTS.has(hostname);

module.exports = {
  BATCH,
  BEHAVIORAL_ORIGINS,
  BEHAVIORAL_PATH,
  COHORT_ORIGINS,
  COHORT_PATH,
  HTTP_V2,
  ORIGINS,
  endpointOf,
  isAmplitude,
};
