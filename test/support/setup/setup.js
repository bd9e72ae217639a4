'use strict';

/*
 * Makes a fresh clone ready for `npm run demo` and `npm test`. In a clone that is ready it does nothing,
 * in well under a second.
 *
 *   node test/support/setup/setup.js [--for demo|test|ci]
 *
 * It installs missing packages of the system where it may (Debian and Ubuntu, as root or with sudo
 * without a password) and otherwise prints the command that installs them; then it installs the npm
 * packages and compiles the addon. What these programs print goes into a log file.
 * It requires only what Node and the clone have.
 */

const { spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { MANAGERS, installAdvice, packageManager } = require('../../../lib/system.js');
const needs = require('../../../src/build/needs.js');
const { nodeDir } = require('../../../src/build/compile.js');
const { obstacle } = require('../../python/run.js');
const { changedAt } = require('./prebuilds.js');
const { findWine } = require('./runtimes.js');

const ROOT = path.join(__dirname, '..', '..', '..');
const ADDON = path.join(ROOT, 'build', 'Release', 'optimizely_amplitude.node');
const ADDON_SOURCES = ['binding.gyp', 'src'];
const SHOWN_LINES = 30; // of the log, when a program fails

/** What the tests need in addition to what compiling the addon needs. */
const TEST = {
  libraries: { cmocka: '1.1.0', libuv: '1.20.0', libssl: '3.0.0' },
  tools: { openssl: ['openssl'], 'redis-server': ['redis-server'] },
  packages: {
    apt: 'libcmocka-dev libuv1-dev libssl-dev openssl redis-server python3-dev python3-venv',
    dnf: 'libcmocka-devel libuv-devel openssl-devel openssl redis libasan libubsan',
    apk: 'cmocka-dev libuv-dev openssl-dev openssl redis',
    brew: 'cmocka libuv openssl redis',
  },
};

const [crossName, crossTriplet] =
  process.arch === 'arm64' ? ['x86-64', 'x86_64'] : ['aarch64', 'aarch64'];

/** What the full run of CI needs in addition: fuzzers, WebAssembly, a browser, the prebuilt addons, Windows. */
const CI = {
  libraries: {},
  tools: {
    clang: ['clang'],
    'clang-format': ['clang-format'],
    chromium: ['chromium', 'chromium-browser'],
    'dpkg-source': ['dpkg-source'],
    [`a compiler for ${crossTriplet}`]: [`${crossTriplet}-linux-gnu-g++`],
    'qemu for user programs': ['qemu-aarch64-static', 'qemu-aarch64'],
  },
  probes: {
    'a linker and a C library for WebAssembly': linksForWasm,
    'Python 3.9 or later, with venv and its headers': () => obstacle() === null,
    Wine: () => process.arch !== 'x64' || findWine() !== null,
  },
  packages: {
    apt: [
      'clang libclang-rt-dev clang-format chromium',
      'lld wasi-libc libclang-rt-dev-wasm32',
      `dpkg-dev g++-${crossName}-linux-gnu qemu-user-static`,
      ...(process.arch === 'x64' ? ['wine64'] : []),
    ].join(' '),
  },
};

/** For each purpose: what has to be there, and what is installed when something is missing. */
const PURPOSES = {
  demo: { required: [], installed: [TEST] }, // the tests' packages too, so that an administrator is needed only once
  test: { required: [TEST], installed: [TEST] },
  ci: { required: [TEST, CI], installed: [TEST, CI] },
};

/** The user has to do something first; only the message is printed. */
class Unready extends Error {}

function say(text) {
  console.log(`setup: ${text}`);
}

// --- Programs and their log --------------------------------------------------------------------

let log; // { name, descriptor }, of this run

/** The log file, which is created at its first use: in build/, or where temporary files are. */
function openLog() {
  if (log !== undefined) {
    return log;
  }
  const inBuild = path.join('build', 'setup.log');
  try {
    fs.mkdirSync(path.join(ROOT, 'build'), { recursive: true });
    log = { name: inBuild, descriptor: fs.openSync(path.join(ROOT, inBuild), 'w+') };
  } catch {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'optimizely-amplitude-'));
    const name = path.join(dir, 'setup.log');
    log = { name, descriptor: fs.openSync(name, 'w+') };
  }
  say(`output of the programs below: ${log.name}`);
  return log;
}

/** Say `what`, and run a program with its output in the log; returns the result of spawnSync. */
function run(what, program, args) {
  const { descriptor } = openLog();
  say(what);
  fs.writeSync(descriptor, `\n$ ${[program, ...args].join(' ')}\n`);
  return spawnSync(program, args, { cwd: ROOT, stdio: ['ignore', descriptor, descriptor] });
}

/** The message after a program failed. */
function failure({ error, status, signal }, command) {
  const { name, descriptor } = openLog();
  const text = Buffer.alloc(fs.fstatSync(descriptor).size);
  fs.readSync(descriptor, text, 0, text.length, 0);
  const end = text.toString().trimEnd().split('\n').slice(-SHOWN_LINES).join('\n');
  const reason = error?.message ?? signal ?? `exit code ${status}`;
  return `\`${command}\` failed (${reason}). The end of ${name}:\n\n${end}\n`;
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 18 || (major === 18 && minor < 15)) {
    throw new Unready(`Node 18.15 or later is needed; this is ${process.version}.`);
  }
}

