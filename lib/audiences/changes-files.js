'use strict';

/**
 * What messages have changed, beside the snapshot, for the next process: until a list has it, nobody else tells it again.
 *
 * Each process of a machine that gets messages has a file of its own, by the first number that no other process has: a
 * lock tells, which the kernel frees. A process that starts reads all of them. What is in them and was replaced by a list
 * since is ignored, so files that are left over do no harm.
 */

const fs = require('node:fs');

const { reasonOf } = require('../reason.js');

const SAVE_MILLIS = 1000;
const MAX_PROCESSES = 64;
/** The number of the lock in the addon's object. */
const CHANGES = 0;
/** As much as two overlays can have, with what is known of 100 cohorts. */
const MAX_BYTES = 8 * 1024 * 1024;

class ChangesFiles {
  #native;
  #path; // of all files, without a number
  #log;
  #saveMillis;
  #file = null; // of this process
  #isWanted = false; // something has changed since the last save
  #timer = null;
  #saving = Promise.resolve();

  /** `path` is where the files are, without their endings. */
  constructor(native, path, log, { saveMillis = SAVE_MILLIS } = {}) {
    this.#native = native;
    this.#path = path;
    this.#log = log;
    this.#saveMillis = saveMillis;
  }

  /** Go on with what processes have left. Call it after the snapshot was opened, and changes are taken. */
  resume() {
    for (const file of this.#files()) {
      this.#lock(file); // so that what is written there later has what is there now
      this.#read(file);
    }
  }

  /** Whether there is something to go on with. */
  get isEmpty() {
    return this.#files().length === 0;
  }

  /** Something has changed: write it soon. */
  touch() {
    this.#isWanted = true;
    if (this.#timer === null) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#saving = this.#save();
      }, this.#saveMillis);
      this.#timer.unref?.();
    }
  }

  /** Write what has changed; resolves when it is written. */
  async close() {
    clearTimeout(this.#timer);
    this.#timer = null;
    await this.#saving;
    await this.#save();
    this.#native.unlock(CHANGES);
  }

  #files() {
    const numbers = Array.from({ length: MAX_PROCESSES }, (_, number) => number);
    return numbers.map((number) => this.#fileOf(number)).filter((file) => fs.existsSync(file));
  }

  #fileOf(number) {
    return `${this.#path}.changes.${number}`;
  }

  /** Make a file that of this process, unless it has one, or another process has this one. */
  #lock(file) {
    if (this.#file === null && this.#native.lock(CHANGES, `${file}.lock`) === 'mine') {
      this.#file = file;
      return true;
    }
    return false;
  }

  #read(file) {
    let status;
    try {
      status =
        fs.statSync(file).size > MAX_BYTES
          ? 'too large'
          : this.#native.resume(fs.readFileSync(file));
    } catch (error) {
      status = error.code === 'ENOENT' ? 'ok' : reasonOf(error);
    }
    if (status !== 'ok') {
      this.#log.warn('resume', `changes of the webhook in ${file} are not used: ${status}`);
    }
  }

  /** Have a file. */
  #take() {
    for (let number = 0; this.#file === null && number < MAX_PROCESSES; number++) {
      const file = this.#fileOf(number);
      if (this.#lock(file)) {
        this.#read(file); // of a process that began and ended since this one began
      }
    }
    if (this.#file === null) {
      throw new Error(`no file for them can be locked, or ${MAX_PROCESSES} processes have one`);
    }
  }

  /** Write the file beside, and rename it. Never rejects. */
  async #save() {
    if (!this.#isWanted) {
      return;
    }
    this.#isWanted = false;
    try {
      this.#take();
      const bytes = this.#native.save();
      const other = `${this.#file}.new`; // of this process alone
      await fs.promises.writeFile(other, bytes, { mode: 0o600 });
      await fs.promises.rename(other, this.#file);
    } catch (error) {
      this.#log.warn(
        'save',
        `what the webhook changed is not kept for the next process: ${reasonOf(error)}`,
      );
    }
  }
}

module.exports = { ChangesFiles };
