'use strict';

/*
 * Makes the compiler of Debian, which is for glibc, compile for musl: with the headers and start files of Debian's package
 * of musl, and the C++ headers of the compiler, of which musl.h says the rest. No C++ library is linked: see runtime.cc.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { makeStandIn } = require('./stand-in.js');

/** What chooses between atomic instructions at run time, in libgcc, asks glibc for the processor. */
const FLAGS = { x86_64: [], aarch64: ['-mno-outline-atomics'] };

/** The folders of the C++ headers that a compiler uses. */
function cxxHeaders(cxx) {
  const said = execFileSync('sh', ['-c', `${cxx.join(' ')} -E -v -x c++ /dev/null 2>&1`], {
    encoding: 'utf8',
  });
  return [...said.matchAll(/^ (\/\S*\/c\+\+\/\S+)$/gm)].map(([, folder]) => folder);
}

/**
 * A file that makes gcc use the musl in `root`: the package has one for where it is installed. The C headers come last,
 * because those of C++ include the next of the same name.
 */
function writeSpecs(root, triplet) {
  const text = fs.readFileSync(path.join(root, 'usr', 'lib', triplet, 'musl-gcc.specs'), 'utf8');
  const file = path.join(root, 'gcc.specs');
  fs.writeFileSync(
    file,
    text
      .replace(/^(-nostdinc) (.*) (%\(old_cpp_options\))$/m, '$1 $3 $2')
      .replace(/\/usr\/(include|lib)\//g, `${root}/usr/$1/`),
  );
  return file;
}

/** The commands that compile for musl with `cc` and `cxx`. `root` has the unpacked packages musl and musl-dev. */
function muslCompilers(root, { triplet, machine, cc, cxx }) {
  const library = path.join(root, 'lib', triplet, 'libc.so');
  const symbols = execFileSync('nm', ['-D', '--defined-only', library], { encoding: 'utf8' });
  const names = [...symbols.matchAll(/ [A-Z] (\w+)$/gm)].map(([, name]) => name);
  // Debian's has another name than that of Alpine, by which a system with glibc refuses what needs it.
  const standIn = path.join(root, 'usr', 'lib', triplet, 'libc.so');
  makeStandIn(standIn, names, cc, `libc.musl-${machine}.so.1`);
  const flags = [`-specs=${writeSpecs(root, triplet)}`, ...FLAGS[machine]];
  const headers = cxxHeaders(cxx).flatMap((folder) => ['-isystem', folder]);
  return { cc: [...cc, ...flags], cxx: [...cxx, ...flags, ...headers] };
}

module.exports = { muslCompilers };