// --- The system's packages ---------------------------------------------------------------------

/** Debian's own nodejs has its headers in another package; every other Node is installed with them. */
function lacksDebianHeaders() {
  return (
    packageManager() === 'apt' && process.execPath.startsWith('/usr/bin/') && nodeDir() === null
  );
}

/** Whether clang links a C program for WebAssembly here. */
function linksForWasm() {
  const { status } = spawnSync(
    'clang',
    ['--target=wasm32-wasi', '-x', 'c', '-', '-o', os.devNull],
    {
      input: '#include <string.h>\nint main(void) { return (int)strlen(""); }\n',
    },
  );
  return status === 0;
}

function missingOnSystem(required) {
  const missing = needs.missing();
  for (const { libraries, tools, probes = {} } of required) {
    missing.push(...needs.missingLibraries(libraries), ...needs.missingTools(tools));
    missing.push(...Object.keys(probes).filter((name) => !probes[name]()));
  }
  if (lacksDebianHeaders()) {
    missing.push('the headers of Node');
  }
  return missing;
}

function mayInstall() {
  if (packageManager() !== 'apt') {
    return false;
  }
  return (
    process.getuid() === 0 || spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0
  );
}

function prepareSystem({ required, installed }) {
  const missing = missingOnSystem(required);
  if (missing.length === 0) {
    return;
  }
  const packages = (manager) => {
    const names = [MANAGERS[manager].build, ...installed.map((list) => list.packages[manager])];
    if (manager === 'apt' && lacksDebianHeaders()) {
      names.push('libnode-dev');
    }
    return names.join(' ');
  };
  const list = `Missing on this machine: ${missing.join(', ')}.`;
  const advice = `Install what the demo and the tests need, as root:\n\n${installAdvice(packages)}\n\nNow run the same command again.`;
  if (!mayInstall()) {
    throw new Unready(`${list}\n${advice}`);
  }

  say(list);
  const sudo = process.getuid() === 0 ? [] : ['sudo', '-n'];
  const options = ['-q', '-o', 'DPkg::Lock::Timeout=120'];
  const apt = [...sudo, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...options];
  for (const args of [['update'], ['install', '-y', ...packages('apt').split(' ')]]) {
    const command = ['apt-get', ...args].join(' ');
    const result = run(command, apt[0], [...apt.slice(1), ...args]);
    if (result.status !== 0) {
      throw new Unready(`${failure(result, command)}\n${advice}`);
    }
  }
  const still = missingOnSystem(required);
  if (still.length > 0) {
    throw new Unready(`Still missing after the installation: ${still.join(', ')}.`);
  }
}

// --- npm ---------------------------------------------------------------------------------------

function npm(what, args) {
  const started = Date.now();
  const result = run(what, 'npm', args);
  if (result.error?.code === 'ENOENT') {
    throw new Unready(
      `npm is not on the PATH. It comes with Node, except where a distribution has it in a package of its own:\n\n${installAdvice(() => 'npm')}\n\nNow run the same command again.`,
    );
  }
  if (result.status !== 0) {
    throw new Unready(failure(result, `npm ${args.join(' ')}`));
  }
  say(`${what}: done in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

function preparePackages() {
  const stamp = path.join(ROOT, 'node_modules', '.setup-stamp');
  const lock = crypto
    .createHash('sha256')
    .update(fs.readFileSync(path.join(ROOT, 'package-lock.json')))
    .digest('hex');
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === lock) {
    return;
  }
  // Development packages also when NODE_ENV is production; the addon is compiled in the next step.
  npm('installing the npm packages', [
    'ci',
    '--include=dev',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
  ]);
  fs.writeFileSync(stamp, lock);
}

// --- The addon ---------------------------------------------------------------------------------

function prepareAddon() {
  const sources = Math.max(...ADDON_SOURCES.map((name) => changedAt(path.join(ROOT, name))));
  if (fs.existsSync(ADDON) && fs.statSync(ADDON).mtimeMs >= sources) {
    return;
  }
  npm('compiling the addon', ['run', 'compile']);
  const now = new Date();
  fs.utimesSync(ADDON, now, now); // even if make has nothing to do after a change, such as one of a script's comment
}

// --- The command -------------------------------------------------------------------------------

function main(args) {
  const purpose = args.length === 0 ? 'demo' : args[1];
  if (
    args.length > 0 &&
    (args.length !== 2 || args[0] !== '--for' || !Object.hasOwn(PURPOSES, purpose))
  ) {
    throw new Unready(
      `usage: node test/support/setup/setup.js [--for ${Object.keys(PURPOSES).join('|')}]`,
    );
  }
  if (purpose === 'ci' && packageManager() !== 'apt') {
    throw new Unready('the full run of the tests needs Debian or Ubuntu');
  }
  checkNode();
  prepareSystem(PURPOSES[purpose]);
  preparePackages();
  prepareAddon();
}

try {
  main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Unready)) {
    throw error;
  }
  console.error(`setup: ${error.message}`);
  process.exitCode = 1;
}
