'use strict';

/** What the prebuilt addons need of a system, read from the files themselves. */

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it, test } = require('node:test');

const { nodes } = require('../support/setup/runtimes.js');
const { TARGETS, fileOf, notTestable } = require('../support/setup/prebuilds.js');

const ROOT = path.join(__dirname, '..', '..');
const MAX_BYTES = 620_000;
const GLIBC = [2, 28]; // what Node 18 to 26 themselves need
/** Those that may be needed; the first must be. With another C library that one is not found, and nothing is loaded. */
const SYSTEM_LIBRARIES = {
  'linux-x64': ['libc.so.6', 'libm.so.6', 'libpthread.so.0', 'libdl.so.2', 'ld-linux-x86-64.so.2'],
  'linux-arm64': [
    'libc.so.6',
    'libm.so.6',
    'libpthread.so.0',
    'libdl.so.2',
    'ld-linux-aarch64.so.1',
  ],
  'linux-x64-musl': ['libc.musl-x86_64.so.1'],
  'linux-arm64-musl': ['libc.musl-aarch64.so.1'],
};
/** The C library of musl 1.2.3 that `npm run prebuild` compiles for: all names that it has. */
const MUSL = {
  'linux-x64-musl': 'amd64/lib/x86_64-linux-musl/libc.so',
  'linux-arm64-musl': 'arm64/lib/aarch64-linux-musl/libc.so',
};
const ZLIB = ['inflate', 'inflateEnd', 'inflateInit2_', 'inflateReset'];
const LOAD_RUNS = 7;
const LOAD_SHARE = 0.25; // of the start of Node itself; it is 0.13 where the whole takes 8 ms

const skip = notTestable();

function output(program, ...args) {
  return execFileSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
}

/** The symbols that the dynamic linker sees: [{ name, version, defined, weak }]. */
function dynamicSymbols(file) {
  const rows = output('readelf', '-W', '--dyn-syms', file).matchAll(
    /^\s*\d+: \w+\s+\d+ \w+\s+(\w+)\s+\w+\s+(\w+) ([^@\s]+)(?:@@?(\S+))?/gm,
  );
  return [...rows]
    .filter(([, bind]) => bind !== 'LOCAL')
    .map(([, bind, section, name, version]) => ({
      name,
      version,
      defined: section !== 'UND',
      weak: bind === 'WEAK',
    }));
}

/** A Node and its shared libraries: a distribution's own has OpenSSL, libuv and zlib in those. */
function programFiles({ command, target }) {
  if (command.length > 1 || target in MUSL) {
    return [command.at(-1)]; // for another system: its libraries are not on this machine
  }
  const libraries = output('ldd', command[0]).matchAll(/=> (\/\S+)/g);
  return [command[0], ...[...libraries].map(([, file]) => file)];
}

/** The names that a C library of musl has. */
function namesOf(library) {
  const file = path.join(ROOT, 'build', 'prebuild', 'musl', library);
  return new Set(fs.existsSync(file) ? dynamicSymbols(file).map(({ name }) => name) : []);
}

/** What a glibc version is above GLIBC, as in "GLIBC_2.34". */
function isNewer(version) {
  const [major, minor] = version.replace('GLIBC_', '').split('.').map(Number);
  return major > GLIBC[0] || (major === GLIBC[0] && minor > GLIBC[1]);
}

for (const target of TARGETS) {
  describe(`the prebuilt addon for ${target}`, { skip }, () => {
    const file = fileOf(target);
    const symbols = skip ? [] : dynamicSymbols(file);
    const needed = symbols.filter(({ defined, weak }) => !defined && !weak);
    const ofLibc = target in MUSL ? namesOf(MUSL[target]) : new Set();
    // Those of glibc have a version.
    const fromNode = needed
      .filter(({ name, version }) => version === undefined && !ofLibc.has(name))
      .map(({ name }) => name);

    it('is small, and stripped', () => {
      assert.ok(fs.statSync(file).size < MAX_BYTES);
      assert.doesNotMatch(output('readelf', '-W', '-S', file), /\.symtab|\.debug_/);
    });

    it('needs the C library and nothing else of the system', () => {
      const libraries = [
        ...output('readelf', '-W', '-d', file).matchAll(/\(NEEDED\).*\[(.+)\]/g),
      ].map(([, name]) => name);
      const [libc] = SYSTEM_LIBRARIES[target];
      assert.ok(libraries.includes(libc));
      assert.deepEqual(
        libraries.filter((name) => !SYSTEM_LIBRARIES[target].includes(name)),
        [],
      );
    });

    it(target in MUSL ? 'has nothing of glibc' : `runs with glibc ${GLIBC.join('.')}`, () => {
      const versions = new Set(symbols.flatMap(({ version }) => version ?? []));
      assert.deepEqual(
        [...versions].filter(
          (version) => target in MUSL || !version.startsWith('GLIBC_') || isNewer(version),
        ),
        [],
      );
      assert.equal(versions.size === 0, target in MUSL);
    });

    it('is bound to its own symbols, at once, and is never unmapped', () => {
      assert.match(
        output('readelf', '-W', '-d', file),
        /\(FLAGS\)\s+SYMBOLIC BIND_NOW[^]*\(FLAGS_1\)\s+Flags: NOW NODELETE/,
      );
    });

    it('exports the two entry points of Node-API', () => {
      const shown = symbols.filter(({ defined }) => defined).map(({ name }) => name);
      assert.deepEqual(shown.sort(), [
        'napi_register_module_v1',
        'node_api_module_get_api_version_v1',
      ]);
    });

    it('imports from Node only what is intended: no HTTP/2, no C++, of zlib only decompression', () => {
      assert.deepEqual(
        fromNode.filter((name) => /^(nghttp2_|_Z|Brotli|ares_|llhttp_)/.test(name)),
        [],
      );
      assert.deepEqual(
        fromNode
          .filter((name) => /^(inflate|deflate|compress|crc32|adler32|zlib|gz)/.test(name))
          .sort(),
        ZLIB,
      );
      assert.ok(fromNode.includes('SSL_connect') && fromNode.includes('uv_queue_work'));
    });

    for (const node of nodes().filter((each) => each.target === target)) {
      it(`finds all of that in ${node.name}`, () => {
        const exported = new Set(
          programFiles(node)
            .flatMap(dynamicSymbols)
            .filter(({ defined }) => defined)
            .map((symbol) => symbol.name),
        );
        assert.deepEqual(
          fromNode.filter((symbol) => !exported.has(symbol)),
          [],
        );
      });
    }
  });
}

