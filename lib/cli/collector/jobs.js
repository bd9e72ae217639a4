'use strict';

/**
 * Work on all users of a store, in slices, so that uploads and other requests come in between. A result is kept until
 * the store has something new; whoever asks then gets the old one, if the new one takes longer than a moment.
 */

const SLICE_MILLIS = 8;
/** How long an answer waits for its result. */
const WAIT_MILLIS = 40;
const MAX_RESULTS = 20;
const MAX_WAITING = 10;

class Jobs {
  #store;
  #results = new Map(); // key -> { revision, text, job }
  #waiting = [];
  #running = null;

  constructor(store) {
    this.#store = store;
  }

  /**
   * Resolve to { text, isStale }: the text of a result, or of an older one, or null if there is none yet. `start`
   * returns the work: { add(person), again, finish() }: `again(person)`, which may be absent, is called of every user
   * after add() was called of all, and finish() returns the result.
   */
  async get(key, start) {
    const result = this.#result(key);
    const { revision } = this.#store;
    if (result.revision !== revision) {
      if (result.job === null) {
        this.#enqueue(result, start);
      }
      let timer;
      const wait = new Promise((resolve) => {
        timer = setTimeout(resolve, WAIT_MILLIS);
      });
      await Promise.race([result.job, wait]); // no job: it is over already
      clearTimeout(timer);
    }
    return { text: result.text, isStale: result.revision < revision };
  }

  #result(key) {
    const result = this.#results.get(key) ?? { revision: -1, text: null, job: null };
    this.#results.delete(key);
    this.#results.set(key, result); // the last one that was asked for is the last to go
    if (this.#results.size > MAX_RESULTS) {
      this.#results.delete(this.#results.keys().next().value);
    }
    return result;
  }

  #enqueue(result, start) {
    let resolve;
    result.job = new Promise((end) => {
      resolve = end;
    });
    if (this.#waiting.length === MAX_WAITING) {
      this.#end(this.#waiting.shift());
    }
    this.#waiting.push({ result, start, resolve });
    this.#next();
  }

  #end({ result, resolve }) {
    result.job = null;
    resolve();
  }

  #next() {
    if (this.#running === null && this.#waiting.length > 0) {
      this.#running = this.#waiting.shift();
      const { revision } = this.#store;
      const work = this.#running.start();
      this.#slice(work, work.add, this.#store.people()[Symbol.iterator](), revision, 0);
    }
  }

  #slice(work, add, people, revision, spentMillis) {
    const job = this.#running;
    const startedAt = performance.now();
    let [visit, users, isOver] = [add, people, false];
    try {
      while (!isOver && performance.now() - startedAt < SLICE_MILLIS) {
        isOver = visitSome(users, visit);
        if (isOver && visit === work.add && work.again !== undefined) {
          [visit, users, isOver] = [work.again, this.#store.people()[Symbol.iterator](), false];
        }
      }
      if (isOver) {
        job.result.text = work.finish(Math.round(spentMillis + performance.now() - startedAt));
        job.result.revision = revision;
      }
    } catch (error) {
      // A defect must not end the process; the answer will say that there is no result.
      job.result.text = JSON.stringify({ code: 500, error: error.message });
      isOver = true;
    }
    if (isOver) {
      this.#running = null;
      this.#end(job);
      this.#next();
    } else {
      const spent = spentMillis + performance.now() - startedAt;
      setImmediate(() => this.#slice(work, visit, users, revision, spent));
    }
  }
}

/** The clock is read once for so many users. */
const STEP = 32;

/** Return whether there are no more. */
function visitSome(people, visit) {
  for (let i = 0; i < STEP; i++) {
    const { done, value } = people.next();
    if (done) {
      return true;
    }
    visit(value);
  }
  return false;
}

module.exports = { Jobs };
