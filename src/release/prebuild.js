'use strict';

/*
 * `npm run prebuild`: makes prebuilds/<target>/optimizely-amplitude.node for the release, on Debian or
 * Ubuntu. These addons need only glibc or musl, and Node 18 or later with OpenSSL 3. And it makes
 * prebuilds/wasm32, the core for where no addon fits.
 *
 *   npm run prebuild                 for linux-x64, linux-arm64, both with musl, and WebAssembly
 *   npm run prebuild -- arm64-musl   for one
 *   npm run prebuild -- --fresh      download the sources of the libraries again
 *
 * Sources and objects stay below build/prebuild. Run it with the oldest Node whose OpenSSL is to be
 * supported: libcurl may call the functions that this Node exports.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { nodeDir, nodeGyp } = require('../build/compile.js');
const { SMALL, buildLibraries } = require('./libraries.js');
const { muslCompilers } = require('./musl.js');
const { writeSbom } = require('./sbom.js');
const { fetchPackages, fetchSources } = require('./sources.js');
const { buildWasm, obstacle: wasmObstacle, writeWasm } = require('./wasm.js');

const ROOT = path.join(__dirname, '..', '..');
const WORK = path.join(ROOT, 'build', 'prebuild');
const OUT = path.join(ROOT, 'prebuilds');

const WASM = 'wasm32';
const MACHINES = {
  x64: { machine: 'x86_64', debian: 'amd64' },
  arm64: { machine: 'aarch64', debian: 'arm64' },
};
const TARGETS = Object.keys(MACHINES).flatMap((arch) => [arch, `${arch}-musl`]);

/** A target of TARGETS; its compilers, for glibc, are [program, ...arguments]. */
function targetOf(name) {
  const [arch, libc = 'glibc'] = name.split('-');
  const { machine, debian } = MACHINES[arch];
  const gnu = `${machine}-linux-gnu`;
  return {
    name: `linux-${name}`,
    arch,
    debian,
    libc,
    build: `${MACHINES[process.arch].machine}-linux-gnu`,
    machine,
    triplet: libc === 'musl' ? `${machine}-linux-musl` : gnu,
    cc: [`${gnu}-gcc`],
    cxx: [`${gnu}-g++`],
    ar: `${gnu}-ar`,
    strip: `${gnu}-strip`,
    header: path.join(__dirname, `${libc}.h`),
  };
}

/** A target whose compilers compile for its C library. */
function prepared(target) {
  if (target.libc !== 'musl') {
    return target;
  }
  const root = fetchPackages(path.join(WORK, 'musl'), ['musl', 'musl-dev'], target.debian);
  return { ...target, ...muslCompilers(root, target) };
}

/** Why this machine cannot build for `target`, or null. */
function obstacle(target) {
  const works = (program, args) => {
    try {
      execFileSync(program, args, { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  };
  if (!works('apt-get', ['--version']) || !works('dpkg-source', ['--version'])) {
    return 'apt-get and dpkg-source are needed; package: dpkg-dev';
  }
  if (!works(target.cxx[0], ['--version'])) {
    return `${target.cxx[0]} is needed; package: g++-${target.machine.replace('_', '-')}-linux-gnu`;
  }
  if (nodeDir() === null) {
    return "Node's headers are needed as well; use a Node from nodejs.org";
  }
  if (!process.versions.openssl.startsWith('3.')) {
    return `Node with OpenSSL 3 is needed; this is ${process.versions.openssl}`;
  }
  return null;
}

/** The folder in which node-gyp builds; build/Release belongs to `npm run compile`. */
function stage(name) {
  const dir = path.join(WORK, name);
  fs.mkdirSync(dir, { recursive: true });
  const link = path.join(dir, 'src');
  if (!fs.existsSync(link)) {
    fs.symlinkSync(path.relative(dir, path.join(ROOT, 'src')), link);
  }
  return dir;
}

function prebuild(name, sources) {
  const target = prepared(targetOf(name));
  const dir = stage(target.name);
  const prefix = path.join(dir, 'libraries');
  console.log(`prebuild: ${target.name}: libraries`);
  buildLibraries(sources, prefix, target, nodeDir());
  console.log(`prebuild: ${target.name}: addon`);
  // The C compiler links, because it adds no libstdc++: runtime.cc replaces that.
  const env = {
    CC: target.cc.join(' '),
    CXX: target.cxx.join(' '),
    AR: target.ar,
    LINK: target.cc.join(' '),
    OA_STATIC_LIBRARIES: prefix,
    CPPFLAGS: `-include ${target.header}`,
    // After those of node-gyp, which are for speed. Of the time between JavaScript and the core little is spent in C++.
    CFLAGS: SMALL.join(' '),
    CXXFLAGS: ['-Os', ...SMALL].join(' '),
  };
  if (nodeGyp(dir, ['rebuild', `--arch=${target.arch}`], env) !== 0) {
    throw new Error(`the addon for ${target.name} was not built`);
  }
  const folder = path.join(OUT, target.name);
  fs.mkdirSync(folder, { recursive: true });
  const file = path.join(folder, 'optimizely-amplitude.node');
  execFileSync(target.strip, [
    '--strip-all',
    '-o',
    file,
    path.join(dir, 'build', 'Release', 'optimizely_amplitude.node'),
  ]);
  console.log(`prebuild: ${path.relative(ROOT, file)}: ${fs.statSync(file).size} bytes`);
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { fresh: { type: 'boolean', default: false } },
  });
  const all = [...TARGETS, WASM];
  const asked = positionals.length > 0 ? positionals : all;
  const names = asked.filter((name) => name !== WASM);
  const withWasm = names.length < asked.length;
  for (const name of names) {
    if (!TARGETS.includes(name)) {
      throw new Error(`there is no target "${name}"; there are ${all.join(', ')}`);
    }
    const reason = obstacle(targetOf(name));
    if (reason !== null) {
      throw new Error(`linux-${name}: ${reason}`);
    }
  }
  if (withWasm && wasmObstacle() !== null) {
    throw new Error(`${WASM}: ${wasmObstacle()}`);
  }
  const folder = path.join(WORK, 'sources');
  if (values.fresh) {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  const sources = fetchSources(folder);
  for (const name of names) {
    prebuild(name, sources);
  }
  if (withWasm) {
    const bytes = buildWasm(sources, path.join(WORK, WASM));
    writeWasm(bytes, path.join(OUT, WASM));
    console.log(`prebuild: prebuilds/${WASM}/core.wasm: ${bytes.length} bytes`);
  }
  writeSbom(ROOT, OUT, sources, /^ID=(\w+)/m.exec(fs.readFileSync('/etc/os-release', 'utf8'))[1]);
}

try {
  main();
} catch (error) {
  console.error(`prebuild: ${error.message}`);
  process.exitCode = 1;
}
