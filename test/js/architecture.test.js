'use strict';

/** Which file may depend on which other one, checked by reading the sources. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { filesBelow } = require('../support/util/files.js');

const ROOT = path.join(__dirname, '..', '..');
const MAX_LINES = 600;

const read = (file) => fs.readFileSync(path.join(ROOT, file), 'utf8');

const filesIn = (folder) => filesBelow(path.join(ROOT, folder)).map((file) => `${folder}/${file}`);

/** A file's name without folder and suffix: src/core/amplitude/ids.c -> ids. */
const moduleOf = (file) => path.basename(file).replace(/\.\w+$/, '');

/** The files that match `pattern`, and whose name is not one of `allowed`. */
const filesWith =
  (pattern, allowed, textOf = (source) => source) =>
  (files) =>
    [...files]
      .filter(([file, source]) => !allowed.test(file) && pattern.test(textOf(source)))
      .map(([file]) => file);

/** Each rule has `find`, which lists the breaches among files, and a `breach` that it must find. */
function checkRules(rules, files) {
  for (const { title, find, breach, found } of rules) {
    test(title, () => {
      assert.deepEqual(find(files), []);
      assert.deepEqual(find(new Map(Object.entries(breach))), found, 'it finds a breach');
    });
  }
}

// ---- C and C++ ---------------------------------------------------------------------------------------

// What stands in for a system's libraries in a prebuilt addon follows their rules, not ours.
const nativeFiles = new Map(
  filesIn('src')
    .filter((file) => /\.(c|h|cc)$/.test(file) && !file.startsWith('src/release/'))
    .map((file) => [file, read(file)]),
);

/** Headers that include no other header of the core but oa.h, and leaves, which may also allocate. */
const PURE = ['backoff', 'chance', 'coding', 'crc32', 'fit', 'huffman', 'ids', 'limits'];
const LEAVES = ['buf', 'hash', 'mem', 'status'];
/** The machine, from the top: what is further down is called by what is further up. */
const MACHINE = [
  'dispatcher',
  'deliver',
  'fleet',
  'verdict',
  'trouble',
  'drop',
  'intake',
  'notices',
];
const STANDARD =
  /^(assert|ctype|inttypes|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|string)\.h$/;
const LIBRARIES = {
  'cjson/cJSON.h': ['src/core/amplitude/response.c'],
  'xxhash.h': ['src/core/hash.c'],
  // What a processor can do: these come with the compiler, and need no operating system.
  'arm_acle.h': ['src/core/crc32.c'],
  'cpuid.h': ['src/core/crc32.c'],
  'immintrin.h': ['src/core/crc32.c'],
  'curl/curl.h': ['src/host/curl.c', 'src/host/multi.h'], // for curl.c and multi.c
  'openssl/err.h': ['src/host/trust.c'],
  'openssl/pem.h': ['src/host/trust.c'],
  'openssl/ssl.h': ['src/host/trust.c'],
  'openssl/x509_vfy.h': ['src/host/trust.c'],
  'zlib.h': ['src/host/gunzip.c'],
  'napi.h': [
    'src/host/node/config.h',
    'src/host/node/cohorts.h',
    'src/host/node/surveys.h',
    'src/host/node/values.h',
  ],
};

const isCore = (file) => file.startsWith('src/core/');

/** What a source includes: [name, whether it is the project's own]. */
const includesOf = (source) =>
  [...source.matchAll(/^\s*#\s*include\s*([<"])([^>"]+)/gm)].map(([, bracket, name]) => [
    name,
    bracket === '"',
  ]);

/** What the files include that `isBreach(file, name, isOwn)` forbids, as "file -> header". */
const forbiddenIncludes = (isBreach) => (files) =>
  [...files].flatMap(([file, source]) =>
    includesOf(source)
      .filter(([name, isOwn]) => isBreach(file, name, isOwn))
      .map(([name]) => `${file} -> ${name}`),
  );

/** A source without its comments, strings and include lines. */
const codeOf = (source) =>
  source.replace(
    /\/\*[\s\S]*?\*\/|\/\/.*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'|^\s*#\s*include.*/gm,
    ' ',
  );

