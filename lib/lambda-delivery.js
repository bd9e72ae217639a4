'use strict';

/**
 * When an invocation of a function flushes, and how long it waits for that.
 *
 * Every millisecond is billed and delays an answer, so a server that fails is not waited for by each invocation: the
 * first flush that meets it takes its whole time, and from then on an invocation tries once, for PROBE_MILLIS at most,
 * until a try succeeds.
 */

const { MAX_TIMER_MILLIS } = require('./checks.js');
const { createLog } = require('./log.js');
const { reasonOf } = require('./reason.js');
const { SETTINGS } = require('./settings.js');
const { nameRecords } = require('./text.js');

const DEFAULT_TIMEOUT_MILLIS = 1500;
const PROBE_MILLIS = 500;
/** A try takes the whole time this often all the same: over a slow link, none of PROBE_MILLIS would ever succeed. */
const WHOLE_TRY_INTERVAL_MILLIS = 5 * 60_000;
/** With less time than this a handler that is still running is not flushed any more. */
const MIN_EARLY_MILLIS = 100;

const EXPIRED = Symbol('expired');

/** What the invocations of one wrapped handler have in common. */
class Delivery {
  #source; // a dispatcher, or a function that returns one
  #timeoutMillis;
  #marginMillis;
  #log = createLog(); // for what goes wrong without a dispatcher
  #isFailing = false;
  #deliveredBefore = 0; // delivered when the try failed: once it is more, another one has succeeded
  #wholeTryAt = -Infinity;
  #isTold = false;

  constructor(source, { timeoutMillis, marginMillis }) {
    this.#source = source;
    this.#timeoutMillis = timeoutMillis;
    this.#marginMillis = marginMillis;
  }

  /** `context` is Lambda's, or undefined: then the time of the invocation is not limited. */
  begin(context) {
    return new Invocation(this, context);
  }

  get isFailing() {
    return this.#isFailing;
  }

  /** The longest time of a flush, as far as it is known without a dispatcher. */
  get wholeMillis() {
    return this.#timeoutMillis ?? DEFAULT_TIMEOUT_MILLIS;
  }

