'use strict';

/** The error that a user gets when the addon does not load. Each case is a package in a folder of its own. */

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, it, test } = require('node:test');

const { refused } = require('../support/setup/runtimes.js');

const ROOT = path.join(__dirname, '..', '..');
const RELEASE = 'build/Release/optimizely_amplitude.node';
const PREBUILT = `prebuilds/${process.platform}-${process.arch}/optimizely-amplitude.node`;
const ADDON = path.join(ROOT, RELEASE);

const PRINT_RESULT = `
  const runtime = JSON.parse(process.env.RUNTIME);
  if ('openssl' in runtime) Object.defineProperty(process, 'versions', { value: { ...process.versions, openssl: runtime.openssl ?? undefined } });
  for (const name of ['versions', 'platform', 'version', 'report']) {
    if (name in runtime) {
      const value = name === 'versions' ? { ...process.versions, ...runtime.versions } : runtime[name];
      Object.defineProperty(process, name, { value: value ?? undefined });
    }
  }
  if ('glibcVersionRuntime' in runtime) {
    const { header } = process.report.getReport();
    process.report.getReport = () => ({ header: { ...header, glibcVersionRuntime: undefined } });
  }
  if ('execPath' in runtime) process.execPath = require('node:path').resolve(runtime.execPath);
  try {
    const addon = require('./lib/binding.js');
    console.log(JSON.stringify({ keys: Object.keys(addon), file: addon.file }));
  } catch (error) {
    console.log(JSON.stringify({ code: error.code, message: error.message, cause: error.cause?.message }));
  }`;

/** Loads the binding in a package that has `files` ({ path: content }), in a process that pretends to be `runtime`. */
function loadIn(t, files, env = {}, runtime = {}) {
  const dir = layOut(t, files);
  return { dir, ...loadWith([process.execPath], dir, env, runtime) };
}

/** Lay a package that has `files` out in a folder of its own; returns the folder. */
function layOut(t, files) {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-binding-')));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const ours = ['addon', 'binding', 'obstacle', 'system', 'unloadable']
    .map((name) => `lib/${name}.js`)
    .concat('package.json')
    .map((file) => [file, fs.readFileSync(path.join(ROOT, file))]);
  for (const [file, content] of [...ours, ...Object.entries(files)]) {
    fs.mkdirSync(path.dirname(path.join(dir, file)), { recursive: true });
    fs.writeFileSync(path.join(dir, file), content);
  }
  return dir;
}

function loadWith([program, ...args], dir, env = {}, runtime = {}) {
  const script = path.join(dir, 'load.cjs');
  fs.writeFileSync(script, PRINT_RESULT);
  const child = spawnSync(program, [...args, script], {
    cwd: dir,
    encoding: 'utf8',
    env: {
      ...process.env,
      OPTIMIZELY_AMPLITUDE_BINDING: '',
      RUNTIME: JSON.stringify(runtime, (key, value) => value ?? null),
      ...env,
    },
  });
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout);
}

/** The head of a shared object for another processor than this one. */
function foreignElf() {
  const [name, machine] = process.arch === 'arm64' ? ['x64', 62] : ['arm64', 183];
  const elf = Buffer.alloc(4096);
  elf.write('\x7fELF\x02\x01\x01', 'latin1');
  elf.writeUInt16LE(3, 16); // a shared object
  elf.writeUInt16LE(machine, 18);
  elf.writeUInt32LE(1, 20);
  return { name, elf };
}

test('the addon loads', () => {
  assert.equal(typeof require('../../lib/binding.js'), 'object');
});

