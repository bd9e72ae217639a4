'use strict';

/*
 * Makes build/package, the folder that is packed and published.
 *
 *   node src/release/stage.js
 *
 * It is what `npm pack` takes of this clone, with a package.json that has no development packages and no
 * script but the one that users may call: npm warns them of a `prepare` script, which only a clone needs.
 *
 * What every process loads is one file, lib/index.js, made of the modules: Node takes a quarter of a
 * millisecond to find, read and compile each, which a cold start would feel.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const esbuild = require('esbuild');

const ROOT = path.join(__dirname, '..', '..');
const PACKAGE = path.join(ROOT, 'build', 'package');

/** The files that npm would pack, by its own rules. */
function packedFiles() {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts'];
  const [{ files }] = JSON.parse(
    execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
  );
  return files.map((file) => file.path);
}

/** What index.js loads only when an option, https or an error asks for it stays where it is. */
const SELDOM = [
  'close-on-signal',
  'info',
  'sdk/legacy',
  'suggest',
  'trust',
  'unloadable',
  'user-callbacks',
];

/** Bundle modules of the folder's lib/, and return the files that went into it. */
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

/** Make lib/index.js one file, and leave out what nothing else needs. */
function bundleIndex(folder) {
  const others = ['cli/main', 'cli/collector/index', 'cli/doctor/index', 'lambda', ...SELDOM];
  const needed = bundle(folder, others, {
    outdir: folder,
    write: false,
    external: ['./index.js', '../index.js', '../../index.js'],
  });
  const bundled = bundle(folder, ['index'], {
    outfile: 'lib/index.js',
    allowOverwrite: true,
    external: SELDOM.map((name) => `./${name}.js`),
  });
  for (const file of bundled) {
    if (file !== 'lib/index.js' && !needed.includes(file)) {
      fs.rmSync(path.join(folder, file));
    }
  }
}

/** Make the folder, or another one, anew; returns its path. */
function stage(folder = PACKAGE) {
  fs.rmSync(folder, { recursive: true, force: true });
  for (const file of packedFiles()) {
    fs.cpSync(path.join(ROOT, file), path.join(folder, file));
  }
  const manifest = structuredClone(require('../../package.json'));
  delete manifest.devDependencies;
  manifest.scripts = { compile: manifest.scripts.compile };
  fs.writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  bundleIndex(folder); // which has the version of that manifest in it
  return folder;
}

if (require.main === module) {
  console.log(stage());
}

module.exports = { stage };
