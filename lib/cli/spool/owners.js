'use strict';

/** Which processes have files of these names open: their locks tell that a process has them, and not which. */

const fs = require('node:fs');
const path = require('node:path');

const PROC = '/proc';

/** The entries of a folder; none if it cannot be read: it is another user's, or its process has ended. */
function list(folder) {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

function target(link) {
  try {
    return fs.readlinkSync(link);
  } catch {
    return '';
  }
}

/**
 * Return the ids of processes by name of file, as far as this process may see them. The names are random, so a folder
 * that is mounted elsewhere does not matter.
 */
function findOwners(names) {
  const owners = new Map(names.map((name) => [name, []]));
  if (names.length === 0) {
    return owners;
  }
  for (const pid of list(PROC).filter((name) => /^\d+$/.test(name))) {
    const folder = path.join(PROC, pid, 'fd');
    const open = new Set(
      list(folder).map((each) => path.basename(target(path.join(folder, each)))),
    );
    names.filter((name) => open.has(name)).forEach((name) => owners.get(name).push(Number(pid)));
  }
  return owners;
}

module.exports = { findOwners };
