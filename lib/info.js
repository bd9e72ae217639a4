'use strict';

/** What is installed: for bug reports and inventories. */

const path = require('node:path');

const { version } = require('../package.json');

const PREBUILDS = path.join(__dirname, '..', 'prebuilds', path.sep);

/** The SPDX names of licences, for libraries that may be linked into the addon or into Node. */
const LICENSES = {
  libcurl: 'curl',
  cJSON: 'MIT',
  xxHash: 'BSD-2-Clause',
  OpenSSL: 'Apache-2.0',
  zlib: 'Zlib',
};

/** The libraries that libcurl's version line names: `libcurl/7.88.1 OpenSSL/3.0.15 libpsl/0.21.2 (+libidn2/2.3.3)`. */
const fromCurl = (line) =>
  line
    .split(' ')
    .filter((part) => /^[^(].*\//.test(part))
    .map((part) => part.split('/'));

/** Describe the package and `engine`, as engine() returns it: why it is this one, and the libraries in it. */
function info({ name, reason, exports }) {
  const { file = null } = exports;
  const { curl, cjson, xxhash } = exports.versions;
  const transport = curl === undefined ? [] : fromCurl(curl);
  const libraries = [...transport, ['cJSON', cjson], ['xxHash', xxhash]];
  return {
    version,
    engine: name,
    engineReason: reason,
    addon: file,
    prebuilt: file === null || file.startsWith(PREBUILDS),
    libraries: libraries.map(([library, libraryVersion]) => ({
      name: library,
      version: libraryVersion,
      license: LICENSES[library] ?? null,
    })),
  };
}

module.exports = { info };
