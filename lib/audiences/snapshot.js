'use strict';

/** Where the members are kept for the next process: one file for each project in a directory of the application. */

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { reasonOf } = require('../reason.js');

const HASH_LENGTH = 16;
const NAMES_HASH_LENGTH = 8;
/** What a process left behind that was killed while it wrote. None takes so long. */
const LEFT_BEHIND_MILLIS = 60 * 60 * 1000;

/** Make a directory and its parents. Node 20 never ends where none can be made, as below /proc, if it is to make all. */
function makeDirectory(directory) {
  if (fs.existsSync(directory)) {
    return;
  }
  makeDirectory(path.dirname(directory));
  try {
    fs.mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (error.code !== 'EEXIST') {
      throw error; // another process may have made it meanwhile
    }
  }
}

/** Return the path of the file, after its directory was made; null without one. */
function snapshotPath({ snapshot, source, serverUrl, apiKey }, log) {
  if (snapshot === null) {
    return null;
  }
  const { directory } = snapshot;
  const project = createHash('sha256')
    .update(JSON.stringify([source, serverUrl, apiKey]))
    .digest('hex')
    .slice(0, HASH_LENGTH);
  try {
    makeDirectory(directory);
    removeLeftBehind(directory);
  } catch (error) {
    log.warn('snapshot', `no snapshot can be kept in ${directory}: ${reasonOf(error)}`);
  }
  return path.join(directory, `cohorts-${project}.snapshot`);
}

/** Where files beside a snapshot are, without their endings: others for other cohorts, which they know by their order. */
function pathBeside(snapshot, names) {
  const hash = createHash('sha256').update(JSON.stringify(names)).digest('hex');
  return `${snapshot.replace(/\.snapshot$/, '')}-${hash.slice(0, NAMES_HASH_LENGTH)}`;
}

function removeLeftBehind(directory) {
  for (const name of fs.readdirSync(directory)) {
    const file = path.join(directory, name);
    if (
      /^cohorts-.*\.tmp$/.test(name) &&
      Date.now() - fs.statSync(file).mtimeMs > LEFT_BEHIND_MILLIS
    ) {
      fs.rmSync(file, { force: true });
    }
  }
}

/** Why a snapshot is not used, by the addon's status; null when there simply is none. */
function refusalOf(status) {
  switch (status) {
    case 'unavailable':
      return null;
    case 'malformed':
      return 'it is damaged';
    case 'foreign':
      return 'it was made with another key, or by another version of this package';
    default:
      return status;
  }
}

module.exports = { pathBeside, refusalOf, snapshotPath };
