'use strict';

/*
 * Bundles lib/edge for each kind of edge runtime into one ES module, which imports nothing of Node.js, and puts the
 * WebAssembly beside it. The package has the bundles, and the clone has not.
 *
 *   node src/release/edge.js <folder>     default: build/edge
 */

const fs = require('node:fs');
const path = require('node:path');
const esbuild = require('esbuild');

const { version } = require('../../package.json');

const ROOT = path.join(__dirname, '..', '..');
const EDGE = path.join(ROOT, 'lib', 'edge');
const ENTRIES = ['workerd', 'edge-light', 'default'];

/** Modules below lib/ that need Node.js, and modules of Node.js: for each its stand-in, of the same name or node.js. */
const REPLACED = ['diagnostics', 'engine', 'lifecycle', 'trust'].map((name) => ({
  file: path.join(ROOT, 'lib', `${name}.js`),
  by: path.join(EDGE, `${name}.js`),
}));
const EMPTY = ['node:fs', 'node:path', 'node:crypto', 'node:net'];

/** What the entry for Node.js has of it. */
const KEPT = ['node:zlib', 'cloudflare:workers'];

const standIns = {
  name: 'stand-ins',
  setup(build) {
    build.onResolve({ filter: /^\.{1,2}\// }, ({ path: name, resolveDir }) => {
      if (/\.wasm(\?module)?$/.test(name)) {
        return { path: `./${path.basename(name)}`, external: true };
      }
      const file = path.resolve(resolveDir, name);
      const found = REPLACED.find((each) => each.file === file);
      return found && { path: found.by };
    });
    build.onResolve({ filter: /^node:/ }, ({ path: name }) =>
      EMPTY.includes(name) ? { path: path.join(EDGE, 'node.js') } : undefined,
    );
    build.onLoad({ filter: /[\\/]package\.json$/ }, () => ({
      contents: JSON.stringify({ version }),
      loader: 'json',
    }));
  },
};

async function bundleEdge(folder = path.join(ROOT, 'build', 'edge')) {
  const { metafile } = await esbuild.build({
    absWorkingDir: ROOT,
    entryPoints: ENTRIES.map((name) => `lib/edge/${name}.mjs`),
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true, // what the entries share is there once
    chunkNames: 'shared-[hash]',
    format: 'esm',
    target: 'es2022',
    minifySyntax: true,
    minifyWhitespace: true, // a third of the bytes, which count against the limit of a Worker until it is bundled again
    lineLimit: 120,
    external: KEPT,
    inject: [path.join(EDGE, 'globals.mjs')],
    plugins: [standIns],
    logLevel: 'warning',
    metafile: true,
  });
  const written = Object.keys(metafile.outputs).map((file) => path.basename(file));
  for (const file of fs.readdirSync(folder)) {
    if (file.startsWith('shared-') && !written.includes(file)) {
      fs.rmSync(path.join(folder, file)); // of an earlier run
    }
  }
  fs.copyFileSync(
    path.join(ROOT, 'prebuilds', 'wasm32', 'core.wasm'),
    path.join(folder, 'core.wasm'),
  );
}

if (require.main === module) {
  bundleEdge(process.argv[2]).catch((error) => {
    console.error(`edge: ${error.message}`);
    process.exitCode = 1;
  });
}

module.exports = { bundleEdge };
