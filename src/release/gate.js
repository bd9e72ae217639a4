'use strict';

/*
 * The release gate, which `npm publish` runs: it prints each condition of a release and whether it is
 * met, and then runs all tests.
 *
 *   node src/release/gate.js
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

/** The conditions, each with its check. */
const CONDITIONS = {
  'every change is committed': () => git('status', '--porcelain') === '',
  [`the commit is tagged v${version}, if it is tagged at all`]: () => {
    const tags = git('tag', '--points-at', 'HEAD').split('\n').filter(Boolean);
    return tags.length === 0 || tags.includes(`v${version}`);
  },
  [`CHANGELOG.md has an entry for ${version}`]: () => {
    const [, entry = ''] = read('CHANGELOG.md').split(`\n## [${version}]`);
    return entry.split('\n## ')[0].split('\n').slice(1).join('').trim() !== '';
  },
  'package-lock.json has the same version': () =>
    JSON.parse(read('package-lock.json')).version === version,
  'the prebuilt addons are newer than the sources': () => notTestable() === false,
  'the SBOM of the prebuilt addons has the same version': () =>
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
