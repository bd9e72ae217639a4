'use strict';

/**
 * One process of a machine whose processes have one snapshot directory: one of them asks the source, and writes the
 * snapshot; the others map it, and read from a file beside it what is known of each cohort.
 *
 * The process that asks has a lock, which the kernel frees when that process is gone. If it says nothing for long, as when it is
 * stopped, or its disk is full, each of the others asks for itself, as without a snapshot.
 */

const fs = require('node:fs');

const { reasonOf } = require('../reason.js');
const { isState } = require('./cohort.js');

const LOOK_MILLIS = 1000;
const JITTER = 0.25;
/** As so many intervals of the source last, and no less than that, nothing has to be said. */
const SILENT_INTERVALS = 3;
const MIN_SILENCE_MILLIS = 30_000;
/** The number of the lock in the addon's object. */
const LOCK = 1;

/** By what a file differs from the one that it replaced; null when there is none. */
function identityOf(file) {
  try {
    const { ino, size, mtimeMs } = fs.statSync(file);
    return `${ino}:${size}:${mtimeMs}`;
  } catch {
    return null;
  }
}

class Machine {
  #native;
  #refresher;
  #cohorts;
  #log;
  #onFollow;
  #snapshotPath;
  #path; // of the lock and the state, without their endings
  #lookMillis;
  #silenceMillis;
  #isAsking = false; // this process asks the source
  #isLeader = false; // and has the lock
  #isAlone = false; // there can be no lock
  #mapped = null; // the snapshot that is in use, if another process has written it
  #text = ''; // the state that was read last
  #heardAt = performance.now();
  #timer = null;
  #isFileGood; // the snapshot has what this process has
  #isWritten = true;
  #writing = Promise.resolve();
  #isStopped = false;

  /**
   * `onFollow(cohort, state, size)` is called with what the process says that asks, where `size` is undefined unless the
   * members are others. `path` is where the files are, the same for the same cohorts. `pace`: { pollMillis,
   * silenceMillis } for tests.
   */
  constructor(
    { native, refresher, cohorts, options, snapshotPath, path, log, pace = {} },
    onFollow,
  ) {
    this.#native = native;
    this.#refresher = refresher;
    this.#cohorts = cohorts;
    this.#log = log;
    this.#onFollow = onFollow;
    this.#snapshotPath = snapshotPath;
    this.#path = path;
    // What is known now is what the snapshot has.
    this.#isFileGood = true;
    this.#lookMillis = pace.pollMillis ?? LOOK_MILLIS;
    this.#silenceMillis =
      pace.silenceMillis ??
      Math.max(MIN_SILENCE_MILLIS, SILENT_INTERVALS * options.pollIntervalMillis);
    this.#tryLock();
  }

  /** Whether the refresher is to wait for resume(). */
  get isHeld() {
    return !this.#isAsking;
  }

  start() {
    if (!this.#isAlone && !this.#isLeader) {
      this.#lookSoon(0);
    }
  }

  /** Tell the others what a refresh, or a merge, came to. What is not in the snapshot cannot be told. */
  changed({ end, kind, snapshotError }) {
    if (end === 'loaded' || kind === 'loaded') {
      this.#isFileGood = !snapshotError;
    }
    if (this.#isLeader && this.#isFileGood && this.#isWritten) {
      this.#isWritten = false;
      this.#writing = this.#writing.then(() => this.#write());
    }
  }

  async stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#writing;
    this.#native.unlock(LOCK);
  }

  /** Ask the source from now on, if nobody else does, or nobody can tell. */
  #tryLock() {
    const lock = this.#native.lock(LOCK, `${this.#path}.lock`);
    if (lock !== 'taken') {
      this.#isLeader = lock === 'mine';
      this.#isAlone = lock === 'none';
      this.#ask();
    }
  }

  #ask() {
    this.#isAsking = true;
    this.#refresher.resume();
  }

  #lookSoon(millis) {
    if (!this.#isStopped) {
      const wait = millis * (1 - JITTER + 2 * JITTER * Math.random());
      this.#timer = setTimeout(() => this.#look(), wait);
      this.#timer.unref?.();
    }
  }

  async #look() {
    try {
      await this.#follow();
    } catch (error) {
      this.#log.debug(`the snapshot of another process is not used: ${reasonOf(error)}`);
    }
    if (this.#isStopped) {
      return;
    }
    if (!this.#isLeader) {
      this.#tryLock();
    }
    if (this.#isLeader || this.#isAlone) {
      return;
    }
    const isSilent = performance.now() - this.#heardAt > this.#silenceMillis;
    if (isSilent && !this.#isAsking) {
      this.#log.warn(
        'machine',
        'the process that asks the source of cohorts for this machine says nothing: this one asks for itself',
      );
      this.#ask();
    } else if (!isSilent && this.#isAsking) {
      this.#isAsking = false;
      this.#refresher.hold();
    }
    this.#lookSoon(this.#lookMillis);
  }

  /** Take what the process says that asks. */
  async #follow() {
    const text = await fs.promises.readFile(`${this.#path}.state`, 'utf8').catch(() => '');
    if (text === this.#text || text === '') {
      return;
    }
    const { file, cohorts } = JSON.parse(text);
    if (cohorts?.length !== this.#cohorts.length || !cohorts.every(isState)) {
      throw new Error('what is said of it was not written by this version of the package');
    }
    let members = [];
    if (file !== null && file !== this.#mapped) {
      let report = null;
      await this.#refresher.perform('map', async () => {
        const isThis = identityOf(this.#snapshotPath) === file;
        report = isThis ? await this.#native.map() : { message: 'there is a later one' };
      });
      if (this.#isStopped || report?.end !== 'loaded') {
        throw new Error(report?.message ?? 'it is closed');
      }
      this.#mapped = identityOf(this.#snapshotPath) === file ? file : null;
      const growth = this.#native.growth();
      members = report.members.map((count, slot) => (count === null ? null : count + growth[slot]));
    }
    if (file === null || this.#mapped === file) {
      this.#text = text;
      this.#heardAt = performance.now();
      for (const cohort of this.#cohorts) {
        if (file !== null || !cohort.isLoaded) {
          this.#onFollow(cohort, cohorts[cohort.slot], members[cohort.slot]);
        }
      }
    }
  }

  /** Write what is known. Never rejects. */
  async #write() {
    this.#isWritten = true;
    const file = this.#cohorts.some((cohort) => cohort.isLoaded)
      ? identityOf(this.#snapshotPath)
      : null;
    const text = JSON.stringify({ file, cohorts: this.#cohorts.map((each) => each.toState()) });
    try {
      await fs.promises.writeFile(`${this.#path}.state.new`, text, { mode: 0o600 });
      await fs.promises.rename(`${this.#path}.state.new`, `${this.#path}.state`);
    } catch (error) {
      this.#log.debug(`other processes of the machine are not told: ${reasonOf(error)}`);
    }
  }
}

module.exports = { Machine };