test('an addon that was never built: every place, this machine, and what to run', (t) => {
  const { dir, code, message, cause } = loadIn(t, {});
  assert.equal(code, 'ERR_OA_ADDON');
  assert.equal(cause, undefined);
  assert.ok(message.includes(`${process.platform}-${process.arch}`));
  assert.ok(message.includes(`Node ${process.version}`));
  if (process.platform === 'linux') {
    assert.match(message, /glibc \d+\.\d+|musl/);
  }
  for (const place of [PREBUILT, RELEASE, 'build/Debug/optimizely_amplitude.node']) {
    assert.ok(
      message.includes(`${path.join(dir, place)}\n      is not there`),
      `${place} in ${message}`,
    );
  }
  assert.match(message, /(apt-get|dnf|apk|brew) /);
  assert.match(message, /npm explore optimizely-amplitude -- npm run compile/);
});

test('a file that is not an addon: what the dynamic linker says, which is the cause as well', (t) => {
  const { code, message, cause } = loadIn(t, { [RELEASE]: 'this is not a shared object' });
  assert.equal(code, 'ERR_OA_ADDON');
  assert.match(cause, /optimizely_amplitude\.node/);
  assert.ok(message.includes(cause));
  assert.match(message, /copied from another machine/);
});

test(
  'an addon for another processor is named as one',
  { skip: process.platform !== 'linux' && 'the files are ELF' },
  (t) => {
    const { name, elf } = foreignElf();
    const { code, message } = loadIn(t, { [PREBUILT]: elf });
    assert.equal(code, 'ERR_OA_ADDON');
    assert.ok(
      message.includes(`${PREBUILT}\n      is built for ${name}, not for ${process.arch}`),
      message,
    );
  },
);

test(
  'a shared library that is missing: the package that carries it',
  { skip: process.platform !== 'linux' && 'the file is patched as ELF' },
  (t) => {
    const addon = fs.readFileSync(ADDON);
    const at = addon.indexOf('libcjson.so.1\0');
    assert.ok(at > 0, 'the addon needs libcjson');
    addon.write('libcjson.so.9', at, 'latin1');
    const { code, message } = loadIn(t, { [RELEASE]: addon });
    assert.equal(code, 'ERR_OA_ADDON');
    assert.match(message, /libcjson\.so\.9/);
    assert.match(
      message,
      /The library libcjson is missing on this machine:\n +\S*.*\b(libcjson1|cjson)\b/,
    );
    assert.doesNotMatch(message, /npm run compile/);
  },
);

test('the addon that was built here goes before a prebuilt one, and gives way to it when it does not load', (t) => {
  const addon = fs.readFileSync(ADDON);
  assert.ok(Array.isArray(loadIn(t, { [PREBUILT]: 'of another system', [RELEASE]: addon }).keys));
  assert.ok(Array.isArray(loadIn(t, { [PREBUILT]: addon, [RELEASE]: 'of another system' }).keys));
});

test('a runtime without OpenSSL 3: the error says so, and a prebuilt addon is not tried', (t) => {
  for (const [version, words] of [
    ['1.1.1', 'OpenSSL 1.1.1'],
    ['4.0.0', 'OpenSSL 4.0.0'],
    [undefined, 'none'],
  ]) {
    const { code, message } = loadIn(
      t,
      { [PREBUILT]: fs.readFileSync(ADDON) },
      {},
      { openssl: version },
    );
    assert.equal(code, 'ERR_OA_ADDON');
    assert.ok(
      message.includes(`uses the OpenSSL 3 of the runtime, and this runtime has ${words}`),
      message,
    );
    assert.match(message, /npm run compile/);
  }
});

/** An executable as far as it is examined: an ELF file that asks for `linker`, in which the name is at `position`. */
function executable(linker, position) {
  const elf = Buffer.alloc(position + linker.length + 1);
  elf.write('\x7fELF\x02\x01\x01', 'latin1');
  elf.writeBigUInt64LE(64n, 32); // where its program headers begin
  elf.writeUInt16LE(56, 54); // their size
  elf.writeUInt16LE(2, 56); // and number
  elf.writeUInt32LE(6, 64); // the first has none; the second is of the dynamic linker
  elf.writeUInt32LE(3, 120);
  elf.writeBigUInt64LE(BigInt(position), 128);
  elf.writeBigUInt64LE(BigInt(linker.length + 1), 152);
  elf.write(linker, position, 'latin1');
  return elf;
}

