'use strict';

/*
 * `npm run prebuild`: makes prebuilds/<platform>-<arch>/optimizely-amplitude.node for the release, on
 * Debian or Ubuntu. These addons need only glibc, and Node 18 or later with OpenSSL 3. And it makes
 * prebuilds/wasm32, the core for where no addon fits.
 *
 *   npm run prebuild                 for linux-x64 and linux-arm64, and WebAssembly
 *   npm run prebuild -- x64          for one
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
const { buildLibraries } = require('./libraries.js');
const { writeSbom } = require('./sbom.js');
const { fetchSources } = require('./sources.js');
const { buildWasm, obstacle: wasmObstacle, writeWasm } = require('./wasm.js');

const ROOT = path.join(__dirname, '..', '..');
const WORK = path.join(ROOT, 'build', 'prebuild');
const OUT = path.join(ROOT, 'prebuilds');

const WASM = 'wasm32';
const TRIPLETS = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };

function targetOf(arch) {
  const triplet = TRIPLETS[arch];
  const program = (name) => `${triplet}-${name}`;
  return {
    arch,
    triplet,
    cc: program('gcc'),
    cxx: program('g++'),
    ar: program('ar'),
    strip: program('strip'),
  };
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
  if (!works(target.cxx, ['--version'])) {
    return `${target.cxx} is needed; package: g++-${target.triplet.replace('_', '-')}`;
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
function stage(arch) {
  const dir = path.join(WORK, `linux-${arch}`);
  fs.mkdirSync(dir, { recursive: true });
  const link = path.join(dir, 'src');
  if (!fs.existsSync(link)) {
    fs.symlinkSync(path.relative(dir, path.join(ROOT, 'src')), link);
  }
  return dir;
}

function prebuild(arch, sources) {
  const target = targetOf(arch);
  const dir = stage(arch);
  const prefix = path.join(dir, 'libraries');
  console.log(`prebuild: linux-${arch}: libraries`);
  buildLibraries(sources, prefix, target, nodeDir());
  console.log(`prebuild: linux-${arch}: addon`);
  // The C compiler links, because it adds no libstdc++: runtime.cc replaces that.
  const env = {
    CC: target.cc,
    CXX: target.cxx,
    AR: target.ar,
    LINK: target.cc,
    OA_STATIC_LIBRARIES: prefix,
    CPPFLAGS: `-include ${path.join(__dirname, 'glibc.h')}`,
  };
  if (nodeGyp(dir, ['rebuild', `--arch=${arch}`], env) !== 0) {
    throw new Error(`the addon for ${arch} was not built`);
  }
  const folder = path.join(OUT, `linux-${arch}`);
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
  const all = [...Object.keys(TRIPLETS), WASM];
  const asked = positionals.length > 0 ? positionals : all;
  const archs = asked.filter((arch) => arch !== WASM);
  const withWasm = archs.length < asked.length;
  for (const arch of archs) {
    if (!Object.hasOwn(TRIPLETS, arch)) {
      throw new Error(`there is no target "${arch}"; there are ${all.join(', ')}`);
    }
    const reason = obstacle(targetOf(arch));
    if (reason !== null) {
      throw new Error(`linux-${arch}: ${reason}`);
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
  for (const arch of archs) {
    prebuild(arch, sources);
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