/** The functions of the machine that a file calls although they are further up. */
function callsUp(files) {
  return [...files].flatMap(([file, source]) => {
    const place = isCore(file) ? MACHINE.indexOf(moduleOf(file)) : -1;
    const above = place < 0 ? [] : MACHINE.slice(0, place);
    const calls = codeOf(source).match(/\boa_[a-z]+_\w+(?=\()/g) ?? [];
    return calls
      .filter((name) => above.some((module) => name.startsWith(`oa_${module}_`)))
      .filter((name) => !new RegExp(`^[\\w *]*\\b${name}\\(.*\\{$`, 'm').test(source))
      .map((name) => `${file} calls ${name}`);
  });
}

// Those of the compiler begin with a double underscore, and are not ours: __attribute__, __cplusplus. CPython calls the
// initializer of the module _native so.
const COMPILERS_NAME =
  /^PyInit__native$|^__(cplusplus|\w+__|has_[a-z_]+|builtin_[a-z_]+|ARM_FEATURE_[A-Z0-9]+|crc32[bd]|get_cpuid(_count)?|m(128|256)i)$/;

checkRules(
  [
    {
      title:
        'the core includes itself, cJSON, xxHash, and what C11 has without an operating system',
      find: forbiddenIncludes(
        (file, name, isOwn) =>
          isCore(file) &&
          (isOwn
            ? !nativeFiles.has(`src/core/${name}`)
            : !STANDARD.test(name) && !LIBRARIES[name]?.includes(file)),
      ),
      breach: {
        'src/core/new.c': '#include <uv.h>\n#include <time.h>\n#include "../host/curl.h"\n',
        'src/host/new.c': '#include <uv.h>',
      },
      found: [
        'src/core/new.c -> uv.h',
        'src/core/new.c -> time.h',
        'src/core/new.c -> ../host/curl.h',
      ],
    },
    {
      title:
        'hosts see oa.h, cohort.h, segment.h, spool.h, survey.h and each other, and nothing else of the core',
      find: forbiddenIncludes(
        (file, name, isOwn) =>
          !isCore(file) &&
          isOwn &&
          !['oa.h', 'cohort.h', 'segment.h', 'spool.h', 'survey.h'].includes(name) &&
          !nativeFiles.has(path.posix.join(path.posix.dirname(file), name)),
      ),
      breach: { 'src/host/new.c': '#include "oa.h"\n#include "buf.h"\n#include "clock.h"' },
      found: ['src/host/new.c -> buf.h'],
    },
    {
      title: 'membership and delivery do not know each other',
      find: forbiddenIncludes((file, name, isOwn) => {
        const isCohort = /^cohort/.test(moduleOf(file));
        const included = moduleOf(name);
        return (
          isCore(file) &&
          isOwn &&
          (isCohort ? !/^(cohort\w*|hash|mem|oa)$/.test(included) : /^cohort/.test(included))
        );
      }),
      breach: {
        'src/core/cohort_new.c': '#include "queue.h"\n#include "mem.h"',
        'src/core/queue.c': '#include "cohort.h"',
      },
      found: ['src/core/cohort_new.c -> queue.h', 'src/core/queue.c -> cohort.h'],
    },
    {
      title: 'each library has one user',
      find: forbiddenIncludes(
        (file, name, isOwn) => !isOwn && name in LIBRARIES && !LIBRARIES[name].includes(file),
      ),
      breach: { 'src/core/new.c': '#include <cjson/cJSON.h>' },
      found: ['src/core/new.c -> cjson/cJSON.h'],
    },
    {
      title: 'leaves include no sibling',
      find: forbiddenIncludes((file, name, isOwn) => {
        const module = moduleOf(file);
        const isPure = PURE.includes(module);
        if (!isCore(file) || !isOwn || (!isPure && !LEAVES.includes(module))) {
          return false;
        }
        const allowed = ['oa', 'limits', ...(isPure ? [] : ['mem'])];
        return moduleOf(name) !== module && !allowed.includes(moduleOf(name));
      }),
      breach: {
        'src/core/buf.c': '#include "buf.h"\n#include "queue.h"',
        'src/core/fit.c': '#include "mem.h"',
      },
      found: ['src/core/buf.c -> queue.h', 'src/core/fit.c -> mem.h'],
    },
    {
      title: 'the state of the machine is seen by the machine alone',
      find: forbiddenIncludes(
        (file, name, isOwn) =>
          isOwn && name === 'state.h' && !MACHINE.some((module) => file === `src/core/${module}.c`),
      ),
      breach: { 'src/core/flush.c': '#include "state.h"' },
      found: ['src/core/flush.c -> state.h'],
    },
    {
      title: 'the machine calls one way: dispatcher, deliver, verdict, notices',
      find: callsUp,
      breach: { 'src/core/notices.c': 'void f(void) {\n    oa_verdict_apply(d, now);\n}\n' },
      found: ['src/core/notices.c calls oa_verdict_apply'],
    },
    {
      title: 'the heap is accessed in one place in the core',
      find: filesWith(
        /\b(malloc|calloc|realloc|free|strdup|strndup)\s*\(/,
        /^src\/(host\/|core\/mem\.c$)/,
        codeOf,
      ),
      breach: { 'src/core/new.c': '/* free(x) */ char *p = malloc(1);' },
      found: ['src/core/new.c'],
    },
    {
      title: 'no name has a double underscore',
      find: (files) =>
        [...files].flatMap(([file, source]) =>
          (codeOf(source).match(/\b\w*__\w*/g) ?? [])
            .filter((name) => !COMPILERS_NAME.test(name))
            .map((name) => `${file}: ${name}`),
        ),
      breach: { 'src/core/new.c': 'int a__b __attribute__((unused));' },
      found: ['src/core/new.c: a__b'],
    },
    {
      title: 'C keeps to 100 columns, comments too',
      find: (files) =>
        [...files].flatMap(([file, source]) =>
          source
            .split('\n')
            .flatMap((line, at) => (line.length > 100 ? [`${file}:${at + 1}`] : [])),
        ),
      breach: { 'src/core/new.c': `int a;\n/* ${'x'.repeat(100)} */` },
      found: ['src/core/new.c:2'],
    },
    {
      title: 'a header states on which thread it may be used',
      find: (files) =>
        [...files]
          .filter(([file, source]) => /\.h$/.test(file) && !/\bThread:|\[[a-z\s*]+\]/.test(source))
          .filter(([file]) => !/\/limits\.h$/.test(file)) // numbers only
          .map(([file]) => file),
      breach: { 'src/core/new.h': '/* new.h: things. */' },
      found: ['src/core/new.h'],
    },
  ],
  nativeFiles,
);

test('every source is built into the addon', () => {
  const listed = [...read('src/build/addon.gypi').matchAll(/'\.\.\/([\w/]+\.cc?)'/g)].map(
    ([, file]) => `src/${file}`,
  );
  // The hosts for Python and WebAssembly are programs of their own: src/build/python_backend.py, src/release/wasm.js.
  const sources = [...nativeFiles.keys()].filter(
    (file) => !file.endsWith('.h') && !/^src\/host\/(python|wasm)\//.test(file),
  );
  assert.deepEqual(listed.sort(), sources.sort());
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

/** The files that require themselves, directly or not. */
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

const RULES = [
  {
    title:
      'lib has what run time needs: it requires nothing outside of itself but package.json and WebAssembly',
    find: forbiddenRequires(
      (file, module) =>
        !module.startsWith('lib/') &&
        !module.startsWith('node:') &&
        !['package.json', 'prebuilds/wasm32/core.js'].includes(module) &&
        !(file.startsWith('lib/edge/') && /^cloudflare:|core\.wasm(\?module)?$/.test(module)),
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
    title:
      "a client's notification centre and configuration are used in lib/sdk and in browsers alone",
    find: filesWith(
      /\b(notificationCenter|(add|remove)NotificationListener|OPTIMIZELY_CONFIG_UPDATE|getOptimizelyConfig|featuresMap|sourceInfo)\b/,
      /^lib\/(sdk|browser)\/|\.d\.ts$/,
    ),
    breach: { 'lib/new.js': 'client.notificationCenter.clearAllNotificationListeners();' },
    found: ['lib/new.js'],
  },
  {
    title: 'lib/sdk is required by the listener, its callbacks, and the clients of audiences alone',
    find: forbiddenRequires(
      (file, module) =>
        module.startsWith('lib/sdk/') &&
        !/^lib\/(sdk\/|dispatcher\.js|user-callbacks\.js|audiences\/clients\.js)/.test(file),
    ),
    breach: { 'lib/lambda.js': "require('./sdk/notifications.js')" },
    found: ['lib/lambda.js -> lib/sdk/notifications.js'],
  },
  {
    title: 'what browsers load requires nothing else',
    find: forbiddenRequires(
      (file, module) => /^lib\/browser\/\w+\.mjs$/.test(file) && !module.startsWith('lib/browser/'),
    ),
    breach: { 'lib/browser/new.mjs': "import api from '../index.js';\nimport './hash.mjs';" },
    found: ['lib/browser/new.mjs -> lib/index.js'],
  },
  {
    title: "Amplitude's hosts are named in lib/endpoints.js alone, and for Python in endpoints.py",
    find: filesWith(
      /\bamplitude\.com\b/,
      /^lib\/(endpoints\.js|python\/optimizely_amplitude\/endpoints\.py)$/,
    ),
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

checkRules(RULES, libFiles);
