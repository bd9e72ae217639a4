'use strict';

/*
 * Makes build/package, the folder that is packed and published.
 *
 *   node src/prebuild/stage.js
 *
 * It is what `npm pack` takes of this clone, with a package.json that has no development packages and no
 * script but the one that users may call: npm warns them of a `prepare` script, which only a clone needs.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');
const PACKAGE = path.join(ROOT, 'build', 'package');

/** The files that npm would pack, by its own rules. */
function packedFiles() {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts'];
  const [{ files }] = JSON.parse(execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  return files.map((file) => file.path);
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
  return folder;
}

if (require.main === module) {
  console.log(stage());
}

module.exports = { stage };
