'use strict';

/**
 * Delivers on a runtime where a timer, a fetch and a promise belong to the request that made them, and end with it
 * without a sign.
 *
 * So there is no timer of the dispatcher's. Each request that decides stays, by waitUntil(), until nothing is pending: it
 * looks at what is due, sends it, and sleeps with a timer of its own. It never awaits what another request began. A send
 * that takes longer than it may is one whose request has ended: whoever is there takes its decisions over.
 */

const now = () => performance.now();
const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

/** A runtime lets a request stay for 30 s after its response. */
const STAY_MILLIS = 25_000;
/** How long an answer may be late, by the clock of another request. */
const GRACE_MILLIS = 1000;
const FIRST_PAUSE_MILLIS = 5;
const MAX_PAUSE_MILLIS = 100;

class Delivery {
  #timers = new Set(); // { call, at }
  #isNoted = false;
  #waitUntil;
  #requestMillis;
  #native = null;

  constructor(waitUntil, requestTimeoutMillis) {
    this.#waitUntil = waitUntil;
    this.#requestMillis = requestTimeoutMillis;
  }

  /** The dispatcher whose decisions are delivered. */
  serve(native) {
    this.#native = native;
  }

  /** A timer that is run by whichever request is there then. */
  startTimer(call, millis) {
    const timer = { call, at: now() + millis, unref() {}, stop: () => this.#timers.delete(timer) };
    this.#timers.add(timer);
    return timer;
  }

  /** A request has decided: have it stay. Once in a turn is enough. */
  note() {
    if (this.#isNoted) {
      return;
    }
    this.#isNoted = true;
    queueMicrotask(() => {
      this.#isNoted = false;
    });
    // Without a request, as when a module is imported, there is neither a timer nor waitUntil(): a later one delivers.
    const staying = this.until(() => this.#isIdle(), STAY_MILLIS, true).catch(() => {});
    try {
      this.#waitUntil?.(staying);
    } catch {
      // the same
    }
  }

  /**
   * Have `call` begin a flush. Returns a function that tells whether it is over: its promise may be resolved by another
   * request, which a runtime does not allow.
   */
  begin(call) {
    const before = this.#native.lastTicket;
    call();
    const ticket = this.#native.lastTicket;
    return () => ticket === before || !this.#native.isWaiting(ticket);
  }

  #isIdle() {
    return this.#native.stats().pending === 0 && this.#native.sendingSince === Infinity;
  }

  #runDue() {
    for (const timer of this.#timers) {
      if (timer.at <= now()) {
        this.#timers.delete(timer);
        timer.call();
      }
    }
    if (now() - this.#native.sendingSince > this.#requestMillis + GRACE_MILLIS) {
      this.#native.abandon();
    }
  }

  /**
   * Deliver until `isDone()`, for `millis` at most; with `mayLeave`, not for what is due only later than that. Rejects where
   * there is no request.
   */
  async until(isDone, millis, mayLeave = false) {
    const end = now() + millis;
    let pause = FIRST_PAUSE_MILLIS;
    // After the code that decides, and so after a response that does not wait for anything else.
    await sleep(0);
    for (;;) {
      this.#runDue();
      const time = now();
      const due = Math.min(...[...this.#timers].map(({ at }) => at), end);
      const isSending = this.#native.sendingSince !== Infinity;
      if (isDone() || time >= end || (mayLeave && !isSending && due >= end)) {
        return;
      }
      const least = isSending ? pause : MAX_PAUSE_MILLIS * 10;
      await sleep(Math.max(Math.min(due - time, least), 1));
      pause = isSending ? Math.min(2 * pause, MAX_PAUSE_MILLIS) : FIRST_PAUSE_MILLIS;
    }
  }
}

module.exports = { Delivery };
