'use strict';

/**
 * The source `file`: an export that something else replaces now and then. It is read again when it is another file, or
 * was written to, and it is as old as its last change.
 */

const { createHash } = require('node:crypto');
const fs = require('node:fs');

const MAX_NAME_LENGTH = 32;

class FileSource {
  name = 'file';

  /** What the table calls a cohort: it takes no long names. */
  nameOf(cohort) {
    return createHash('sha256').update(cohort.id).digest('hex').slice(0, MAX_NAME_LENGTH);
  }

  /** What to load for a cohort now; or its outcome, when that is known already. */
  async request(cohort, now) {
    let stat;
    try {
      stat = await fs.promises.stat(cohort.id);
    } catch (error) {
      return {
        outcome: { kind: 'failed', message: `the file cannot be read (${error.code})` },
      };
    }
    const version = `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeMs}`;
    if (cohort.knownVersionAt(now) === version) {
      return { outcome: { kind: 'unchanged', confirmedAt: stat.mtimeMs } };
    }
    const { mtimeMs } = stat;
    const load = { path: cohort.id, asOfMillis: Math.floor(mtimeMs) };
    return { load, version, lastModified: mtimeMs, confirmedAt: mtimeMs };
  }
}

module.exports = { FileSource };
