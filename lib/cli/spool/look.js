'use strict';

/** What is in the directory of a spool. Nothing in it is locked or changed: it may be in use. */

const fs = require('node:fs');
const path = require('node:path');

const { findOwners } = require('./owners.js');

/** As src/host/spool/files.h has them: the mark of the API key, the journal's id, and of a segment its number. */
const FILE = /^([0-9a-f]{16})-([0-9a-f]{32})(?:-([0-9a-f]+)\.journal|\.lock)$/;

/** Never waits, as a pipe of that name would have it. */
const READ_ONLY = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

/** Why a file is left alone, by what the addon takes it for. */
const REASONS = {
  'other version': 'another version of this package wrote it',
  'other order': 'a machine with another byte order wrote it',
  damaged: 'its first bytes are damaged',
};

/** What messages say in place of what the system says of a directory. */
const TROUBLES = {
  ENOENT: 'it does not exist',
  ENOTDIR: 'it is not a directory',
  EACCES: 'permission denied; run this as the user of the application',
};

const withReason = (directory, reason) => new Error(`${directory} cannot be read: ${reason}`);

/** The names in a directory that are those of a spool, by journal. */
function listJournals(directory) {
  let names;
  try {
    names = fs.readdirSync(directory);
  } catch (error) {
    throw withReason(directory, TROUBLES[error.code] ?? error.message);
  }
  const journals = new Map();
  for (const name of names.sort()) {
    const [, keyMark, id, number] = FILE.exec(name) ?? [];
    if (id === undefined) {
      continue;
    }
    if (!journals.has(id)) {
      journals.set(id, { id, keyMark, lock: `${keyMark}-${id}.lock`, files: [] });
    }
    if (number !== undefined) {
      journals.get(id).files.push(name);
    }
  }
  if (journals.size === 0 && names.length > 0) {
    throw new Error(`${directory} is not a spool: none of the files in it is a journal`);
  }
  return [...journals.values()];
}

/** Call `read` with the descriptor of a file; undefined if the file is gone. */
function withFile(file, read) {
  let descriptor;
  try {
    descriptor = fs.openSync(file, READ_ONLY);
  } catch (error) {
    if (error.code === 'ENOENT') {
      return undefined;
    }
    throw error;
  }
  try {
    return read(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** The state of a journal: 'in use', 'orphan', or 'without a lock', which no process takes over. */
function stateOf(Survey, directory, lock) {
  const isLocked = withFile(path.join(directory, lock), (fd) => Survey.isLocked(fd));
  return isLocked === undefined ? 'without a lock' : isLocked ? 'in use' : 'orphan';
}

/** The journals of a directory with their states and owners: [{ id, keyMark, lock, files, state, pids }]. */
function findJournals(Survey, directory) {
  const journals = listJournals(directory).map((journal) => ({
    ...journal,
    state: stateOf(Survey, directory, journal.lock),
  }));
  const owners = findOwners(
    journals.filter(({ state }) => state === 'in use').map(({ lock }) => lock),
  );
  return journals.map((journal) => ({ ...journal, pids: owners.get(journal.lock) ?? [] }));
}

/** A moment as text; null for what is none. */
function timeOf(millis) {
  const date = new Date(millis);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** Counts of several files, together. */
class Counts {
  decisions = 0;
  tracked = 0;
  repeats = 0;
  settled = 0;
  missing = 0;
  #oldest = Infinity;
  #newest = -Infinity;

  add({ decisions, tracked, repeats, settled, missing, oldest, newest }) {
    this.decisions += decisions;
    this.tracked += tracked;
    this.repeats += repeats;
    this.settled += settled;
    this.missing += missing;
    if (decisions + tracked > 0) {
      this.#oldest = Math.min(this.#oldest, oldest);
      this.#newest = Math.max(this.#newest, newest);
    }
  }

  report() {
    const { decisions, tracked, repeats, settled, missing } = this;
    return {
      pending: { decisions, tracked, repeats },
      settled,
      missing,
      oldest: timeOf(this.#oldest),
      newest: timeOf(this.#newest),
    };
  }
}

/** Read the files of a journal; `all` adds up what is in those of all. */
function readJournal(survey, directory, { id, keyMark, files, state, pids }, ownMark, all) {
  const counts = new Counts();
  const leftAlone = [];
  let readable = 0;
  let bytes = 0;
  for (const file of files) {
    try {
      withFile(path.join(directory, file), (fd) => {
        bytes += fs.fstatSync(fd).size;
        const found = survey.read(fd);
        if (Object.hasOwn(REASONS, found.state)) {
          leftAlone.push({ file, reason: REASONS[found.state] });
          return;
        }
        readable++;
        if (found.state === 'readable') {
          counts.add(found);
          all.add(found);
        }
      });
    } catch (error) {
      leftAlone.push({ file, reason: error.message });
    }
  }
  return {
    id,
    apiKeyMark: keyMark,
    isOwnKey: ownMark === null ? null : keyMark === ownMark,
    state,
    pids,
    files: readable + leftAlone.length,
    bytes,
    ...counts.report(),
    leftAlone,
  };
}

/** The type of an event, of which the addon has what stands between quotation marks in JSON. */
function typeOf(name) {
  try {
    return JSON.parse(`"${name ?? ''}"`);
  } catch {
    return name;
  }
}

const mostFirst = (name) => (one, other) => other[name] - one[name];

function describeSubjects({ subjects, variations }) {
  const rows = subjects.map((subject, index) => ({
    ...subject,
    variations: variations
      .filter((variation) => variation.subject === index && variation.pending > 0)
      .map(({ key, enabled, pending }) => ({ key, enabled, decisions: pending }))
      .sort(mostFirst('decisions')),
  }));
  const pending = rows.filter((row) => row.pending > 0).sort(mostFirst('pending'));
  return {
    flags: pending
      .filter(({ isTracked }) => !isTracked)
      .map((row) => ({
        key: row.name,
        decisions: row.pending,
        users: row.users,
        variations: row.variations,
      })),
    events: pending
      .filter(({ isTracked }) => isTracked)
      .map((row) => ({ type: typeOf(row.name), events: row.pending, users: row.users })),
  };
}

function describeUsers({ users, variations }) {
  return users.map(({ userId, deviceId, variation, time, pending }) => ({
    userId,
    deviceId,
    variation: variations[variation].key,
    enabled: variations[variation].enabled,
    time: timeOf(time),
    decisions: pending,
  }));
}

/**
 * Read a directory; throws an error that says why it cannot be read. `apiKey` tells which journals are its own, and
 * `flag` and `limit` whose users are listed, and how many: all may be undefined. docs/spool.md describes the result.
 */
function lookAt(Survey, directory, { apiKey, flag, limit }) {
  const ownMark = apiKey === undefined ? null : Survey.keyMark(apiKey);
  const survey = new Survey(flag, limit ?? 0);
  const all = new Counts();
  const journals = findJournals(Survey, directory)
    .map((journal) => readJournal(survey, directory, journal, ownMark, all))
    .filter(({ files, state }) => files > 0 || state === 'in use');
  const result = survey.result();
  const { flags, events } = describeSubjects(result);
  return {
    directory,
    time: new Date().toISOString(),
    ...all.report(),
    flags,
    events,
    unlisted: result.others,
    usersAreExact: !result.isAtLeast,
    ...(flag !== undefined && {
      users: {
        flag,
        total: flags.find(({ key }) => key === flag)?.users ?? 0,
        listed: describeUsers(result),
      },
    }),
    journals,
  };
}

module.exports = { findJournals, lookAt };
