'use strict';

/*
 * Downloads the sources of the libraries in a prebuilt addon: the source packages of Debian or Ubuntu,
 * which have security fixes, and whose signatures apt checks; and binary packages for any processor.
 * They stay in one folder and are downloaded once; the system's own package lists are not changed.
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

/** The processors that there are prebuilt addons for, as Debian names them. */
const DEBIAN_ARCHS = ['amd64', 'arm64'];

const KEYRINGS = {
  Debian: '/usr/share/keyrings/debian-archive-keyring.gpg',
  Ubuntu: '/usr/share/keyrings/ubuntu-archive-keyring.gpg',
};

/** Run apt-get with its lists and caches in `dir`, so that it needs neither root nor the system's lock. */
function apt(dir, args) {
  const options = [
    `Dir::Etc::SourceList=${path.join(dir, 'sources.list')}`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::Lists=${path.join(dir, 'lists')}`,
    `Dir::Cache=${path.join(dir, 'cache')}`,
    'APT::Sandbox::User=', // another user may have no access to the folder
    ...DEBIAN_ARCHS.map((arch) => `APT::Architectures::=${arch}`),
  ];
  execFileSync('apt-get', ['-qq', ...options.flatMap((option) => ['-o', option]), ...args], {
    cwd: dir,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** The lines of a sources.list with where this system's own packages come from. */
function systemLines() {
  const format = '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)';
  const targets = execFileSync(
    'apt-get',
    ['indextargets', '--format', format, 'Created-By: Packages'],
    { encoding: 'utf8' },
  );
  const lines = targets
    .split('\n')
    .map((target) => target.split('|'))
    .filter(([origin]) => Object.hasOwn(KEYRINGS, origin))
    .map(([origin, uri, release, component]) => ({
      origin,
      keyring: KEYRINGS[origin],
      uri,
      release,
      component,
    }));
  if (lines.length === 0) {
    throw new Error('apt knows no index of Debian or Ubuntu on this machine; try `apt-get update`');
  }
  return lines;
}

/** Let apt(dir) know `lines` of systemLines(), of one `type`: deb-src or deb. */
function update(dir, type, lines) {
  for (const folder of ['lists/partial', 'cache/archives/partial']) {
    fs.mkdirSync(path.join(dir, folder), { recursive: true });
  }
  const texts = lines.map(
    ({ keyring, uri, release, component }) =>
      `${type} [signed-by=${keyring}] ${uri} ${release} ${component}\n`,
  );
  fs.writeFileSync(path.join(dir, 'sources.list'), [...new Set(texts)].join(''));
  apt(dir, ['update']);
}

/**
 * Unpack binary packages for a processor of DEBIAN_ARCHS into `dir`/<processor>; returns that folder. `release` is of
 * Debian, and may be newer than this system.
 */
function fetchPackages(dir, names, arch, release = null) {
  const root = path.join(dir, arch);
  if (fs.existsSync(root)) {
    return root;
  }
  fs.mkdirSync(dir, { recursive: true });
  const lines = systemLines();
  const debian = lines.find(({ origin }) => origin === 'Debian');
  const ofRelease = release !== null && debian !== undefined;
  update(dir, 'deb', ofRelease ? [{ ...debian, release, component: 'main' }] : lines);
  apt(dir, ['download', ...names.map((name) => `${name}:${arch}`)]);
  const unpacked = fs.mkdtempSync(`${root}-`);
  for (const file of fs.readdirSync(dir).filter((name) => name.endsWith(`_${arch}.deb`))) {
    execFileSync('dpkg-deb', ['-x', path.join(dir, file), unpacked]);
  }
  fs.renameSync(unpacked, root);
  return root;
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
    update(dir, 'deb-src', systemLines());
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

module.exports = { fetchPackages, fetchSources };
