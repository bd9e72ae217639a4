'use strict';

/**
 * The source `behavioral`: Amplitude's Behavioral Cohorts API, which exports any cohort of up to two million users, but
 * allows few downloads. So it gives a list when none is there, and seldom a new one, while a webhook tells the changes.
 *
 *     nothing --request--> 202, the id of a request --status--> 202 ... 200, it is made --file--> CSV, mostly by a redirect
 *
 * A request is one load each time, so that other cohorts, and merges, have their turn while Amplitude makes the file.
 */

const { BEHAVIORAL_PATH, isAmplitude } = require('../endpoints.js');
const { authorizationOf } = require('./amplitude.js');
const { Budget, LIMIT } = require('./budget.js');

const FIRST_STATUS_MILLIS = 2000;
const MAX_STATUS_MILLIS = 30_000;
const STATUS_FACTOR = 1.5;
/** A file that is not made by then, or was of no use so often, is given up; and when another is asked for. */
const MAX_JOB_MILLIS = 24 * 60 * 60 * 1000;
const MAX_TRIES = 10;
const GIVEN_UP_MILLIS = 60 * 60 * 1000;
/** Amplitude begins four downloads a minute. */
const PACE_MILLIS = 20_000;
/** The next try after an answer that may have counted as a download. */
const COUNTED_RETRY_MILLIS = 10 * 60 * 1000;

const REFUSALS = {
  401: 'the keys are refused: check apiKey, secretKey and serverZone',
  403: 'the keys are refused: check apiKey, secretKey and serverZone, and that the plan has the Behavioral Cohorts API',
  404: 'there is no such cohort, or it is not published',
};

const waiting = (delayMillis) => ({ kind: 'waiting', delayMillis });

class BehavioralSource {
  name = 'behavioral';
  #options;
  #headers;
  #budget;
  #jobs = new Map(); // cohort -> { id, since, isMade, tries, statusMillis } of a file that Amplitude makes
  #notBefore = new Map(); // cohort -> when its next file is asked for
  #paceMillis;
  #beganAt = -Infinity; // when the last file was asked for

  /** `snapshotPath` is where the snapshot is, beside which downloads are counted; null: nowhere. */
  constructor(options, log, snapshotPath) {
    this.#options = options;
    this.#headers = [authorizationOf(options), 'Accept: */*'];
    this.#budget = new Budget(snapshotPath, log);
    this.#paceMillis = isAmplitude(new URL(options.serverUrl).hostname) ? PACE_MILLIS : 0;
  }

  nameOf(cohort) {
    return cohort.id;
  }

  /** For status(). */
  downloadsAt(now) {
    return this.#budget.at(now);
  }

  request(cohort, now) {
    const job = this.#jobOf(cohort, now);
    return job === undefined ? this.#begin(cohort, now) : this.#goOn(job);
  }

  /** The file that is being made for a cohort. It is over when its members are known. */
  #jobOf(cohort, now) {
    const job = this.#jobs.get(cohort);
    if (job !== undefined && cohort.knownVersionAt(now) === job.since) {
      this.#giveUp(cohort, job.since + this.#options.pollIntervalMillis);
    } else if (job?.tries >= MAX_TRIES || now - job?.since > MAX_JOB_MILLIS) {
      this.#giveUp(cohort, now + Math.min(GIVEN_UP_MILLIS, this.#options.pollIntervalMillis));
    }
    return this.#jobs.get(cohort);
  }

  /** Ask for a file, unless the list is young, or too many were asked for. */
  #begin(cohort, now) {
    const { pollIntervalMillis } = this.#options;
    if (cohort.from !== null && !this.#notBefore.has(cohort)) {
      this.#notBefore.set(cohort, (cohort.lastModified ?? cohort.confirmedAt) + pollIntervalMillis);
    }
    const notBefore = this.#notBefore.get(cohort) ?? -Infinity;
    const wait = Math.max(notBefore, this.#beganAt + this.#paceMillis) - now;
    if (wait > 0) {
      return { outcome: waiting(wait) };
    }
    if (!this.#budget.hasRoom(now)) {
      const message = `the ${LIMIT} downloads that Amplitude allows in a month are used up: the next one is on the 1st`;
      return { outcome: { kind: 'refused', message } };
    }
    this.#beganAt = now;
    return { stage: 'request', now, load: this.#text(`request/${cohort.id}?props=0`) };
  }

  #goOn(job) {
    if (!job.isMade) {
      return { stage: 'status', job, load: this.#text(`request-status/${job.id}`) };
    }
    const { since } = job;
    job.tries++;
    const load = {
      url: this.#urlOf(`request/${job.id}/file`),
      headers: this.#headers,
      follows: true,
      format: 'csv',
      asOfMillis: since,
    };
    return { stage: 'file', job, load, version: since, lastModified: since, confirmedAt: since };
  }

  #giveUp(cohort, notBefore) {
    this.#jobs.delete(cohort);
    this.#notBefore.set(cohort, notBefore);
  }

  #text(path) {
    return { url: this.#urlOf(path), headers: this.#headers, isText: true };
  }

  #urlOf(path) {
    return this.#options.serverUrl + BEHAVIORAL_PATH + path;
  }

  /** The outcome of an answer that is not a cohort. */
  read(report, request, cohort) {
    const { statusCode } = report;
    if (request.stage === 'request') {
      return this.#readRequest(report, request, cohort);
    }
    const { job } = request;
    if (request.stage === 'status' && statusCode === 200) {
      job.isMade = true;
      return waiting(0);
    }
    if (request.stage === 'status' && statusCode === 202) {
      job.statusMillis = Math.min(job.statusMillis * STATUS_FACTOR, MAX_STATUS_MILLIS);
      return waiting(job.statusMillis);
    }
    if (statusCode === 400 || statusCode === 404) {
      job.tries = MAX_TRIES; // it has forgotten the request
    }
    return this.#failed('failed', report, 'the file of the cohort cannot be had');
  }

  #readRequest(report, { now }, cohort) {
    const { statusCode } = report;
    const id = statusCode === 202 || statusCode === 200 ? requestIdOf(report.text) : undefined;
    if (id !== undefined) {
      this.#budget.take(now, cohort.id);
      const statusMillis = Math.min(FIRST_STATUS_MILLIS, this.#options.pollIntervalMillis);
      this.#jobs.set(cohort, { id, since: now, isMade: false, tries: 0, statusMillis });
      return waiting(statusMillis);
    }
    if (statusCode === 429 || statusCode === 408) {
      return this.#failed('failed', report, 'it is asked too often');
    }
    if (statusCode >= 500 || statusCode < 300) {
      this.#budget.take(now, cohort.id); // it may have counted
      const retryAfterMillis = Math.max(report.retryAfterMillis, COUNTED_RETRY_MILLIS);
      const reason = statusCode >= 500 ? 'the server fails' : 'the answer has no request_id';
      return this.#failed('failed', { statusCode, retryAfterMillis }, reason);
    }
    const reason = REFUSALS[statusCode] ?? 'that is no answer of this API: check serverUrl';
    return this.#failed('refused', report, reason);
  }

  #failed(kind, { statusCode, retryAfterMillis }, reason) {
    const message = `${reason} (HTTP ${statusCode})`;
    return { kind, statusCode, message, retryAfterMillis, isForAll: statusCode === 429 };
  }
}

/** The id of a request, as it goes into a path; undefined where there is none. */
function requestIdOf(text) {
  try {
    const { request_id: id } = JSON.parse(text);
    return /^[\w-]{1,200}$/.test(id) ? id : undefined;
  } catch {
    return undefined;
  }
}

module.exports = { BehavioralSource };
