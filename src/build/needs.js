'use strict';

/*
 * What the addon is compiled from, besides its own sources: a few tools, libraries of the system that
 * pkg-config finds, and the headers of node-addon-api.
 *
 *   node src/build/needs.js include    prints the include directories, for addon.gypi
 *   node src/build/needs.js link       prints the linker flags, for addon.gypi
 *
 * OA_STATIC_LIBRARIES names a prefix with include/ and lib/ whose static libraries are linked instead
 * of the system's: prebuilt addons are made that way.
 *
 * As a module: what is missing on this machine.
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

/** Each with the oldest version that has what we use: CURLOPT_CAINFO_BLOB, a stable XXH3, gzip headers. */
const LIBRARIES = { libcurl: '7.77.0', libcjson: '1.7.0', libxxhash: '0.8.0', zlib: '1.2.1' };

/** Where src/release/stage.js puts the headers of node-addon-api. In a clone they are in node_modules. */
const PACKED_ADDON_API = path.join(__dirname, 'node-addon-api');

/** The folder of napi.h, or null. */
function addonApi() {
  if (fs.existsSync(PACKED_ADDON_API)) {
    return PACKED_ADDON_API;
  }
  try {
    return path.dirname(require.resolve('node-addon-api/package.json'));
  } catch {
    return null;
  }
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

/** A libcurl with GnuTLS or NSS cannot take Node's certificates. Only Debian's family has such builds. */
function wrongCurl() {
  const backend = output('curl-config', ['--ssl-backends']);
  return backend !== null && /^(GnuTLS|NSS)/.test(backend)
    ? [`libcurl with OpenSSL (the one installed uses ${backend})`]
    : [];
}

/** What this system lacks to compile the addon: names for a message; empty when nothing is missing. */
function missing() {
  const tools = missingTools(TOOLS);
  if (tools.includes('pkg-config')) {
    return tools;
  }
  const libraries = missingLibraries(LIBRARIES);
  return [...tools, ...libraries, ...(libraries.length === 0 ? wrongCurl() : [])];
}

/** Linker flags for an addon that needs only libc and Node, and exports only its entry points. */
function staticLink(prefix) {
  return [
    ...['libcurl.a', 'libcjson.a', 'libruntime.a'].map((file) => path.join(prefix, 'lib', file)),
    '-static-libgcc',
    '-Wl,--gc-sections',
    '-Wl,--exclude-libs,ALL',
  ].join(' ');
}

/** Include directories, or null. Relative, because make cannot have a path with a space. */
function include() {
  const api = addonApi();
  const prefix = env.OA_STATIC_LIBRARIES;
  const libraries = prefix
    ? path.join(prefix, 'include')
    : output(PKG_CONFIG, ['--cflags-only-I', ...Object.keys(LIBRARIES)]);
  if (api === null || libraries === null) {
    return null;
  }
  return `${path.relative('.', api)} ${libraries.replace(/(^|\s)-I/g, '$1')}`;
}

/** Linker flags, or null. Of xxHash only the header is used. */
function link() {
  if (env.OA_STATIC_LIBRARIES) {
    return staticLink(env.OA_STATIC_LIBRARIES);
  }
  const names = Object.keys(LIBRARIES).filter((name) => name !== 'libxxhash');
  return output(PKG_CONFIG, ['--libs', ...names]);
}

function main(what) {
  const flags = { include, link }[what]();
  if (flags === null) {
    return 1;
  }
  console.log(flags);
  return 0;
}

if (require.main === module) {
  process.exitCode = main(process.argv[2]);
}

module.exports = { PACKED_ADDON_API, addonApi, missing, missingLibraries, missingTools };
