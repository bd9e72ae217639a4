'use strict';

/**
 * A directory into which a job copies Amplitude's cohort exports from S3. Each sync of a cohort has three files:
 *
 *     123456_7khm89cz_2026-11-26T10-05_existing.csv    who is in it
 *     123456_7khm89cz_2026-11-26T10-05_entering.csv    who entered since the sync before
 *     123456_7khm89cz_2026-11-26T10-05_exiting.csv     who left since then
 *
 * and perhaps a routing key behind them. Amplitude does not say whether `existing` is before or after the others. Taken
 * together they have the same members either way: those of `existing`, with those who entered, without those who left.
 *
 * So the members are those of the latest sync with all three, changed by the syncs after it that have the last two, up to
 * the first that lacks one. What lies there says it all, in whatever order it came: nothing has to be remembered.
 */

const path = require('node:path');

/** What the ids of a file do to the cohort, in the order in which the files of a sync are read. */
const CHANGES = Object.freeze({ existing: 'replace', entering: 'enter', exiting: 'leave' });
const KINDS = Object.keys(CHANGES);
/** The addon reads no more at once. */
const MAX_FILES = 64;

/** Read the path of an export, such as `/data/*_7khm89cz_*`: { directory, cohortId }; null if it is none. */
function parsePattern(file) {
  const [, cohortId] = /^\*_([\w-]{1,64})_\*(?:\.csv(?:\.gz)?)?$/.exec(path.basename(file)) ?? [];
  return cohortId === undefined ? null : { directory: path.dirname(file), cohortId };
}

/** Read the name of a file: { sync, kind, timeMillis }; null if it is no export of this cohort. */
function parseName(name, cohortId) {
  const [project, rest] = [/^\d+_/.exec(name)?.[0], `${cohortId}_`];
  if (project === undefined || !name.startsWith(rest, project.length)) {
    return null;
  }
  const match =
    /^(\d{4}-\d\d-\d\d)T(\d\d)[:-](\d\d)((?:[:-]\d\d)?)_(entering|exiting|existing)((?:_.*)?)\.csv(?:\.gz)?$/.exec(
      name.slice(project.length + rest.length),
    );
  if (match === null) {
    return null;
  }
  const [, day, hour, minute, second, kind, routingKey] = match;
  const time = `${day}T${hour}:${minute}${second.replace('-', ':')}`;
  const timeMillis = Date.parse(`${time}Z`);
  return Number.isNaN(timeMillis)
    ? null
    : { sync: `${time} ${routingKey}`, time, kind, timeMillis };
}

/** Complete syncs that are kept. */
const KEPT = 2;
const FROM_THE_SECOND_ON = KINDS.filter((kind) => kind !== 'existing');

/**
 * The exports of one cohort that lie in a directory. Those of years are ten thousands of files, so what is older than two
 * complete syncs is not kept. The second is for the time in which files of the first are still written.
 */
class Exports {
  #cohortId;
  #syncs = new Map(); // time and routing key -> { sync, time, timeMillis, files: kind -> name }
  #complete = []; // the latest two of those that have all files, the latest first

  constructor(cohortId) {
    this.#cohortId = cohortId;
  }

  /** Add a file of the directory, if it is one of them. */
  add(name) {
    const parsed = parseName(name, this.#cohortId);
    if (parsed === null || parsed.sync < this.#complete[KEPT - 1]?.sync) {
      return;
    }
    const { kind, ...sync } = parsed;
    const entry = this.#syncs.get(sync.sync) ?? { ...sync, files: {} };
    this.#syncs.set(sync.sync, entry);
    if (entry.files[kind] === undefined || entry.files[kind] < name) {
      entry.files[kind] = name; // compressed or not, one of them is enough
    }
    if (KINDS.every((each) => entry.files[each] !== undefined)) {
      this.#note(entry);
    }
  }

  #note(entry) {
    if (this.#complete.includes(entry)) {
      return;
    }
    this.#complete.push(entry);
    this.#complete.sort((a, b) => (a.sync > b.sync ? -1 : 1));
    if (this.#complete.length > KEPT) {
      this.#syncs.delete(this.#complete.pop().sync);
    }
  }

  /**
   * Choose the files that make up the members, without those of the Set `busy`: { parts: [{ name, change }], timeMillis },
   * in the order in which they are to be read; or { problem }.
   */
  choose(busy) {
    const isThere = ({ files }, kind) => files[kind] !== undefined && !busy.has(files[kind]);
    const hasAll = (sync, kinds) => kinds.every((kind) => isThere(sync, kind));
    let base = null;
    let last = null;
    for (const sync of this.#syncs.values()) {
      last = last === null || sync.sync > last.sync ? sync : last;
      if ((base === null || sync.sync > base.sync) && hasAll(sync, KINDS)) {
        base = sync;
      }
    }
    if (base === null) {
      return {
        problem:
          last === null
            ? `no file of cohort ${this.#cohortId} is in it`
            : `no sync in it is complete: of ${last.time} there is no file '${KINDS.find((kind) => !isThere(last, kind))}'`,
      };
    }
    const after = [...this.#syncs.values()]
      .filter(({ sync }) => sync > base.sync)
      .sort((a, b) => (a.sync < b.sync ? -1 : 1));
    const end = after.findIndex((sync) => !hasAll(sync, FROM_THE_SECOND_ON));
    const used = after.slice(0, end === -1 ? after.length : end);
    const partsOf = ({ files }, kinds) =>
      kinds.map((kind) => ({ name: files[kind], change: CHANGES[kind] }));
    const parts = [
      ...partsOf(base, KINDS),
      ...used.flatMap((sync) => partsOf(sync, FROM_THE_SECOND_ON)),
    ];
    if (parts.length > MAX_FILES) {
      return { problem: `more than ${MAX_FILES} files follow the last complete sync` };
    }
    return { parts, timeMillis: (used.at(-1) ?? base).timeMillis };
  }
}

module.exports = { Exports, MAX_FILES, parsePattern };
