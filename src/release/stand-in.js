'use strict';

/**
 * Stand-ins for shared libraries that are not linked here but found where the addon runs: they define the same names, as
 * empty functions.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

/** Make the shared library `file` with a compiler, [program, ...arguments]; `soname` is what a user of it will ask for. */
function makeStandIn(file, names, [program, ...args], soname = path.basename(file)) {
  const source = `${file}.c`;
  fs.writeFileSync(source, names.map((name) => `void ${name}(void) {}\n`).join(''));
  const flags = ['-w', '-fno-builtin', '-shared', '-fPIC', '-nostdlib', `-Wl,-soname,${soname}`];
  execFileSync(program, [...args, ...flags, '-o', file, source]);
}

module.exports = { makeStandIn };
