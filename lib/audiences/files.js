'use strict';

/**
 * The source `file`: an export that something else replaces now and then, or a directory into which a job copies one
 * export after another (exports.js). It is read again when its files are others, or were written to, and it is as old
 * as their last change.
 */

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { Exports } = require('./exports.js');

const MAX_NAME_LENGTH = 32;
/** A file of a directory that was written to since may still be copied. */
const QUIET_MILLIS = 5000;
/** Names of a directory that are read at once. */
const NAMES = 256;

const failed = (what, error) => ({
  outcome: { kind: 'failed', message: `${what} cannot be read (${error.code})` },
});

const versionOf = ({ dev, ino, size, mtimeMs }) => `${dev}:${ino}:${size}:${mtimeMs}`;

class FileSource {
  name = 'file';
  #quietMillis;
  #fresh = new Map(); // cohort -> the files that were new at its last look: path -> { version, since }

  constructor({ pollIntervalMillis }) {
    this.#quietMillis = Math.min(QUIET_MILLIS, pollIntervalMillis);
  }

  /** What the table calls a cohort: it takes no long names. */
  nameOf(cohort) {
    return createHash('sha256').update(cohort.id).digest('hex').slice(0, MAX_NAME_LENGTH);
  }

  /** What to load for a cohort now; or its outcome, when that is known already. */
  request(cohort, now) {
    return cohort.exports === undefined
      ? this.#requestFile(cohort, now)
      : this.#requestExports(cohort, now);
  }

  async #requestFile(cohort, now) {
    let stat;
    try {
      stat = await fs.promises.stat(cohort.id);
    } catch (error) {
      return failed('the file', error);
    }
    return this.#load(cohort, now, {
      files: [{ file: cohort.id, change: 'replace', stat }],
      timeMillis: stat.mtimeMs,
    });
  }

  async #requestExports(cohort, now) {
    const { directory, cohortId } = cohort.exports;
    const exports = new Exports(cohortId);
    try {
      // Some names at a time, so that many do not hold the loop.
      for await (const { name } of await fs.promises.opendir(directory, { bufferSize: NAMES })) {
        exports.add(name);
      }
    } catch (error) {
      return failed('the directory', error);
    }
    const before = this.#fresh.get(cohort) ?? new Map();
    const fresh = new Map();
    this.#fresh.set(cohort, fresh);
    const isBusy = new Set();
    for (;;) {
      const { parts, timeMillis, problem } = exports.choose(isBusy);
      if (problem !== undefined) {
        return isBusy.size > 0
          ? { outcome: { kind: 'waiting', delayMillis: this.#quietMillis } }
          : { outcome: { kind: 'failed', message: problem } };
      }
      let files;
      try {
        files = await Promise.all(
          parts.map(async ({ name, change }) => {
            const file = path.join(directory, name);
            return { name, file, change, stat: await fs.promises.stat(file) };
          }),
        );
      } catch (error) {
        return failed('a file of the directory', error); // it was there a moment ago
      }
      const busy = files.filter(({ file, stat }) => this.#isNew(before, fresh, file, stat, now));
      if (busy.length === 0) {
        return this.#load(cohort, now, { files, timeMillis });
      }
      busy.forEach(({ name }) => isBusy.add(name)); // and see what there is without them
    }
  }

  /** Whether a file was written to so recently that it may still be copied. */
  #isNew(before, fresh, file, stat, now) {
    if (now - stat.mtimeMs >= QUIET_MILLIS) {
      return false;
    }
    const version = versionOf(stat);
    const last = before.get(file) ?? fresh.get(file);
    const since = last?.version === version ? last.since : performance.now();
    fresh.set(file, { version, since });
    return performance.now() - since < this.#quietMillis;
  }

  /** Load files, unless they are those that are known. They are as old as the last one, and as `timeMillis`. */
  #load(cohort, now, { files, timeMillis }) {
    const version = files.map(({ file, stat }) => `${file}:${versionOf(stat)}`).join('\n');
    const written = Math.max(...files.map(({ stat }) => stat.mtimeMs));
    const confirmedAt = Math.min(written, timeMillis);
    if (cohort.knownVersionAt(now) === version) {
      return { outcome: { kind: 'unchanged', confirmedAt } };
    }
    const load = {
      files: files.map(({ file }) => file),
      changes: files.map(({ change }) => change),
      asOfMillis: Math.floor(confirmedAt),
    };
    return { load, version, lastModified: confirmedAt, confirmedAt };
  }
}

module.exports = { FileSource };
