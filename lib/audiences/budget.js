'use strict';

/**
 * Counts the downloads of a month: Amplitude allows 500 for a project through its Behavioral Cohorts API. With a
 * snapshot they are counted in a file beside it, for all processes that use this directory: a line for each, which is
 * appended as a whole, so that none is lost. Months are those of UTC.
 */

const fs = require('node:fs');
const path = require('node:path');

const { reasonOf } = require('../reason.js');

const LIMIT = 500;

const monthOf = (time) => new Date(time).toISOString().slice(0, 'yyyy-mm'.length);

class Budget {
  #prefix; // of the path of a file; null: it is not kept
  #log;
  #own = { month: null, used: 0 }; // what this process has used, where it is not kept

  /** `snapshotPath` is that of the snapshot, or null. */
  constructor(snapshotPath, log) {
    this.#prefix =
      snapshotPath === null ? null : snapshotPath.replace(/\.snapshot$/, '.downloads-');
    this.#log = log;
  }

  /** What was used at a time: { month, used, limit }. */
  at(now) {
    const month = monthOf(now);
    const own = this.#own.month === month ? this.#own.used : 0;
    return { month, used: Math.max(own, this.#read(month)), limit: LIMIT };
  }

  hasRoom(now) {
    return this.at(now).used < LIMIT;
  }

  /** Count one. */
  take(now, cohortId) {
    const { month, used } = this.at(now);
    this.#own = { month, used: used + 1 };
    if (this.#prefix === null) {
      return;
    }
    try {
      fs.appendFileSync(this.#prefix + month, `${new Date(now).toISOString()} ${cohortId}\n`, {
        mode: 0o600,
      });
      if (used === 0) {
        this.#removeOthers(month);
      }
    } catch (error) {
      this.#log.warn(
        'downloads',
        `downloads cannot be counted in ${this.#prefix}${month}: ${reasonOf(error)}`,
      );
    }
  }

  #read(month) {
    if (this.#prefix === null) {
      return 0;
    }
    try {
      return fs.readFileSync(this.#prefix + month, 'utf8').split('\n').length - 1;
    } catch {
      return 0; // none was made yet, or take() tells what is wrong
    }
  }

  #removeOthers(month) {
    const directory = path.dirname(this.#prefix);
    const start = path.basename(this.#prefix);
    for (const name of fs.readdirSync(directory)) {
      if (name.startsWith(start) && name !== start + month) {
        fs.rmSync(path.join(directory, name), { force: true });
      }
    }
  }
}

module.exports = { LIMIT, Budget, monthOf };
