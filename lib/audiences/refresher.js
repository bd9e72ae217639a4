'use strict';

/**
 * Refreshes cohorts, one after another, each when it is due: pollIntervalMillis after it was confirmed, with a jitter,
 * so that the processes of a fleet do not ask at the same moment; after a failure with an exponential back-off; and as
 * a server's Retry-After says.
 */

const { reasonOf } = require('../reason.js');
const { FORMATS, trust } = require('./native.js');

const FIRST_RETRY_MILLIS = 1000;
const MAX_RETRY_MILLIS = 5 * 60 * 1000;
/** The longest Retry-After that is believed: a server that means more says it again. */
const MAX_RETRY_AFTER_MILLIS = 60 * 60 * 1000;
/** The next try of what is refused until it is changed. */
const REFUSED_MILLIS = 5 * 60 * 1000;
/** By so much more than an interval is waited at most. */
const JITTER = 0.2;
/** The longest sleep of a timer. */
const MAX_SLEEP_MILLIS = 24 * 60 * 60 * 1000;

class Refresher {
  #native;
  #source;
  #options;
  #log;
  #onOutcome;
  #random;
  #clock; // monotonic, in ms
  #sleep; // (millis, onWake) -> a promise; onWake gets a function that ends it
  #due = new Map(); // cohort -> when, by #clock()
  #pausedUntil = 0; // for all cohorts
  #isStopped = false;
  #wake = null; // ends the sleep
  #running = null;
  #isHeld = false;
  #untried; // cohorts that were not asked for yet
  #tasks = new Map(); // name -> { perform, isPatient, promise, resolve }
  #onMerge;

  /**
   * `onOutcome(cohort, outcome)` is called after each refresh, and `onMerge()` has to merge. Tests have a time and a
   * chance of their own.
   */
  constructor(
    { native, source, options, log, onOutcome, onMerge },
    { random = Math.random, clock = () => performance.now(), sleep = sleepQuietly } = {},
  ) {
    this.#native = native;
    this.#source = source;
    this.#options = options;
    this.#log = log;
    this.#onOutcome = onOutcome;
    this.#onMerge = onMerge;
    this.#random = random;
    this.#clock = clock;
    this.#sleep = sleep;
  }

