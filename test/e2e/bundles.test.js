'use strict';

/**
 * Bundles of an application, run in a folder where there is nothing else: they deliver with WebAssembly, since a bundler
 * does not take the native addon along. The package is the one that is published.
 */

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');
const { promisify } = require('node:util');

const { stage } = require('../../src/release/stage.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { viewed } = require('../support/dispatcher/harness.js');
const { wasmNotTestable } = require('../support/setup/prebuilds.js');

const run = promisify(execFile);

const ROOT = path.join(__dirname, '..', '..');

const APPLICATION = `
  import { createInstance, createStaticProjectConfigManager } from '@optimizely/optimizely-sdk';
  import { createDispatcher, info } from 'optimizely-amplitude';

  import datafile from './datafile.json';

  const [, , serverUrl, userId] = process.argv;
  const optimizely = createInstance({
    projectConfigManager: createStaticProjectConfigManager({ datafile: JSON.stringify(datafile) }),
  });
  const dispatcher = createDispatcher({ apiKey: 'a-test-key', serverUrl });
  dispatcher.attach(optimizely);
  optimizely.createUserContext(userId).decide('homepage_banner');
  dispatcher.close().then(({ delivered }) => {
    console.log(JSON.stringify({ delivered, engine: info().engine }));
  });
`;

describe('a bundle', { skip: wasmNotTestable() }, () => {
  let folder;
  let entry;
  let amplitude;

  before(async () => {
    amplitude = await startAmplitude();
    folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-bundle-')));
    const modules = path.join(folder, 'node_modules');
    fs.cpSync(stage(path.join(folder, 'staged')), path.join(modules, 'optimizely-amplitude'), {
      recursive: true,
    });
    fs.symlinkSync(
      path.join(ROOT, 'node_modules', '@optimizely'),
      path.join(modules, '@optimizely'),
    );
    fs.copyFileSync(
      path.join(ROOT, 'test', 'examples', 'datafile.json'),
      path.join(folder, 'datafile.json'),
    );
    entry = path.join(folder, 'application.mjs');
    fs.writeFileSync(entry, APPLICATION);
  });

  after(async () => {
    await amplitude.close();
    fs.rmSync(folder, { recursive: true });
  });

  const BUNDLERS = {
    async esbuild(outfile) {
      await require('esbuild').build({
        entryPoints: [entry],
        outfile,
        bundle: true,
        platform: 'node',
        target: 'node18',
        logLevel: 'error',
      });
    },

    async rollup(file) {
      const plugin = (name, options) => {
        const loaded = require(`@rollup/plugin-${name}`);
        return (loaded.default ?? loaded)(options);
      };
      const bundle = await require('rollup').rollup({
        input: entry,
        external: (name) => name.startsWith('node:') || require('node:module').isBuiltin(name),
        plugins: [
          plugin('node-resolve', { preferBuiltins: true, exportConditions: ['node'] }),
          plugin('commonjs', { ignoreDynamicRequires: true }),
          plugin('json'),
        ],
        onwarn() {},
      });
      await bundle.write({ file, format: 'cjs', inlineDynamicImports: true });
      await bundle.close();
    },

    async webpack(file) {
      const compiler = require('webpack')({
        entry,
        mode: 'production',
        target: 'node18',
        output: { path: path.dirname(file), filename: path.basename(file) },
      });
      const stats = await promisify(compiler.run.bind(compiler))();
      assert.deepEqual(stats.toJson({ all: false, errors: true }).errors, []);
    },

    async vite(file) {
      const { build } = await import('vite');
      await build({
        root: folder,
        configFile: false,
        logLevel: 'silent',
        ssr: { noExternal: true },
        build: {
          ssr: entry,
          outDir: path.dirname(file),
          emptyOutDir: false,
          rollupOptions: { output: { format: 'cjs', entryFileNames: path.basename(file) } },
        },
      });
    },
  };

  for (const [name, bundle] of Object.entries(BUNDLERS)) {
    it(`by ${name} delivers, from a folder of its own`, async (t) => {
      const empty = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-bundled-')));
      t.after(() => fs.rmSync(empty, { recursive: true }));
      const file = path.join(empty, 'bundle.cjs');
      await bundle(file);
      const { stdout, stderr } = await run(
        process.execPath,
        [file, amplitude.httpapi, `user-of-${name}`],
        { cwd: empty, env: { ...process.env, OPTIMIZELY_AMPLITUDE_BINDING: '' } },
      );
      assert.equal(stderr, '');
      assert.deepEqual(JSON.parse(stdout), { delivered: 1, engine: 'wasm' });
      assert.equal(viewed(amplitude).at(-1).user_id, `user-of-${name}`);
    });
  }
});
