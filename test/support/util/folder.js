'use strict';

/** Folders for tests, which are removed when the file's tests have ended and nothing writes to them any more. */

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const folders = [];

/** Make an empty folder; `name` is a part of its own name. */
function makeFolder(name) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `oa-${name}-`));
  folders.push(folder);
  return folder;
}

// Hooks of a test run in the order in which they were set: one that removes a folder would come before those that
// close what writes to it.
process.on('exit', () => {
  for (const folder of folders) {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});

module.exports = { makeFolder };
