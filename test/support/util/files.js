'use strict';

const fs = require('node:fs');
const path = require('node:path');

/**
 * List the files below a folder whose names end in `suffix`: their paths in the folder, with slashes, sorted. The list
 * is empty when the folder does not exist.
 */
function filesBelow(folder, suffix = '') {
  const walk = (prefix) =>
    fs.readdirSync(path.join(folder, prefix), { withFileTypes: true }).flatMap((entry) => {
      const file = path.posix.join(prefix, entry.name);
      return entry.isDirectory() ? walk(file) : [file];
    });
  return fs.existsSync(folder)
    ? walk('')
        .filter((file) => file.endsWith(suffix))
        .sort()
    : [];
}

module.exports = { filesBelow };
