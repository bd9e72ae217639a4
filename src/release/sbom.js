'use strict';

/*
 * Writes what accompanies the prebuilt addons and WebAssembly: an SBOM (CycloneDX 1.5) of the code that they contain,
 * and the licences of that code.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { addonApi } = require('../build/needs.js');

/** node-addon-api, which consists of headers. */
function addonApiPart() {
  const dir = addonApi();
  const { version, license } = JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8'));
  return {
    title: 'node-addon-api',
    version,
    licence: license,
    text: 'LICENSE.md',
    home: 'https://github.com/nodejs/node-addon-api',
    dir,
  };
}

/** The C library in the module of WebAssembly, if that is there: Debian's package, of musl and others. */
function wasiLibcParts(dir) {
  if (!fs.existsSync(path.join(dir, 'wasm32'))) {
    return [];
  }
  const args = ['-W', '-f', '${Version}', 'wasi-libc'];
  return [
    {
      source: 'wasi-libc',
      title: 'wasi-libc',
      version: execFileSync('dpkg-query', args, { encoding: 'utf8' }),
      licence: 'MIT',
      text: 'copyright',
      home: 'https://github.com/WebAssembly/wasi-libc',
      dir: '/usr/share/doc/wasi-libc',
    },
  ];
}

function component(part, system) {
  const purl = part.source
    ? `pkg:deb/${system}/${part.source}@${encodeURIComponent(part.version)}?arch=source`
    : `pkg:npm/${part.title}@${part.version}`;
  return {
    type: 'library',
    'bom-ref': part.title,
    name: part.title,
    version: part.version,
    licenses: [{ license: { id: part.licence } }],
    purl,
    externalReferences: [{ type: 'website', url: part.home }],
  };
}

/** Write SBOM.json and LICENSES into `dir`. `sources`: from fetchSources(); `system`: "debian" or "ubuntu". */
function writeSbom(root, dir, sources, system) {
  const { name, version, license } = JSON.parse(
    fs.readFileSync(path.join(root, 'package.json'), 'utf8'),
  );
  const parts = [
    ...Object.entries(sources).map(([source, facts]) => ({ source, ...facts })),
    ...wasiLibcParts(dir),
    addonApiPart(),
  ];
  const sbom = {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      component: {
        type: 'library',
        'bom-ref': name,
        name,
        version,
        licenses: [{ license: { id: license } }],
        purl: `pkg:npm/${name}@${version}`,
      },
    },
    components: parts.map((part) => component(part, system)),
    dependencies: [{ ref: name, dependsOn: parts.map(({ title }) => title) }],
  };
  fs.writeFileSync(path.join(dir, 'SBOM.json'), JSON.stringify(sbom, null, 2) + '\n');

  const rule = '='.repeat(80);
  const texts = parts.map(
    (part) =>
      `${rule}\n${part.title} ${part.version}\n${part.home}\n${rule}\n\n${fs.readFileSync(path.join(part.dir, part.text), 'utf8').trim()}\n`,
  );
  const head =
    'The prebuilt addons and the WebAssembly in this folder contain code of the following projects.\nThey contain no OpenSSL, zlib or libuv: they use those of Node.\n';
  fs.writeFileSync(path.join(dir, 'LICENSES'), [head, ...texts].join('\n'));
}

module.exports = { writeSbom };