test('what is linked in is listed, with its licence', { skip }, () => {
  const { name, version } = require('../../package.json');
  const sbom = JSON.parse(fs.readFileSync(path.join(ROOT, 'prebuilds', 'SBOM.json'), 'utf8'));
  const licences = fs.readFileSync(path.join(ROOT, 'prebuilds', 'LICENSES'), 'utf8');
  assert.equal(sbom.bomFormat, 'CycloneDX');
  assert.deepEqual(
    [sbom.metadata.component.name, sbom.metadata.component.version],
    [name, version],
  );
  assert.deepEqual(
    sbom.components.map((component) => component.name),
    ['curl', 'cJSON', 'xxHash', 'wasi-libc', 'node-addon-api'],
  );
  for (const component of sbom.components) {
    assert.match(component.version, /^\d+\.\d+/);
    assert.ok(component.licenses[0].license.id);
    assert.ok(licences.includes(`\n${component.name} ${component.version}\n`), component.name);
  }
  assert.match(licences, /Copyright \(c\) 1996 - \d+, Daniel Stenberg/);
  assert.match(licences, /Dave Gamble/);
  assert.match(licences, /Yann Collet/);
});

test(
  'the addon reports the same versions as the list',
  { skip: skip || (`linux-${process.arch}` !== TARGETS[0] && 'it is for another processor') },
  () => {
    const { components } = JSON.parse(
      fs.readFileSync(path.join(ROOT, 'prebuilds', 'SBOM.json'), 'utf8'),
    );
    const env = { ...process.env, OPTIMIZELY_AMPLITUDE_BINDING: fileOf(TARGETS[0]) };
    const { prebuilt, libraries } = JSON.parse(
      execFileSync(process.execPath, ['-p', "JSON.stringify(require('.').info())"], {
        cwd: ROOT,
        env,
        encoding: 'utf8',
      }),
    );
    assert.equal(prebuilt, true);
    for (const [name, inList] of [
      ['libcurl', 'curl'],
      ['cJSON', 'cJSON'],
      ['xxHash', 'xxHash'],
    ]) {
      const { version, licenses } = components.find((component) => component.name === inList);
      const library = libraries.find((candidate) => candidate.name === name);
      assert.ok(version.startsWith(library.version), `${name}: ${version}, ${library.version}`);
      assert.equal(library.license, licenses[0].license.id);
    }
  },
);

test(
  'loading it takes a small part of the start of Node',
  { skip: skip || (`linux-${process.arch}` !== TARGETS[0] && 'it is for another processor') },
  () => {
    const script = `
    const cpu = () => { const { user, system } = process.cpuUsage(); return user + system; };
    const start = cpu();
    require('.').createDispatcher({ apiKey: 'key', serverUrl: 'http://127.0.0.1:1/x' });
    console.log(JSON.stringify([start, cpu() - start]));
    process.exit();`;
    const env = { ...process.env, OPTIMIZELY_AMPLITUDE_BINDING: fileOf(`linux-${process.arch}`) };
    const runs = Array.from({ length: LOAD_RUNS }, () =>
      JSON.parse(
        execFileSync(process.execPath, ['-e', script], { cwd: ROOT, env, encoding: 'utf8' }),
      ),
    );
    const [start, load] = [0, 1].map((i) => Math.min(...runs.map((run) => run[i])));
    assert.ok(
      load < start * LOAD_SHARE,
      `${load} us of processor time, the start of Node takes ${start} us`,
    );
  },
);
