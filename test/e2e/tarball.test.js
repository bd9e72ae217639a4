'use strict';

/**
 * What a user gets from the registry: the packed package, installed in an empty project on a machine
 * with npm and without a compiler, and used there with every Node that test/support/setup/runtimes.js fetched.
 * On a system without a prebuilt addon, the same installation compiles it.
 */

const assert = require('node:assert/strict');
const { execFile, execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');
const { promisify } = require('node:util');

const { nodeDir } = require('../../src/build/compile.js');
const { missingAddons, stage } = require('../../src/release/stage.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { nodes, npms } = require('../support/setup/runtimes.js');
const { TARGETS, notTestable } = require('../support/setup/prebuilds.js');

const ROOT = path.join(__dirname, '..', '..');
const MAX_BYTES = 2_000_000; // four addons of 270 kB, compressed, and WebAssembly three times, of 48 kB
const MAX_UNPACKED_BYTES = 5_500_000; // four addons of 550 kB, headers of 370 kB to compile with, and sources
const COMPILERS = ['cc', 'gcc', 'g++', 'c++', 'clang', 'make', 'python', 'python3', 'node-gyp'];

// npm's warnings about settings of this machine that it no longer knows.
const UNKNOWN_CONFIG = /^npm warn Unknown \w+ config .*\n/gim;

const runFile = promisify(execFile);

/** Pack `folder` into `dir`; returns what npm reports about the tarball. */
function pack(folder, dir) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', dir];
  const [packed] = JSON.parse(
    execFileSync('npm', args, {
      cwd: folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
  return packed;
}

describe('the packed package', { skip: notTestable() }, () => {
  let dir;
  let packed;
  let env;
  const amplitudes = {};

  before(async () => {
    dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-tarball-')));
    packed = pack(stage(), dir);
    env = cleanEnvironment();
    amplitudes.http = await startAmplitude();
    amplitudes.https = await startAmplitude({ tls: true });
  });

  after(async () => {
    await amplitudes.http.close();
    await amplitudes.https.close();
    fs.rmSync(dir, { recursive: true });
  });

  /** A PATH on which there is node and npm, and a HOME without configuration. */
  function cleanEnvironment() {
    const bin = path.join(dir, 'bin');
    fs.mkdirSync(bin);
    fs.symlinkSync(process.execPath, path.join(bin, 'node'));
    fs.symlinkSync(
      fs.realpathSync(execFileSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim()),
      path.join(bin, 'npm'),
    );
    fs.symlinkSync('/bin/sh', path.join(bin, 'sh'));
    // npm's own settings (a registry, a proxy) stay; those of the `npm test` around this do not.
    const kept = Object.entries(process.env).filter(
      ([name]) =>
        !/^(npm_(?!config_(registry|cache|.*proxy))|NODE_|OPTIMIZELY_AMPLITUDE|INIT_CWD)/i.test(
          name,
        ),
    );
    return { ...Object.fromEntries(kept), PATH: bin };
  }

  /** An empty project in which it is installed. Returns its folder and what npm said. */
  async function install(name, cli, flags) {
    const project = path.join(dir, name.replace(/\W/g, '-'));
    fs.mkdirSync(project);
    fs.writeFileSync(
      path.join(project, 'package.json'),
      '{ "name": "application", "private": true }\n',
    );
    const command = cli === null ? ['npm'] : [process.execPath, cli];
    const args = ['install', '--prefer-offline', ...flags, path.join(dir, packed.filename)];
    const { stdout, stderr } = await runFile(command[0], [...command.slice(1), ...args], {
      cwd: project,
      env,
    });
    return { project, said: (stdout + stderr).replace(UNKNOWN_CONFIG, '') };
  }

  it('is small, and has what it should', () => {
    const names = packed.files.map((file) => file.path);
    for (const target of TARGETS) {
      assert.ok(names.includes(`prebuilds/${target}/optimizely-amplitude.node`), target);
    }
    for (const name of [
      'src/build/node-addon-api/LICENSE.md',
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
      'prebuilds/SBOM.json',
      'prebuilds/LICENSES',
      'src/build/addon.gypi',
      'docs/options.md',
      'test/examples/http.js',
      'test/examples/datafile.json',
    ]) {
      assert.ok(names.includes(name), name);
    }
    assert.deepEqual(
      names.filter((name) => !/^((docs|lib|src|prebuilds|test\/examples)\/|[\w.]+$)/.test(name)),
      [],
    );
    assert.deepEqual(
      names.filter((name) => /^(src\/release|build)\//.test(name)),
      [],
    );
    // Node.js has the module in prebuilds/wasm32/core.js; and no source is there that nothing compiles.
    assert.deepEqual(
      names.filter((name) => /\.(wasm|[cm]?js\.map)$|^src\/host\/(python|wasm)\//.test(name)),
      ['lib/edge/core.wasm'],
    );
    assert.ok(packed.size < MAX_BYTES, `${packed.size} bytes`);
    assert.ok(packed.unpackedSize < MAX_UNPACKED_BYTES, `${packed.unpackedSize} bytes, unpacked`);
  });

  it('is resolved alike by Node, TypeScript and bundlers (publint, arethetypeswrong)', () => {
    const tool = (name, ...args) =>
      execFileSync(
        process.execPath,
        [path.join(ROOT, 'node_modules', ...name), ...args, packed.filename],
        { cwd: dir, encoding: 'utf8' },
      );
    assert.match(tool(['publint', 'src', 'cli.js'], '--strict'), /All good!/);
    const attw = (...args) =>
      tool(['@arethetypeswrong', 'cli', 'dist', 'index.js'], ...args, '--no-color', '--no-emoji');
    assert.match(attw('--exclude-entrypoints', 'edge'), /No problems found/);
    // Edge runtimes have ES modules alone.
    const edge = ['--entrypoints', 'edge', '--ignore-rules', 'cjs-resolves-to-esm'];
    assert.match(attw(...edge), /No problems found/);
  });

  it('has nothing that a package manager would run', () => {
    // npm, pnpm and Yarn run node-gyp for a binding.gyp at the top; all of them ask, or warn, for install scripts.
    assert.ok(!packed.files.some((file) => file.path === 'binding.gyp'));
    const { scripts } = JSON.parse(
      fs.readFileSync(path.join(ROOT, 'build', 'package', 'package.json'), 'utf8'),
    );
    assert.deepEqual(
      Object.keys(scripts).filter((name) => /^(pre|post)?install$|^prepare$/.test(name)),
      [],
    );
  });

  it('does not stop the installation of an application on another system', () => {
    const { os: systems, cpu } = JSON.parse(
      fs.readFileSync(path.join(ROOT, 'build', 'package', 'package.json'), 'utf8'),
    );
    assert.deepEqual([systems, cpu], [undefined, undefined]);
  });

  it('cannot be built on the machine of these tests', () => {
    const found = COMPILERS.filter((name) =>
      env.PATH.split(path.delimiter).some((folder) => fs.existsSync(path.join(folder, name))),
    );
    assert.deepEqual(found, []);
  });

  for (const { name, cli } of npms()) {
    for (const flags of [[], ['--ignore-scripts']]) {
      it(`is installed by ${[name, ...flags].join(' ')} without a warning`, async () => {
        const { project, said } = await install([name, ...flags].join(' '), cli, flags);
        assert.doesNotMatch(said, /warn|deprecat|error|approve|script/i);
        const installed = fs
          .readdirSync(path.join(project, 'node_modules'))
          .filter((entry) => !entry.startsWith('.'));
        assert.deepEqual(installed, ['optimizely-amplitude']);
      });
    }
  }

  // Where npm installs for another system, as for a container image.
  for (const flags of [
    ['--os=win32', '--cpu=x64'],
    ['--os=darwin', '--cpu=arm64'],
    ['--os=linux', '--libc=musl'],
  ]) {
    it(`is installed with ${flags.join(' ')}, and has WebAssembly there`, async () => {
      const { project, said } = await install(flags.join(' '), null, flags);
      assert.doesNotMatch(said, /warn|error/i);
      const installed = path.join(project, 'node_modules', 'optimizely-amplitude');
      assert.ok(fs.existsSync(path.join(installed, 'prebuilds', 'wasm32', 'core.js')));
    });
  }

  describe('delivers', () => {
    let project;

    before(async () => {
      ({ project } = await install('application', null, ['--ignore-scripts']));
      fs.copyFileSync(
        path.join(ROOT, 'test', 'support', 'process', 'deliver.js'),
        path.join(project, 'deliver.js'),
      );
    });

    async function assertDelivers(amplitude, [program, ...args], file, target) {
      const before = amplitude.requests.length;
      const caFile = amplitude.caFile ? [amplitude.caFile] : [];
      const { stdout, stderr } = await runFile(
        program,
        [...args, file, amplitude.httpapi, ...caFile],
        { cwd: project, env },
      );
      const { addon, ...rest } = JSON.parse(stdout);
      assert.deepEqual(rest, { delivered: 1, pending: 0, sameInEsm: true });
      assert.equal(path.basename(path.dirname(addon)), target);
      assert.equal(stderr, '');
      assert.equal(amplitude.requests.length, before + 1);
    }

    it('in an application that esbuild bundles, except for this package', async () => {
      const options = {
        entryPoints: ['deliver.js'],
        outfile: 'bundle.js',
        bundle: true,
        platform: 'node',
        external: ['optimizely-amplitude'],
      };
      require('esbuild').buildSync({ ...options, absWorkingDir: project, logLevel: 'error' });
      await assertDelivers(amplitudes.http, [process.execPath], 'bundle.js', nodes()[0].target);
    });

    for (const { name, command, target } of nodes()) {
      for (const scheme of ['http', 'https']) {
        it(`over ${scheme} with ${name}`, () =>
          assertDelivers(amplitudes[scheme], command, 'deliver.js', target));
      }
    }
  });
});

describe('the packed package without a prebuilt addon', () => {
  let dir;
  let project;
  let env;

  before(() => {
    dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-compile-')));
    const folder = stage(path.join(dir, 'package'));
    fs.rmSync(path.join(folder, 'prebuilds'), { recursive: true, force: true });
    assert.deepEqual(missingAddons(folder), [...TARGETS, 'wasm32']);
    const { filename } = pack(folder, dir);
    project = path.join(dir, 'application');
    fs.mkdirSync(project);
    fs.writeFileSync(path.join(project, 'package.json'), '{ "name": "application" }\n');
    env = offlineEnvironment();
    npm('install', '--ignore-scripts', path.join(dir, filename));
  });

  after(() => fs.rmSync(dir, { recursive: true }));

  /** Without a cache of npm's, a network, and what the `npm test` around this sets. */
  function offlineEnvironment() {
    const kept = Object.entries(process.env).filter(
      ([name]) => !/^(npm_|NODE_|OPTIMIZELY_AMPLITUDE|INIT_CWD)/i.test(name),
    );
    return {
      ...Object.fromEntries(kept),
      HOME: dir,
      npm_config_cache: path.join(dir, 'cache'),
      npm_config_offline: 'true',
      https_proxy: 'http://127.0.0.1:1',
    };
  }

  function npm(...args) {
    return execFileSync('npm', args, { cwd: project, env, encoding: 'utf8', stdio: 'pipe' });
  }

  it(
    'compiles its addon with one command, without a network',
    { skip: nodeDir() === null && 'this Node is installed without its headers' },
    () => {
      npm('explore', 'optimizely-amplitude', '--', 'npm', 'run', 'compile');
      const info = execFileSync(
        process.execPath,
        ['-p', "JSON.stringify(require('optimizely-amplitude').info())"],
        { cwd: project, env, encoding: 'utf8' },
      );
      assert.equal(
        JSON.parse(info).addon,
        path.join(
          ...[project, 'node_modules', 'optimizely-amplitude'],
          ...['build', 'Release', 'optimizely_amplitude.node'],
        ),
      );
    },
  );
});
