'use strict';

/** Which file may know which other one, checked by reading the sources. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { filesBelow } = require('../support/util/files.js');

const ROOT = path.join(__dirname, '..', '..');
const MAX_LINES = 600;
const LEAVES = ['buf', 'clock', 'hash', 'log', 'mem'];
const LEAVES_MAY_SEE = ['oa.h', 'mem.h'];

const read = (file) => fs.readFileSync(path.join(ROOT, file), 'utf8');

const filesIn = (folder) => filesBelow(path.join(ROOT, folder)).map((file) => `${folder}/${file}`);

// What stands in for a system's libraries in a prebuilt addon follows their rules, not ours.
const nativeFiles = filesIn('src').filter(
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
  for (const file of [...filesIn('src'), ...filesIn('lib')]) {
    const lines = read(file).split('\n').length - 1;
    assert.ok(lines <= MAX_LINES, `${file} has ${lines} lines, more than ${MAX_LINES}`);
  }
});

// ---- JavaScript --------------------------------------------------------------------------------------

/** The files of lib with their texts: what each rule looks at. */
const libFiles = new Map(filesIn('lib').map((file) => [file, read(file)]));

/** The modules that a source requires or imports: paths from the root, and names of packages as they are. */
function requiresOf(file, source) {
  const modules = source.matchAll(/\b(?:require\(|import\(|from |import )\s*(['"])([^'"\n]+)\1/g);
  return [...modules].map(([, , name]) =>
    name.startsWith('.') ? path.posix.join(path.posix.dirname(file), name) : name,
  );
}

/** What the files require that `isBreach(file, module)` forbids, as "file -> module". */
const forbiddenRequires = (isBreach) => (files) =>
  [...files].flatMap(([file, source]) =>
    requiresOf(file, source)
      .filter((module) => isBreach(file, module))
      .map((module) => `${file} -> ${module}`),
  );

/** The files that have a word of `pattern`, and whose name is not one of `allowed`. */
const filesWith = (pattern, allowed) => (files) =>
  [...files]
    .filter(([file, source]) => !allowed.test(file) && pattern.test(source))
    .map(([file]) => file);

/** The files that require themselves in the end. */
function filesInCircles(files) {
  const requires = new Map([...files].map(([file, source]) => [file, requiresOf(file, source)]));
  const reach = (from, seen = new Set()) => {
    for (const module of requires.get(from) ?? []) {
      if (!seen.has(module)) {
        seen.add(module);
        reach(module, seen);
      }
    }
    return seen;
  };
  return [...files.keys()].filter((file) => reach(file).has(file));
}

/** Each with `find`, which lists the breaches among files, and a `breach` that it must find. */
const RULES = [
  {
    title: 'lib is what run time needs: it requires nothing outside of itself but package.json',
    find: forbiddenRequires(
      (file, module) =>
        !module.startsWith('lib/') && !module.startsWith('node:') && module !== 'package.json',
    ),
    breach: { 'lib/new.js': "const { MANAGERS } = require('../src/build/needs.js');" },
    found: ['lib/new.js -> src/build/needs.js'],
  },
  {
    title: 'the command line is required by itself alone',
    find: forbiddenRequires(
      (file, module) => module.startsWith('lib/cli/') && !file.startsWith('lib/cli/'),
    ),
    breach: { 'lib/new.mjs': "import { send } from './cli/http-client.js';" },
    found: ['lib/new.mjs -> lib/cli/http-client.js'],
  },
  {
    title: "a client's notification centre and configuration are known in lib/sdk alone",
    find: filesWith(
      /\b(notificationCenter|(add|remove)NotificationListener|OPTIMIZELY_CONFIG_UPDATE|getOptimizelyConfig|featuresMap|sourceInfo)\b/,
      /^lib\/sdk\/|\.d\.ts$/,
    ),
    breach: { 'lib/new.js': 'client.notificationCenter.clearAllNotificationListeners();' },
    found: ['lib/new.js'],
  },
  {
    title: 'lib/sdk is required by the listener and its callbacks alone',
    find: forbiddenRequires(
      (file, module) =>
        module.startsWith('lib/sdk/') &&
        !/^lib\/(sdk\/|dispatcher\.js|user-callbacks\.js)/.test(file),
    ),
    breach: { 'lib/lambda.js': "require('./sdk/notifications.js')" },
    found: ['lib/lambda.js -> lib/sdk/notifications.js'],
  },
  {
    title: "Amplitude's hosts are named in lib/endpoints.js alone",
    find: filesWith(/\bamplitude\.com\b/, /^lib\/endpoints\.js$/),
    breach: { 'lib/cli/new.js': "send('https://api2.amplitude.com/2/httpapi')" },
    found: ['lib/cli/new.js'],
  },
  {
    title: 'modules of lib require each other in one direction',
    find: filesInCircles,
    breach: { 'lib/a.js': "require('./b.js')", 'lib/b.js': "require('./a.js')", 'lib/c.js': '' },
    found: ['lib/a.js', 'lib/b.js'],
  },
];

for (const { title, find, breach, found } of RULES) {
  test(title, () => {
    assert.deepEqual(find(libFiles), []);
    assert.deepEqual(find(new Map(Object.entries(breach))), found, 'it finds a breach');
  });
}
