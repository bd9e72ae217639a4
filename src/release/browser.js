'use strict';

/*
 * Makes of lib/browser, which are ES modules, what other pages and tools need: a script that defines
 * `optimizelyAmplitude`, and a CommonJS module for test runners. The package has them, and the clone has not.
 */

const path = require('node:path');
const esbuild = require('esbuild');

const ROOT = path.join(__dirname, '..', '..');

/** By the path in the package. */
const BUNDLES = {
  'lib/browser/dist/index.cjs': { format: 'cjs' },
  'lib/browser/dist/optimizely-amplitude.min.js': {
    format: 'iife',
    globalName: 'optimizelyAmplitude',
    minify: true,
  },
};

/** Bundle the entry for browsers; returns { path: text }. */
function bundleBrowser() {
  return Object.fromEntries(
    Object.entries(BUNDLES).map(([file, options]) => {
      const { outputFiles } = esbuild.buildSync({
        absWorkingDir: ROOT,
        entryPoints: ['lib/browser/index.mjs'],
        bundle: true,
        target: 'es2022',
        write: false,
        ...options,
      });
      return [file, outputFiles[0].text];
    }),
  );
}

module.exports = { bundleBrowser };