  /** The time that a flush may take. */
  timeLeft(context) {
    if (context === undefined) {
      return Infinity;
    }
    try {
      return Math.max(Number(context.getRemainingTimeInMillis()) - this.#marginMillis, 0) || 0;
    } catch {
      return 0;
    }
  }

  /** Flush within `left` milliseconds. Returns null when there is nothing to wait for; neither throws nor rejects. */
  flush(left) {
    try {
      const dispatcher = typeof this.#source === 'function' ? this.#source() : this.#source;
      return typeof dispatcher?.then === 'function'
        ? this.#flushLate(dispatcher, left)
        : this.#flushNow(dispatcher, left);
    } catch (error) {
      this.#warn(error);
      return null;
    }
  }

  /** Flush the dispatcher that a promise brings, unless it takes longer than a flush may. */
  async #flushLate(promise, left) {
    const started = performance.now();
    const limit = Math.min(this.#isFailing ? PROBE_MILLIS : this.wholeMillis, left);
    let timer;
    const expired = new Promise((resolve) => {
      timer = setTimeout(resolve, limit, EXPIRED);
    });
    try {
      const dispatcher = await Promise.race([promise, expired]);
      if (dispatcher === EXPIRED) {
        this.#isFailing = true;
      } else {
        await this.#flushNow(dispatcher, left - (performance.now() - started));
      }
    } catch (error) {
      this.#warn(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #flushNow(dispatcher, left) {
    if (dispatcher === undefined || dispatcher === null) {
      return null;
    }
    // A flush of nothing is not waited for, but it warns of a client that has no datafile yet.
    const stats = dispatcher.stats?.();
    const isEmpty = stats !== undefined && pendingOf(stats) === 0;
    const tried = this.#try(dispatcher, left);
    return isEmpty ? null : tried;
  }

  async #try(dispatcher, left) {
    try {
      const { log = this.#log, timeoutMillis: own = Infinity } = dispatcher[SETTINGS] ?? {};
      const whole = this.#timeoutMillis ?? Math.min(DEFAULT_TIMEOUT_MILLIS, own);
      const limit = Math.min(this.#limit(dispatcher, whole), left);
      const timeoutMillis = Math.max(Math.floor(limit), 0);
      const report = (await dispatcher.flush({ timeoutMillis, abort: true })) ?? {};
      this.#judge(report, dispatcher, timeoutMillis, Math.min(PROBE_MILLIS, whole));
      this.#tell(report, dispatcher.stats?.(), log);
    } catch (error) {
      this.#warn(error);
    }
  }

  /** The time of a try: the whole, or while the server fails that of a probe. */
  #limit(dispatcher, whole) {
    if (this.#isFailing && deliveredBy(dispatcher) > this.#deliveredBefore) {
      this.#isFailing = false;
    }
    const now = performance.now();
    if (this.#isFailing && now - this.#wholeTryAt < WHOLE_TRY_INTERVAL_MILLIS) {
      return Math.min(PROBE_MILLIS, whole);
    }
    this.#wholeTryAt = now;
    return whole;
  }

  /** Decide from a flush whether the server fails. What is pending although it does not, waits for its time. */
  #judge({ pending, durationMillis }, dispatcher, timeoutMillis, enoughMillis) {
    const ranOut = durationMillis >= timeoutMillis;
    if (!(pending > 0)) {
      this.#isFailing = false;
    } else if (dispatcher.stats?.().health !== 'ok' || (ranOut && timeoutMillis >= enoughMillis)) {
      this.#isFailing = true;
      this.#deliveredBefore = deliveredBy(dispatcher);
    } else if (!ranOut) {
      this.#isFailing = false;
    }
  }

  /** Say what is pending: once, until nothing is. */
  #tell({ pending, durationMillis }, stats, log) {
    if (pending > 0 && !this.#isTold) {
      log.warn(
        'withFlush',
        `withFlush(): ${pending} ${nameRecords(pending, stats)} ${pending === 1 ? 'is' : 'are'} pending after ` +
          `${durationMillis} ms, and will be delivered in a later invocation of this process, if there is one; ` +
          'logged once until nothing is pending',
      );
    }
    this.#isTold = pending > 0;
  }

  #warn(error) {
    this.#log.warn('withFlush', `withFlush(): the flush failed: ${reasonOf(error)}`);
  }
}

/** One invocation: flushed while its handler runs, when the time is nearly up, and at its end. */
class Invocation {
  #delivery;
  #context;
  #timer = null;
  #early = null; // the last flush before the end, if there was something to wait for
  #isOver = false;

  constructor(delivery, context) {
    this.#delivery = delivery;
    this.#context = context;
    this.#watch();
  }

  /** The handler is done. Returns null when there is nothing to wait for, and otherwise a promise that never rejects. */
  end() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    return this.#flush();
  }

  /** While the server fails, there is one try an invocation. */
  #flush() {
    return this.#early !== null && this.#delivery.isFailing
      ? this.#early
      : this.#delivery.flush(this.#delivery.timeLeft(this.#context));
  }

  /**
   * Flush before the time is up, with as much of it left as a flush may take, or half of it; and again with half of
   * the rest, because a handler that is killed may have decided more.
   */
  #watch() {
    const left = this.#delivery.timeLeft(this.#context);
    if (this.#isOver || left < MIN_EARLY_MILLIS || left > MAX_TIMER_MILLIS) {
      return;
    }
    const share = Math.min(this.#delivery.wholeMillis, left / 2);
    this.#timer = setTimeout(async () => {
      this.#early = this.#flush();
      await this.#early;
      this.#watch();
    }, left - share).unref();
  }
}

/** Sum a count over decisions and the application's own events. */
const sumOf = ({ decisions, tracked }, name) => decisions[name] + (tracked?.[name] ?? 0);

const pendingOf = (stats) => sumOf(stats, 'pending');

const deliveredBy = (dispatcher) => {
  const stats = dispatcher.stats?.();
  return stats === undefined ? 0 : sumOf(stats, 'delivered');
};

module.exports = { Delivery };
