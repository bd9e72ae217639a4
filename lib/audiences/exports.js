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

/** The syncs of a cohort whose files are among `names`, from the first to the last: { time, files: kind -> name }. */
function syncsOf(names, cohortId) {
  const syncs = new Map();
  for (const name of [...names].sort()) {
    const parsed = parseName(name, cohortId);
    if (parsed !== null) {
      const { sync, time, timeMillis, kind } = parsed;
      const entry = syncs.get(sync) ?? { sync, time, timeMillis, files: {} };
      entry.files[kind] = name;
      syncs.set(sync, entry);
    }
  }
  return [...syncs.values()].sort((a, b) => (a.sync < b.sync ? -1 : 1));
}

const lacks = ({ files }, kinds = KINDS) => kinds.filter((kind) => files[kind] === undefined);

/**
 * Choose the files that make up the members: { parts: [{ name, change }], timeMillis }, in the order in which they are to
 * be read; or { problem }.
 */
function choose(names, cohortId) {
  const syncs = syncsOf(names, cohortId);
  const base = syncs.findLastIndex((sync) => lacks(sync).length === 0);
  if (base === -1) {
    const last = syncs.at(-1);
    return {
      problem:
        last === undefined
          ? `no file of cohort ${cohortId} is in it`
          : `no sync in it is complete: of ${last.time} there is no file '${lacks(last)[0]}'`,
    };
  }
  const after = syncs.slice(base + 1);
  const end = after.findIndex((sync) => lacks(sync, ['entering', 'exiting']).length > 0);
  const used = [syncs[base], ...after.slice(0, end === -1 ? after.length : end)];
  const parts = used.flatMap(({ files }, index) =>
    KINDS.filter((kind) => index === 0 || kind !== 'existing').map((kind) => ({
      name: files[kind],
      change: CHANGES[kind],
    })),
  );
  if (parts.length > MAX_FILES) {
    return { problem: `more than ${MAX_FILES} files follow the last complete sync` };
  }
  return { parts, timeMillis: used.at(-1).timeMillis };
}

module.exports = { MAX_FILES, choose, parsePattern };