describe(
  'the C library decides which prebuilt addon is opened',
  { skip: process.platform !== 'linux' && 'the executable is ELF' },
  () => {
    const MUSL = '/lib/ld-musl-x86_64.so.1';
    const GLIBC = '/lib64/ld-linux-x86-64.so.2';
    const PREBUILT_MUSL = PREBUILT.replace('/optimizely', '-musl/optimizely');
    const addon = fs.readFileSync(ADDON);
    const both = { [PREBUILT]: addon, [PREBUILT_MUSL]: addon };

    for (const position of [1000, 100_000]) {
      it(`musl, and its linker is named at byte ${position} of the executable`, (t) => {
        const node = executable(MUSL, position);
        const { dir, file } = loadIn(t, { ...both, node }, {}, { execPath: 'node' });
        assert.equal(path.relative(dir, file), PREBUILT_MUSL);
      });
    }

    it('glibc', (t) => {
      const node = executable(GLIBC, 1000);
      const { dir, file } = loadIn(t, { ...both, node }, {}, { execPath: 'node' });
      assert.equal(path.relative(dir, file), PREBUILT);
    });

    it('on musl the addon for glibc is not tried, nor the other way round', (t) => {
      for (const [linker, there, absent] of [
        [MUSL, PREBUILT, PREBUILT_MUSL],
        [GLIBC, PREBUILT_MUSL, PREBUILT],
      ]) {
        const files = { [there]: addon, node: executable(linker, 1000) };
        const { dir, message } = loadIn(t, files, {}, { execPath: 'node' });
        assert.ok(message.includes(`${path.join(dir, absent)}\n      is not there`), message);
        assert.ok(!message.includes(path.join(dir, there)), message);
      }
    });

    it('where the executable cannot be read, the report of Node tells', (t) => {
      const execPath = 'no-such-file';
      const glibc = loadIn(t, both, {}, { execPath });
      assert.equal(path.relative(glibc.dir, glibc.file), PREBUILT);
      const { dir, file } = loadIn(t, both, {}, { execPath, glibcVersionRuntime: null });
      assert.equal(path.relative(dir, file), PREBUILT_MUSL);
    });
  },
);

test('bundled code: the error says to leave the package outside of the bundle', (t) => {
  const { code, message } = loadIn(t, { 'package.json': '{"name":"application"}' });
  assert.equal(code, 'ERR_OA_ADDON');
  assert.match(message, /a bundler has put its code\.\n.*outside of the bundle/);
  assert.match(message, /esbuild --external:optimizely-amplitude/);
  assert.doesNotMatch(message, /npm run compile/);
});

const PERMISSION_FLAG = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission'
  : '--experimental-permission';
const NO_PERMISSIONS =
  !process.allowedNodeEnvironmentFlags.has('--allow-addons') && 'this Node cannot forbid it';

test('a process that may read nothing but the package loads it', { skip: NO_PERMISSIONS }, (t) => {
  const { dir } = loadIn(t, { [PREBUILT]: fs.readFileSync(ADDON) });
  const args = [
    PERMISSION_FLAG,
    '--allow-addons',
    `--allow-fs-read=${dir}/*`,
    '--no-warnings',
    '-p',
    "Object.keys(require('./lib/binding.js')).length > 0",
  ];
  const { stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: dir,
    encoding: 'utf8',
    env: { ...process.env, OPTIMIZELY_AMPLITUDE_BINDING: '' },
  });
  assert.equal(stdout, 'true\n', stderr);
});

