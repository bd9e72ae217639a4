'use strict';

/*
 * The gate before a release; `npm publish` runs it. Says everything that is wrong, not just the first.
 *
 *   node src/release/gate.js           what can be read from the tree, then all tests
 *   node src/release/gate.js --quick   without the tests
 */

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { notTestable } = require('../../test/support/setup/prebuilds.js');

const ROOT = path.join(__dirname, '..', '..');
const { version } = require('../../package.json');

const read = (file) => fs.readFileSync(path.join(ROOT, file), 'utf8');
const git = (...args) => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();

/** Each: what has to be true, and whether it is. */
const CONDITIONS = {
  'every change is committed': () => git('status', '--porcelain') === '',
  [`the commit is tagged v${version}, if it is tagged at all`]: () => {
    const tags = git('tag', '--points-at', 'HEAD').split('\n').filter(Boolean);
    return tags.length === 0 || tags.includes(`v${version}`);
  },
  [`CHANGELOG.md says what is new in ${version}`]: () => {
    const [, entry = ''] = read('CHANGELOG.md').split(`\n## [${version}]`);
    return entry.split('\n## ')[0].split('\n').slice(1).join('').trim() !== '';
  },
  'package-lock.json has the same version': () =>
    JSON.parse(read('package-lock.json')).version === version,
  'there are prebuilt addons of these sources': () => notTestable() === false,
  'their SBOM is of this version': () =>
    JSON.parse(read('prebuilds/SBOM.json')).metadata.component.version === version,
};

function holds(check) {
  try {
    return check();
  } catch {
    return false;
  }
}

function main(quick) {
  const results = Object.entries(CONDITIONS).map(([what, check]) => [holds(check), what]);
  for (const [ok, what] of results) {
    console.log(`${ok ? 'yes' : 'NO '}  ${what}`);
  }
  if (results.some(([ok]) => !ok)) {
    return 1;
  }
  if (quick) {
    return 0;
  }
  return (
    spawnSync(process.execPath, ['test/run.js', '--all'], {
      cwd: ROOT,
      stdio: 'inherit',
      env: { ...process.env, OA_WERROR: '1' },
    }).status ?? 1
  );
}

process.exitCode = main(process.argv.includes('--quick'));
