'use strict';

/*
 * Makes a fresh clone ready, and does nothing, in well under a second, when it is.
 *
 *   node test/support/setup/setup.js [--for demo|test|ci]
 *
 * It installs what the system lacks where it may (Debian and Ubuntu, as root or with sudo that asks
 * no password) and else says what to type; then the npm packages; then it builds the addon.
 * Nothing is required here that is not in Node or in the clone.
 */

const { spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const deps = require('../../../src/build/needs.js');
const { nodeDir } = require('../../../src/build/compile.js');
const { changedAt } = require('./prebuilds.js');

const ROOT = path.join(__dirname, '..', '..', '..');
const ADDON = path.join(ROOT, 'build', 'Release', 'optimizely_amplitude.node');
const ADDON_SOURCES = ['binding.gyp', 'src'];

/** What the tests need beyond the addon, and their packages. */
const TEST = {
  libraries: { cmocka: '1.1.0', libuv: '1.20.0', zlib: '1.2.0' },
  tools: { openssl: ['openssl'] },
  packages: {
    apt: 'libcmocka-dev libuv1-dev zlib1g-dev openssl',
    dnf: 'libcmocka-devel libuv-devel zlib-devel openssl libasan libubsan',
    apk: 'cmocka-dev libuv-dev zlib-dev openssl',
    brew: 'cmocka libuv openssl',
  },
};

/** What only the full run of CI needs: fuzzing, formatting, and the collector's page in a browser. */
const CI = {
  libraries: {},
  tools: {
    clang: ['clang'],
    'clang-format': ['clang-format'],
    chromium: ['chromium', 'chromium-browser'],
  },
  packages: {
    apt: 'clang libclang-rt-dev clang-format chromium',
    dnf: 'clang compiler-rt clang-tools-extra libtsan chromium',
    apk: 'clang compiler-rt clang-extra-tools chromium',
    brew: 'llvm',
  },
};

/** What makes and tries the prebuilt addons: on Debian and Ubuntu, and left out elsewhere. */
const [crossName, crossTriplet] =
  process.arch === 'arm64' ? ['x86-64', 'x86_64'] : ['aarch64', 'aarch64'];
const PREBUILD = {
  libraries: {},
  tools: {
    'dpkg-source': ['dpkg-source'],
    [`a compiler for ${crossTriplet}`]: [`${crossTriplet}-linux-gnu-g++`],
    'qemu for user programs': ['qemu-aarch64-static', 'qemu-aarch64'],
  },
  packages: { apt: `dpkg-dev g++-${crossName}-linux-gnu qemu-user-static` },
};

const EXTRAS = {
  demo: [],
  test: [TEST],
  ci: [TEST, CI, ...(deps.packageManager() === 'apt' ? [PREBUILD] : [])],
};

/** Something that the person at the keyboard has to do; its message is all that is printed. */
class Unready extends Error {}

function say(text) {
  console.log(`setup: ${text}`);
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 18 || (major === 18 && minor < 15)) {
    throw new Unready(`Node 18.15 or later is needed; this is ${process.version}.`);
  }
}

// --- The system's packages ---------------------------------------------------------------------

/** Debian's own nodejs package leaves the headers to another package; all others bring them. */
function lacksDebianHeaders() {
  return (
    deps.packageManager() === 'apt' &&
    process.execPath.startsWith('/usr/bin/') &&
    nodeDir() === null
  );
}

function missingOnSystem(extras) {
  const missing = deps.missing();
  for (const { libraries, tools } of extras) {
    missing.push(...deps.missingLibraries(libraries), ...deps.missingTools(tools));
  }
  if (lacksDebianHeaders()) {
    missing.push('the headers of Node');
  }
  return missing;
}

function mayInstall() {
  if (deps.packageManager() !== 'apt') {
    return false;
  }
  return (
    process.getuid() === 0 || spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0
  );
}

function prepareSystem(extras) {
  const missing = missingOnSystem(extras);
  if (missing.length === 0) {
    return;
  }
  const packages = (manager) => {
    const names = [deps.MANAGERS[manager].build, ...extras.map((extra) => extra.packages[manager])];
    if (manager === 'apt' && lacksDebianHeaders()) {
      names.push('libnode-dev');
    }
    return names.join(' ');
  };
  const advice = `Missing on this machine: ${missing.join(', ')}.\nInstall it:\n\n${deps.installAdvice(packages)}`;
  if (!mayInstall()) {
    throw new Unready(advice);
  }

  say(`missing on this machine: ${missing.join(', ')}`);
  const sudo = process.getuid() === 0 ? [] : ['sudo', '-n'];
  const apt = [
    ...sudo,
    'env',
    'DEBIAN_FRONTEND=noninteractive',
    'apt-get',
    '-qq',
    '-o',
    'DPkg::Lock::Timeout=120',
  ];
  for (const command of [
    [...apt, 'update'],
    [...apt, 'install', '-y', ...packages('apt').split(' ')],
  ]) {
    say(command.join(' '));
    const { status } = spawnSync(command[0], command.slice(1), {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    if (status !== 0) {
      throw new Unready(`That failed; the reason is above. ${advice}`);
    }
  }
  const still = missingOnSystem(extras);
  if (still.length > 0) {
    throw new Unready(`Still missing after the installation: ${still.join(', ')}.`);
  }
}

// --- npm ---------------------------------------------------------------------------------------

/** Runs npm, and shows its output only when it fails. */
function npm(what, args) {
  const started = Date.now();
  say(what);
  const result = spawnSync('npm', args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 1 << 28,
  });
  if (result.error?.code === 'ENOENT') {
    throw new Unready(
      `npm is not on the PATH. It comes with Node, except where a distribution packages it apart:\n\n${deps.installAdvice(() => 'npm')}`,
    );
  }
  if (result.error || result.status !== 0) {
    process.stdout.write(result.stdout ?? '');
    process.stderr.write(result.stderr ?? '');
    throw new Unready(
      `\`npm ${args.join(' ')}\` failed (${result.error?.message ?? `exit code ${result.status}`}); the reason is above.`,
    );
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
  // Whatever the user's npm is set to: development packages, and no script but ours, which comes next.
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
  npm('building the addon', ['run', 'compile']);
  const now = new Date();
  fs.utimesSync(ADDON, now, now); // a change that make had no work for, such as a comment in a script
}

// --- The command -------------------------------------------------------------------------------

function main(args) {
  const purpose = args.length === 0 ? 'demo' : args[1];
  if (
    args.length > 0 &&
    (args.length !== 2 || args[0] !== '--for' || !Object.hasOwn(EXTRAS, purpose))
  ) {
    throw new Unready(
      `usage: node test/support/setup/setup.js [--for ${Object.keys(EXTRAS).join('|')}]`,
    );
  }
  checkNode();
  prepareSystem(EXTRAS[purpose]);
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