const REFUSALS = [
  ['Bun', { versions: { bun: '1.4.5' } }, /\bBun 1\.4\.5 cannot run it\. .*Node\.js 18 or later/],
  [
    'Deno',
    { versions: { deno: '2.9.6' } },
    /\bDeno 2\.9\.6 cannot run it\. .*Node\.js 18 or later/,
  ],
  [
    'Node 16',
    { version: 'v16.20.2', versions: { node: '16.20.2' } },
    /this is Node\.js v16\.20\.2\. .*Node\.js 18 or later/,
  ],
  ['Windows', { platform: 'win32' }, /there is none for Windows\. .*WSL/],
];
for (const [name, runtime, message] of REFUSALS) {
  test(`${name}: the error says what to do, and no addon is opened, wherever it is from`, (t) => {
    const addon = fs.readFileSync(ADDON);
    const cases = [
      [{}, {}],
      [{ [RELEASE]: addon }, {}],
      [{ [PREBUILT]: addon }, {}],
      [{}, { OPTIMIZELY_AMPLITUDE_BINDING: ADDON }],
    ];
    for (const [files, env] of cases) {
      const result = loadIn(t, files, env, runtime);
      assert.equal(result.code, 'ERR_OA_ADDON');
      assert.match(result.message, message);
      assert.doesNotMatch(result.message, /npm run compile/);
    }
  });
}

for (const { name, command } of refused()) {
  test(`${name}, the real one: the error says what to do`, (t) => {
    const dir = layOut(t, { [RELEASE]: fs.readFileSync(ADDON) });
    const { code, message } = loadWith(command, dir);
    assert.equal(code, 'ERR_OA_ADDON');
    assert.ok(message.includes(name), message);
    assert.match(message, /Start the application with Node\.js 18 or later/);
  });
}

test('a runtime without the diagnostic report: the error has the rest', (t) => {
  const { code, message } = loadIn(t, {}, {}, { report: null });
  assert.equal(code, 'ERR_OA_ADDON');
  assert.match(message, /npm run compile/);
});

describe('a process that may not load addons: the error says how it may', () => {
  for (const [title, files] of [
    ['when there is one', { [PREBUILT]: fs.readFileSync(ADDON) }],
    ['when there is none', {}],
  ]) {
    it(`--no-addons, ${title}`, (t) => {
      for (const [args, env] of [
        [['--no-addons'], {}],
        [[], { NODE_OPTIONS: '--no-addons' }],
      ]) {
        const { code, message } = loadWith([process.execPath, ...args], layOut(t, files), env);
        assert.equal(code, 'ERR_OA_ADDON');
        assert.match(message, /without --no-addons/);
        assert.doesNotMatch(message, /npm run compile/);
      }
    });

    it(`--permission, ${title}`, { skip: NO_PERMISSIONS }, (t) => {
      const dir = layOut(t, files);
      // A package whose places for addons may not even be read gets the same error.
      for (const readable of [`${dir}/*`, `${dir}/l*`]) {
        const command = [
          process.execPath,
          '--no-warnings',
          PERMISSION_FLAG,
          `--allow-fs-read=${readable}`,
          `--allow-fs-read=${dir}/package.json`,
        ];
        const { code, message } = loadWith(command, dir);
        assert.equal(code, 'ERR_OA_ADDON');
        assert.match(message, /--allow-addons in addition to --permission/);
        assert.doesNotMatch(message, /npm run compile/);
      }
    });
  }
});

test('another build can be given, and is then the only one tried', (t) => {
  const { keys } = loadIn(t, {}, { OPTIMIZELY_AMPLITUDE_BINDING: ADDON });
  assert.ok(Array.isArray(keys));
  const { message } = loadIn(
    t,
    { [RELEASE]: fs.readFileSync(ADDON) },
    { OPTIMIZELY_AMPLITUDE_BINDING: '/nonexistent.node' },
  );
  assert.ok(message.includes('/nonexistent.node\n      is not there'));
  assert.ok(!message.includes(RELEASE));
});
