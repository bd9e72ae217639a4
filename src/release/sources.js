'use strict';

/*
 * Downloads the sources of the libraries in a prebuilt addon: the source packages of Debian or Ubuntu,
 * which have security fixes, and whose signatures apt checks. They stay in one folder and are
 * downloaded once; the system's own package lists are not changed.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

/** The libraries, and what the SBOM lists for them. `licence`: SPDX id; `text`: the file with its text. */
const LIBRARIES = {
  curl: { title: 'curl', licence: 'curl', text: 'COPYING', home: 'https://curl.se/' },
  cjson: {
    title: 'cJSON',
    licence: 'MIT',
    text: 'LICENSE',
    home: 'https://github.com/DaveGamble/cJSON',
  },
  xxhash: {
    title: 'xxHash',
    licence: 'BSD-2-Clause',
    text: 'LICENSE',
    home: 'https://xxhash.com/',
  },
};

const KEYRINGS = {
  Debian: '/usr/share/keyrings/debian-archive-keyring.gpg',
  Ubuntu: '/usr/share/keyrings/ubuntu-archive-keyring.gpg',
};

/** Run apt-get with its lists and caches in `dir`, so that it needs neither root nor the system's lock. */
function apt(dir, args) {
  const options = {
    'Dir::Etc::SourceList': path.join(dir, 'sources.list'),
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::State::Lists': path.join(dir, 'lists'),
    'Dir::Cache': path.join(dir, 'cache'),
    'APT::Sandbox::User': '', // another user may have no access to the folder
  };
  const flags = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  execFileSync('apt-get', ['-qq', ...flags, ...args], {
    cwd: dir,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** The deb-src lines for the sources of this system's own packages. */
function sourceLines() {
  const format = '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)';
  const targets = execFileSync(
    'apt-get',
    ['indextargets', '--format', format, 'Created-By: Packages'],
    { encoding: 'utf8' },
  );
  const lines = new Set();
  for (const target of targets.split('\n')) {
    const [origin, uri, release, component] = target.split('|');
    const keyring = KEYRINGS[origin];
    if (keyring !== undefined) {
      lines.add(`deb-src [signed-by=${keyring}] ${uri} ${release} ${component}`);
    }
  }
  if (lines.size === 0) {
    throw new Error('apt knows no index of Debian or Ubuntu on this machine; try `apt-get update`');
  }
  return [...lines].join('\n') + '\n';
}

function unpackedDir(dir, name) {
  const found = fs
    .readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name.startsWith(`${name}-`));
  return found.length === 1 ? path.join(dir, found[0].name) : null;
}

/** The version of a source package with the distribution's revision, as its changelog has it. */
function packageVersion(folder) {
  const first = fs.readFileSync(path.join(folder, 'debian', 'changelog'), 'utf8').split('\n', 1)[0];
  return /\(([^)]+)\)/.exec(first)[1];
}

/** Download and unpack into `dir` what is not there yet. Returns { name: { dir, version, ... } }. */
function fetchSources(dir) {
  fs.mkdirSync(dir, { recursive: true });
  const missing = Object.keys(LIBRARIES).filter((name) => unpackedDir(dir, name) === null);
  if (missing.length > 0) {
    for (const folder of ['lists/partial', 'cache/archives/partial']) {
      fs.mkdirSync(path.join(dir, folder), { recursive: true });
    }
    fs.writeFileSync(path.join(dir, 'sources.list'), sourceLines());
    apt(dir, ['update']);
    apt(dir, ['source', ...missing]);
  }
  return Object.fromEntries(
    Object.entries(LIBRARIES).map(([name, facts]) => {
      const folder = unpackedDir(dir, name);
      if (folder === null) {
        throw new Error(`${dir} has no source of ${name}, or several; --fresh downloads it again`);
      }
      return [name, { ...facts, dir: folder, version: packageVersion(folder) }];
    }),
  );
}

module.exports = { fetchSources };
