'use strict';

/** The prebuilt addons of this clone, for their tests. */

const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..', '..');
const TARGETS = ['linux-x64', 'linux-arm64', 'linux-x64-musl', 'linux-arm64-musl'];

const fileOf = (target) => path.join(ROOT, 'prebuilds', target, 'optimizely-amplitude.node');

/** The time of the last change below `file`, in ms. */
function changedAt(file) {
  const stat = fs.statSync(file);
  if (!stat.isDirectory()) {
    return stat.mtimeMs;
  }
  return Math.max(...fs.readdirSync(file).map((name) => changedAt(path.join(file, name))));
}

/** Why they cannot be tested, or false: the value for `skip` of node:test. */
function notTestable() {
  if (process.platform !== 'linux') {
    return 'prebuilt addons are for Linux';
  }
  for (const target of TARGETS) {
    const file = fileOf(target);
    if (!fs.existsSync(file)) {
      return 'there are no prebuilt addons; `npm run prebuild` makes them';
    }
    if (fs.statSync(file).mtimeMs < changedAt(path.join(ROOT, 'src'))) {
      return 'the prebuilt addons are older than the sources; `npm run prebuild` makes new ones';
    }
  }
  return false;
}

/** Why WebAssembly cannot be tested, or false. */
function wasmNotTestable() {
  const file = path.join(ROOT, 'prebuilds', 'wasm32', 'core.js');
  if (!fs.existsSync(file)) {
    return 'there is no WebAssembly; `npm run prebuild -- wasm32` makes it';
  }
  const sources = ['src/core', 'src/host/wasm'].map((name) => changedAt(path.join(ROOT, name)));
  return (
    fs.statSync(file).mtimeMs < Math.max(...sources) &&
    'the WebAssembly is older than the sources; `npm run prebuild -- wasm32` makes it anew'
  );
}

module.exports = { TARGETS, changedAt, fileOf, notTestable, wasmNotTestable };
