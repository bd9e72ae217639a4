'use strict';

/** How each family of systems installs the packages that the addon needs. */

const fs = require('node:fs');

/** `build`: what compiling needs. `run`: the packages with the shared libraries of a compiled addon. */
const MANAGERS = {
  apt: {
    systems: 'Debian, Ubuntu',
    install: ['apt-get update', 'apt-get install -y'],
    build:
      'build-essential python3 pkg-config libcurl4-openssl-dev libcjson-dev libxxhash-dev zlib1g-dev',
    run: { libcurl: 'libcurl4', libcjson: 'libcjson1', libz: 'zlib1g' },
  },
  dnf: {
    systems: 'Fedora, RHEL',
    install: ['dnf install -y'],
    build:
      'gcc gcc-c++ make python3 pkgconf-pkg-config libcurl-devel cjson-devel xxhash-devel zlib-devel',
    run: { libcurl: 'libcurl', libcjson: 'cjson', libz: 'zlib' },
  },
  apk: {
    systems: 'Alpine',
    install: ['apk add'],
    build: 'build-base python3 pkgconf curl-dev cjson-dev xxhash-dev zlib-dev',
    run: { libcurl: 'libcurl', libcjson: 'cjson', libz: 'zlib' },
  },
  brew: {
    systems: 'macOS',
    install: ['brew install'],
    build: 'pkgconf curl cjson xxhash zlib',
    run: { libcurl: 'curl', libcjson: 'cjson', libz: 'zlib' },
  },
};

/** The key in MANAGERS for this system, or null. */
function packageManager() {
  if (process.platform === 'darwin') {
    return 'brew';
  }
  let release = '';
  try {
    release = fs.readFileSync('/etc/os-release', 'utf8');
  } catch {
    return null;
  }
  const words = [...release.matchAll(/^ID(?:_LIKE)?=(.*)$/gm)].flatMap(
    (line) => line[1].match(/[\w.-]+/g) ?? [],
  );
  if (words.includes('debian') || words.includes('ubuntu')) {
    return 'apt';
  }
  if (words.includes('fedora') || words.includes('rhel')) {
    return 'dnf';
  }
  if (words.includes('alpine')) {
    return 'apk';
  }
  return null;
}

/** The shell command that installs `packages` with `manager`. */
function installCommand(manager, packages) {
  const { install } = MANAGERS[manager];
  const isUser = process.getuid?.() !== 0;
  const sudo = manager !== 'brew' && isUser && fs.existsSync('/usr/bin/sudo') ? 'sudo ' : '';
  const steps = install.map((step) => sudo + step);
  return `${steps.join(' && ')} ${packages}`;
}

/**
 * What to run, as one indented line, or one line for each family when this system is unknown.
 * `packagesFor(manager)` names the packages.
 */
function installAdvice(packagesFor, manager = packageManager()) {
  if (manager !== null) {
    return `    ${installCommand(manager, packagesFor(manager))}`;
  }
  return Object.keys(MANAGERS)
    .map(
      (name) =>
        `    ${MANAGERS[name].systems}:\n        ${installCommand(name, packagesFor(name))}`,
    )
    .join('\n');
}

/** What to run to install all that compiling needs. */
function buildAdvice() {
  return installAdvice((manager) => MANAGERS[manager].build);
}

/** What to run to install the shared `library`, a key of `run`. */
function libraryAdvice(library) {
  return installAdvice((manager) => MANAGERS[manager].run[library]);
}

module.exports = { MANAGERS, buildAdvice, installAdvice, libraryAdvice, packageManager };
