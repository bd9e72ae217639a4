'use strict';

/*
 * Makes build/package, the folder that is packed and published, and prints its path.
 *
 *   node src/release/stage.js
 *
 * It warns of prebuilt addons that are missing: without them the package has to be compiled.
 *
 * It has the files that `npm pack` takes of this clone, with four differences:
 * - package.json has no development packages, and of the scripts only `compile`: npm warns users about
 *   a `prepare` script, which only a clone needs.
 * - The headers of node-addon-api are in the package, so that an installation is one package and
 *   compiles without a network.
 * - The modules that every process loads are bundled into lib/index.js, and those of functions into
 *   lib/lambda.js: Node takes a quarter of a millisecond to find, read and compile each, which would
 *   make cold starts longer.
 * - The entry for browsers is there as a script and as CommonJS, too.
 * - The entries for edge runtimes are bundles that import nothing of Node.js, with their WebAssembly.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const esbuild = require('esbuild');

const { PACKED_ADDON_API, addonApi } = require('../build/needs.js');
const { bundleBrowser } = require('./browser.js');

const ROOT = path.join(__dirname, '..', '..');
const PACKAGE = path.join(ROOT, 'build', 'package');
/** What `npm run prebuild` makes addons for. */
const TARGETS = ['linux-x64', 'linux-arm64', 'linux-x64-musl', 'linux-arm64-musl'];
const WASM = 'wasm32';

/** The files that npm would pack. */
function packedFiles() {
  // npm 10 runs `prepare` anyway, and its output would be in the JSON.
  const flags = ['--ignore-scripts', '--foreground-scripts=false'];
  const args = ['pack', '--dry-run', '--json', ...flags];
  const [{ files }] = JSON.parse(
    execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
  );
  return files.map((file) => file.path);
}

/** Modules below lib/ that index.js loads only for an option, a proxy, https or an error: they stay files of their own. */
const LAZY = [
  'before-send',
  'close-on-signal',
  'info',
  'no-proxy',
  'sdk/legacy',
  'spool',
  'store',
  'store-client',
  'store-options',
  'suggest',
  'tracked',
  'trust',
  'unloadable',
  'user-callbacks',
  'wasm/node',
];

/** Bundle modules below lib/ of `folder`; returns the files that the bundle is made of. */
function bundle(folder, names, options) {
  const { metafile } = esbuild.buildSync({
    absWorkingDir: folder,
    bundle: true,
    entryPoints: names.map((name) => `lib/${name}.js`),
    metafile: true,
    platform: 'node',
    target: 'node18',
    ...options,
  });
  return Object.keys(metafile.inputs);
}

/** What a function loads when it starts: each becomes one file, and has copies of what both of them need. */
const BUNDLED = ['index', 'lambda'];

/**
 * Undo what lineLimit does to strings, which it continues on the next line: Rollup indents that line, and the string has a
 * tab in it then.
 */
function joinStrings(file) {
  const text = fs.readFileSync(file, 'utf8');
  fs.writeFileSync(file, text.replace(/(?<!\\)((?:\\\\)*)\\\n/g, '$1'));
}

/** Bundle these, and remove the modules that only the bundles need. */
function bundleStarts(folder) {
  const others = [
    'agent',
    'audiences',
    'cli/main',
    'cli/agent/command',
    'cli/collector/index',
    'cli/doctor/index',
    ...LAZY,
  ];
  const needed = bundle(folder, others, {
    outdir: folder,
    write: false,
    // The module of WebAssembly is missing where only addons were made.
    external: ['./index.js', '../index.js', '../../index.js', '../../prebuilds/*'],
  });
  const bundled = BUNDLED.flatMap((name) => {
    const outfile = `lib/${name}.js`;
    const inputs = bundle(folder, [name], {
      outfile,
      allowOverwrite: true,
      minifyWhitespace: true, // a third of the bytes, which Node.js reads before it runs the first of them
      lineLimit: 120, // Node.js prints the line of an error
      external: LAZY.map((lazy) => `./${lazy}.js`),
    });
    joinStrings(path.join(folder, outfile));
    return inputs;
  });
  const unexpected = LAZY.filter((name) => bundled.includes(`lib/${name}.js`));
  if (unexpected.length > 0) {
    throw new Error(`bundled, but to be loaded later: ${unexpected.join(', ')}`);
  }
  const kept = [...needed, ...BUNDLED.map((name) => `lib/${name}.js`)];
  for (const file of new Set(bundled)) {
    if (!kept.includes(file)) {
      fs.rmSync(path.join(folder, file));
    }
  }
}

/** Copy the headers of node-addon-api and its licence to where needs.js finds them in the package. */
function copyAddonApi(folder) {
  const from = addonApi();
  const to = path.join(folder, path.relative(ROOT, PACKED_ADDON_API));
  for (const file of fs.readdirSync(from)) {
    if (file.endsWith('.h') || file === 'LICENSE.md') {
      fs.cpSync(path.join(from, file), path.join(to, file));
    }
  }
}

/** Replace the entries for edge runtimes by their bundles, for which WebAssembly has to be there. */
function bundleEdge(folder) {
  const edge = path.join(folder, 'lib', 'edge');
  if (!fs.existsSync(path.join(folder, 'prebuilds', WASM))) {
    return;
  }
  execFileSync(process.execPath, [path.join(__dirname, 'edge.js'), edge], { stdio: 'inherit' });
  for (const file of fs.readdirSync(edge).filter((name) => name.endsWith('.js'))) {
    fs.rmSync(path.join(edge, file));
  }
}

/** Make `folder` from scratch; returns its path. */
function stage(folder = PACKAGE) {
  fs.rmSync(folder, { recursive: true, force: true });
  for (const file of packedFiles()) {
    fs.cpSync(path.join(ROOT, file), path.join(folder, file));
  }
  const manifest = structuredClone(require('../../package.json'));
  delete manifest.devDependencies;
  manifest.scripts = { compile: manifest.scripts.compile };
  fs.writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  copyAddonApi(folder);
  for (const [file, text] of Object.entries(bundleBrowser())) {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), text);
  }
  bundleEdge(folder);
  fs.writeFileSync(path.join(folder, 'lib', 'library.js'), library(manifest));
  bundleStarts(folder);
  return folder;
}

/** lib/library.js without package.json, which would be in the bundle with all that it has. */
const library = ({ name, version }) =>
  `'use strict';\n\nmodule.exports = { LIBRARY: '${name}/${version}' };\n`;

/** The targets, such as linux-x64, for which a staged package has no addon. */
function missingAddons(folder) {
  const fileOf = (target) => (target === WASM ? 'core.js' : 'optimizely-amplitude.node');
  return [...TARGETS, WASM].filter(
    (target) => !fs.existsSync(path.join(folder, 'prebuilds', target, fileOf(target))),
  );
}

if (require.main === module) {
  const folder = stage();
  console.log(folder);
  const missing = missingAddons(folder);
  if (missing.length > 0) {
    console.error(
      `stage: warning: nothing prebuilt for ${missing.join(' and ')}; run \`npm run prebuild\` first`,
    );
  }
}

module.exports = { missingAddons, stage };
