'use strict';

/*
 * What the addon is built from besides its own sources: a few tools, and libraries of the system
 * that pkg-config knows.
 *
 *   node src/build/needs.js include    their include directories, for addon.gypi
 *   node src/build/needs.js link       their linker flags, for addon.gypi
 *
 * With OA_STATIC_LIBRARIES, a prefix that has include/ and lib/, its static libraries are linked in
 * instead: that is how prebuilt addons are made.
 *
 * As a module: what is missing, and the command that installs it.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { env } = process;
const PKG_CONFIG = env.PKG_CONFIG || 'pkg-config';

const TOOLS = {
  'a C compiler': [env.CC || 'cc'],
  'a C++ compiler': [env.CXX || 'g++'],
  make: [env.MAKE || 'make'],
  python3: [env.npm_config_python || env.PYTHON || 'python3', 'python'],
  'pkg-config': [PKG_CONFIG],
};

/** With the oldest version that has what we use: CURLOPT_CAINFO_BLOB, a stable XXH3. */
const LIBRARIES = { libcurl: '7.77.0', libcjson: '1.7.0', libxxhash: '0.8.0' };

/** How each family of systems installs packages. `run`: packages that carry the shared libraries. */
const MANAGERS = {
  apt: {
    systems: 'Debian, Ubuntu',
    install: ['apt-get update', 'apt-get install -y'],
    build: 'build-essential python3 pkg-config libcurl4-openssl-dev libcjson-dev libxxhash-dev',
    run: { libcurl: 'libcurl4', libcjson: 'libcjson1' },
  },
  dnf: {
    systems: 'Fedora, RHEL',
    install: ['dnf install -y'],
    build: 'gcc gcc-c++ make python3 pkgconf-pkg-config libcurl-devel cjson-devel xxhash-devel',
    run: { libcurl: 'libcurl', libcjson: 'cjson' },
  },
  apk: {
    systems: 'Alpine',
    install: ['apk add'],
    build: 'build-base python3 pkgconf curl-dev cjson-dev xxhash-dev',
    run: { libcurl: 'libcurl', libcjson: 'cjson' },
  },
  brew: {
    systems: 'macOS',
    install: ['brew install'],
    build: 'pkgconf curl cjson xxhash',
    run: { libcurl: 'curl', libcjson: 'cjson' },
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
  const sudo = manager !== 'brew' && process.getuid?.() !== 0 ? 'sudo ' : '';
  const steps = install.map((step) => sudo + step);
  return `${steps.join(' && ')} ${packages}`;
}

/**
 * What to type, one indented line, or one for each family when this system is unknown.
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

/** What to type to get everything that a build needs. */
function buildAdvice() {
  return installAdvice((manager) => MANAGERS[manager].build);
}

function isProgram(name) {
  const program = name.trim().split(/\s+/)[0]; // CC may be "ccache gcc"
  const places = program.includes('/')
    ? [program]
    : (env.PATH || '').split(path.delimiter).map((dir) => path.join(dir, program));
  return places.some((place) => {
    try {
      fs.accessSync(place, fs.constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The names of those `tools` ({ name: [program, or program] }) that are not on the PATH. */
function missingTools(tools) {
  return Object.keys(tools).filter((name) => !tools[name].some(isProgram));
}

function output(program, args) {
  try {
    return execFileSync(program, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null;
  }
}

/** Those `libraries` ({ name: oldest version }) that pkg-config does not find, each with the reason. */
function missingLibraries(libraries) {
  const missing = [];
  for (const [name, oldest] of Object.entries(libraries)) {
    if (output(PKG_CONFIG, ['--exists', `${name} >= ${oldest}`]) !== null) {
      continue;
    }
    const version = output(PKG_CONFIG, ['--modversion', name]);
    missing.push(version === null ? name : `${name} ${oldest} or later (${version} is installed)`);
  }
  return missing;
}

/** GnuTLS and NSS builds of libcurl cannot take Node's certificates. Other systems have only one. */
function wrongCurl() {
  const backend = output('curl-config', ['--ssl-backends']);
  return backend !== null && /^(GnuTLS|NSS)/.test(backend)
    ? [`libcurl with OpenSSL (the one installed uses ${backend})`]
    : [];
}

/** What keeps the addon from being built on this system: names for people; empty when all is there. */
function missing() {
  const tools = missingTools(TOOLS);
  if (tools.includes('pkg-config')) {
    return tools;
  }
  const libraries = missingLibraries(LIBRARIES);
  return [...tools, ...libraries, ...(libraries.length === 0 ? wrongCurl() : [])];
}

/** Flags for an addon that needs nothing but libc and Node, and shows nothing but its entry points. */
function staticFlags(prefix, what) {
  if (what === 'include') {
    return path.join(prefix, 'include');
  }
  return [
    ...['libcurl.a', 'libcjson.a', 'libruntime.a'].map((file) => path.join(prefix, 'lib', file)),
    '-static-libgcc',
    '-Wl,--gc-sections',
    '-Wl,--exclude-libs,ALL',
  ].join(' ');
}

function main(what) {
  if (env.OA_STATIC_LIBRARIES) {
    console.log(staticFlags(env.OA_STATIC_LIBRARIES, what));
    return 0;
  }
  const names = Object.keys(LIBRARIES);
  if (what === 'include') {
    const flags = output(PKG_CONFIG, ['--cflags-only-I', ...names]);
    if (flags === null) {
      return 1;
    }
    console.log(flags.replace(/(^|\s)-I/g, '$1'));
    return 0;
  }
  // xxhash is used for its header alone.
  const flags = output(PKG_CONFIG, ['--libs', ...names.filter((name) => name !== 'libxxhash')]);
  if (flags === null) {
    return 1;
  }
  console.log(flags);
  return 0;
}

if (require.main === module) {
  process.exitCode = main(process.argv[2]);
}

module.exports = {
  MANAGERS,
  buildAdvice,
  installAdvice,
  installCommand,
  missing,
  missingLibraries,
  missingTools,
  packageManager,
};
