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

/** Return the version of this package, the addon that is loaded, and the libraries that it is linked with. */
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
