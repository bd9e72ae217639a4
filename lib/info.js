'use strict';

/** What is installed: for a bug report, and for those who watch the versions of what they run. */

const path = require('node:path');

const { version } = require('../package.json');

const PREBUILDS = path.join(__dirname, '..', 'prebuilds', path.sep);

/** SPDX, of what may be linked into an addon or be Node's. */
const LICENSES = {
  libcurl: 'curl',
  cJSON: 'MIT',
  xxHash: 'BSD-2-Clause',
  OpenSSL: 'Apache-2.0',
  zlib: 'Zlib',
};

/** The libraries of libcurl's own line: `libcurl/7.88.1 OpenSSL/3.0.15 libpsl/0.21.2 (+libidn2/2.3.3)`. */
const fromCurl = (line) =>
  line
    .split(' ')
    .filter((part) => /^[^(].*\//.test(part))
    .map((part) => part.split('/'));

/** The version of this package, the addon that was loaded, and the libraries that it is linked with. */
function info({ file, versions: { curl, cjson, xxhash } }) {
  const libraries = [...fromCurl(curl), ['cJSON', cjson], ['xxHash', xxhash]];
  return {
    version,
    addon: file,
    prebuilt: file.startsWith(PREBUILDS),
    libraries: libraries.map(([name, libraryVersion]) => ({
      name,
      version: libraryVersion,
      license: LICENSES[name] ?? null,
    })),
  };
}

module.exports = { info };
