'use strict';

/** The rules about who may know whom in the native code, kept by reading the sources. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const ROOT = path.join(__dirname, '..', '..');
const MAX_LINES = 600;
const LEAVES = ['buf', 'clock', 'hash', 'log', 'mem'];
const LEAVES_MAY_SEE = ['oa.h', 'mem.h'];

const read = (file) => fs.readFileSync(path.join(ROOT, file), 'utf8');

function filesBelow(folder) {
  return fs.readdirSync(path.join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const file = `${folder}/${entry.name}`;
    return entry.isDirectory() ? filesBelow(file) : [file];
  });
}

// What stands in for a system's libraries in a prebuilt addon follows their rules, not ours.
const nativeFiles = filesBelow('src').filter(
  (file) => /\.(c|h|cc)$/.test(file) && !file.startsWith('src/release/'),
);
const coreFiles = nativeFiles.filter((file) => file.startsWith('src/core/'));

/** What a source includes: { own: of the project, foreign: of the system and of libraries }. */
function includesOf(file) {
  const includes = { own: [], foreign: [] };
  for (const [, bracket, name] of read(file).matchAll(/^\s*#\s*include\s*([<"])([^>"]+)/gm)) {
    includes[bracket === '"' ? 'own' : 'foreign'].push(name);
  }
  return includes;
}

/** A source without its comments, strings and include lines. */
function codeOf(file) {
  return read(file).replace(
    /\/\*[\s\S]*?\*\/|\/\/.*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'|^\s*#\s*include.*/gm,
    ' ',
  );
}

/** The core files, apart from `exceptions`, whose code has `pattern`. */
function coreFilesWith(pattern, exceptions) {
  return coreFiles.filter(
    (file) => !exceptions.includes(path.basename(file)) && pattern.test(codeOf(file)),
  );
}

/** The core files that include a foreign header which matches `pattern`. */
function coreFilesIncluding(pattern) {
  return coreFiles.filter((file) => includesOf(file).foreign.some((name) => pattern.test(name)));
}

test('the binding sees only the public header of the core', () => {
  assert.deepEqual(includesOf('src/host/node/binding.cc').own, ['oa.h']);
});

test('the core sees no header of Node', () => {
  assert.deepEqual(coreFilesIncluding(/^(node|napi|js_native_api|v8|nan\b)/), []);
});

test('each library has one user', () => {
  assert.deepEqual(coreFilesIncluding(/^curl\//), ['src/core/transport_curl.c']);
  assert.deepEqual(coreFilesIncluding(/cJSON\.h$/), ['src/core/response.c']);
  assert.deepEqual(coreFilesIncluding(/^xxhash\.h$/), ['src/core/hash.c']);
});

test('leaves know no sibling', () => {
  for (const file of coreFiles) {
    const module = path.basename(file).replace(/\.[ch]$/, '');
    if (!LEAVES.includes(module)) {
      continue;
    }
    const siblings = includesOf(file).own.filter(
      (name) => name !== `${module}.h` && !LEAVES_MAY_SEE.includes(name),
    );
    assert.deepEqual(siblings, [], file);
  }
});

test('the loop, the heap and the clock have one door each', () => {
  assert.deepEqual(
    coreFilesWith(/\buv_(timer|queue_work|async|check|prepare|idle)/, [
      'deliver.c',
      'dispatcher.c',
      'dispatcher.h',
    ]),
    [],
  );
  assert.deepEqual(
    coreFilesWith(/\b(malloc|calloc|realloc|free|strdup|strndup)\s*\(/, ['mem.c']),
    [],
  );
  assert.deepEqual(
    coreFilesWith(/\b(clock_gettime|gettimeofday|time|uv_hrtime|uv_now)\s*\(/, ['clock.c']),
    [],
  );
});

test('the environment is read by nothing in the core', () => {
  assert.deepEqual(coreFilesWith(/\b(getenv|secure_getenv|setenv|putenv)\s*\(/, []), []);
});

test('no name has a double underscore', () => {
  // Those of the compiler itself begin with one, and are not ours: __attribute__, __cplusplus.
  const compilers = /^__(cplusplus|[A-Za-z]+__|has_[a-z_]+|builtin_[a-z_]+)$/;
  for (const file of nativeFiles) {
    const names = codeOf(file).match(/\b\w*__\w*/g) ?? [];
    assert.deepEqual(
      names.filter((name) => !compilers.test(name)),
      [],
      file,
    );
  }
});

test('every source of the core is built into the addon', () => {
  const listed = [...read('src/build/addon.gypi').matchAll(/'\.\.\/([\w/]+\.cc?)'/g)].map(
    ([, file]) => `src/${file}`,
  );
  assert.deepEqual(listed.sort(), nativeFiles.filter((file) => !file.endsWith('.h')).sort());
});

test('no file has two subjects', () => {
  for (const file of [...filesBelow('src'), ...filesBelow('lib')]) {
    const lines = read(file).split('\n').length - 1;
    assert.ok(lines <= MAX_LINES, `${file} has ${lines} lines, more than ${MAX_LINES}`);
  }
});