  /** `isHeld`: ask for nothing before resume(). */
  start(cohorts, { isHeld = false } = {}) {
    cohorts.forEach((cohort) => this.#due.set(cohort, 0));
    this.#untried = new Set(cohorts);
    this.#isHeld = isHeld;
    this.#running = this.#run();
  }

  /** Ask for nothing; what is under way ends by itself. */
  hold() {
    this.#isHeld = true;
  }

  resume() {
    this.#isHeld = false;
    this.#wake?.();
  }

  /** Merge the changes into the table, as soon as no load is under way; resolves when that is over. Never rejects. */
  merge() {
    return this.perform('merge', async () => {
      try {
        await this.#onMerge();
      } catch (error) {
        this.#log.warn('merge', `changes of the webhook are not merged: ${reasonOf(error)}`);
      }
    });
  }

  /**
   * Do something for which the table must stay as it is, as soon as no load is under way; resolves when that is over.
   * What has the same name and was not begun is done once. A task that `isPatient` comes after the first refresh of
   * each cohort. `task` never rejects.
   */
  perform(name, task, { isPatient = false } = {}) {
    if (this.#isStopped) {
      return Promise.resolve();
    }
    if (!this.#tasks.has(name)) {
      let resolve;
      const promise = new Promise((settle) => {
        resolve = settle;
      });
      this.#tasks.set(name, { task, isPatient, promise, resolve });
      this.#wake?.();
    }
    return this.#tasks.get(name).promise;
  }

  /** Stop, and cancel the load that is under way; resolves when nothing goes on any more. */
  async stop() {
    this.#isStopped = true;
    this.#wake?.();
    this.#native.cancel();
    await this.#running;
    this.#tasks.forEach(({ resolve }) => resolve());
  }

  async #run() {
    while (!this.#isStopped) {
      const [cohort, due] = this.#next();
      const wait = Math.max(due, this.#pausedUntil) - this.#clock();
      const name = this.#nextTask(wait <= 0 && this.#untried.has(cohort));
      if (name !== undefined) {
        await this.#performNow(name);
      } else if (wait > 0) {
        await this.#sleep(Math.min(Math.ceil(wait), MAX_SLEEP_MILLIS), (wake) => {
          this.#wake = wake;
        });
      } else {
        await this.#refresh(cohort);
      }
    }
  }

  #nextTask(isFirstDue) {
    return [...this.#tasks.keys()].find((name) => !(isFirstDue && this.#tasks.get(name).isPatient));
  }

  async #performNow(name) {
    const { task, resolve } = this.#tasks.get(name);
    this.#tasks.delete(name); // what is wanted from now on is another one
    await task();
    resolve();
  }

  #next() {
    let next = [null, Infinity];
    for (const entry of this.#isHeld ? [] : this.#due) {
      if (entry[1] < next[1]) {
        next = entry;
      }
    }
    return next;
  }

  async #refresh(cohort) {
    this.#untried.delete(cohort);
    let outcome;
    try {
      outcome = await this.#load(cohort);
    } catch (error) {
      outcome = { kind: 'failed', message: reasonOf(error) };
    }
    if (this.#isStopped) {
      return;
    }
    if (outcome.kind === 'waiting') {
      this.#due.set(cohort, this.#clock() + outcome.delayMillis); // nothing has come of it yet
      return;
    }
    this.#onOutcome(cohort, outcome);
    const delay = this.#delayAfter(cohort, outcome);
    this.#due.set(cohort, this.#clock() + delay);
    if (outcome.isForAll) {
      this.#pausedUntil = this.#clock() + delay;
    }
  }

  async #load(cohort) {
    const now = Date.now();
    const request = await this.#source.request(cohort, now);
    if (request.outcome !== undefined || this.#isStopped) {
      return request.outcome;
    }
    trust(this.#native, this.#log);
    const report = await this.#native.load({
      ...request.load,
      cohort: cohort.slot,
      format: FORMATS[request.load.format ?? cohort.format],
      maxMembers: this.#options.maxMembers,
      minMembers: cohort.minMembersAt(now),
    });
    return { ...this.#read(report, request, cohort), durationMillis: report.durationMillis };
  }

  /** What a load came to. */
  #read(report, request, cohort) {
    const { before, entered, left, bytes, skipped, statusCode, snapshotError } = report;
    const size = report.size + (report.surviving ?? 0);
    const version = request.version ?? (report.lastModified || null);
    const lastModified = request.lastModified ?? (report.lastModified || null);
    switch (report.end) {
      case 'loaded':
      case 'held': {
        const { confirmedAt } = request;
        const members = { size, before, entered, left, bytes, skipped, snapshotError };
        if (report.end === 'loaded' && report.isAll === false) {
          this.merge(); // which counts the members
        }
        return { kind: report.end, ...members, version, lastModified, confirmedAt, statusCode };
      }
      case 'answered':
        return this.#source.read(report, request, cohort);
      case 'outdated':
        return { kind: 'failed', message: 'messages of the webhook are later than it', statusCode };
      case 'too_many':
        return { kind: 'refused', message: 'it has more members than maxMembers', statusCode };
      case 'malformed':
        return { kind: 'failed', message: `that is no cohort: ${report.message}`, statusCode };
      default:
        return { kind: 'failed', message: report.message, statusCode };
    }
  }

  #delayAfter(cohort, { kind, retryAfterMillis = 0 }) {
    const { pollIntervalMillis } = this.#options;
    let delay = pollIntervalMillis;
    if (kind === 'failed') {
      const first = Math.min(FIRST_RETRY_MILLIS, pollIntervalMillis);
      const most = Math.max(MAX_RETRY_MILLIS, pollIntervalMillis);
      // Between half of it and all of it.
      delay = Math.min(first * 2 ** (cohort.failures - 1), most) / (1 + this.#random());
    } else if (kind === 'refused') {
      delay = Math.max(REFUSED_MILLIS, pollIntervalMillis);
    }
    return (
      Math.max(delay, Math.min(retryAfterMillis, MAX_RETRY_AFTER_MILLIS)) *
      (1 + JITTER * this.#random())
    );
  }
}

/** Sleep, and keep nothing alive. */
function sleepQuietly(millis, onWake) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, millis);
    timer.unref?.(); // fake timers may return something else
    onWake(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

module.exports = { Refresher };
