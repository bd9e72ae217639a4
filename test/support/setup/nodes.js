'use strict';

/*
 * Runs tests on the other versions of Node that runtimes.js downloaded, with the addon that was compiled
 * for this one: it has to work on all. Those with musl run them with the prebuilt addon for musl.
 *
 *   node test/support/setup/nodes.js [FILE...]    default: the tests of what differs between versions
 */

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const { fileOf } = require('./prebuilds.js');
const { nodes } = require('./runtimes.js');

const ROOT = path.join(__dirname, '..', '..', '..');
/** Tests of exits, Workers, callback scopes, certificates, and of a decision from end to end. */
const FILES = [
  'test/js/lambda.test.js',
  ...['attach', 'exits', 'identity', 'network', 'payloads', 'secrets', 'signals', 'workers'].map(
    (name) => `test/e2e/${name}.test.js`,
  ),
];

function main(files) {
  const [, ...others] = nodes().filter(({ arch }) => arch === process.arch);
  if (others.length === 0) {
    console.error(
      'There are no other versions of Node here. Download them: node test/support/setup/runtimes.js',
    );
    return 1;
  }
  const failed = others.filter(({ name, target, command: [program, ...args] }) => {
    console.log(`\n--- ${name}`);
    const env = target.endsWith('-musl') ? { OPTIMIZELY_AMPLITUDE_BINDING: fileOf(target) } : {};
    const { status } = spawnSync(program, [...args, '--test', '--test-reporter=spec', ...files], {
      cwd: ROOT,
      stdio: 'inherit',
      env: { ...process.env, ...env },
    });
    return status !== 0;
  });
  if (failed.length > 0) {
    console.error(`\nfailed on ${failed.map(({ name }) => name).join(', ')}`);
  }
  return failed.length > 0 ? 1 : 0;
}

if (require.main === module) {
  const files = process.argv.slice(2);
  process.exitCode = main(files.length > 0 ? files : FILES);
}
