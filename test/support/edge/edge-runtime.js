'use strict';

/** Vercel's Edge runtime, in this process, with a bundled function. */

const fs = require('node:fs');
const path = require('node:path');

const { EdgeRuntime } = require('edge-runtime');
const esbuild = require('esbuild');

const EDGE = path.join(__dirname, '..', '..', '..', 'build', 'edge');

/** Start a function; `values` are names and values that stand in for it. */
async function startEdgeRuntime(entry, values) {
  const { outputFiles } = await esbuild.build({
    entryPoints: [entry],
    bundle: true,
    format: 'iife',
    write: false,
    conditions: ['edge-light', 'worker', 'browser'],
    alias: { 'optimizely-amplitude/edge': path.join(EDGE, 'edge-light.mjs') },
    define: Object.fromEntries(
      Object.entries(values).map(([name, value]) => [`globalThis.${name}`, JSON.stringify(value)]),
    ),
    plugins: [
      {
        name: 'a module as Next.js gives it',
        setup(build) {
          build.onResolve({ filter: /\.wasm\?module$/ }, () => ({
            path: 'core',
            namespace: 'wasm',
          }));
          build.onLoad({ filter: /./, namespace: 'wasm' }, () => ({
            contents: 'export default globalThis.CORE_WASM',
          }));
        },
      },
    ],
  });
  return new EdgeRuntime({
    initialCode: outputFiles[0].text,
    extend: (context) => {
      // Of another realm than the code, as there.
      context.CORE_WASM = new WebAssembly.Module(fs.readFileSync(path.join(EDGE, 'core.wasm')));
      return context;
    },
  });
}

module.exports = { startEdgeRuntime };
