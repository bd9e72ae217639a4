'use strict';

/*
 * Compiles the addon on this machine, in the package's own folder: `npm run compile`.
 *
 *   node src/build/compile.js [node-gyp commands]    default: compile what changed; "rebuild": everything
 *
 * It reports in one message what the system lacks, where node-gyp would print fifty lines, and uses the headers that
 * are installed with the running Node, if there are any, so that node-gyp downloads nothing.
 */

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { buildAdvice } = require('../../lib/system.js');
const { addonApi, missing } = require('./needs.js');

/** The prefix of the running Node if its headers are installed there; otherwise null. */
function nodeDir() {
  const prefix = path.resolve(fs.realpathSync(process.execPath), '..', '..');
  return fs.existsSync(path.join(prefix, 'include', 'node', 'node_api.h')) ? prefix : null;
}

function fail(text) {
  console.error(`\noptimizely-amplitude: ${text}\n`);
  return 1;
}

/**
 * Run node-gyp in `dir`, where src/ has the sources, with `env` added to its environment.
 * Returns 0, or prints what failed and returns 1.
 */
function nodeGyp(dir, commands, env = {}) {
  const gyp = path.join(dir, 'binding.gyp');
  if (!fs.existsSync(gyp)) {
    // The published package has none; addon.gypi says why.
    fs.writeFileSync(gyp, "{ 'includes': ['src/build/addon.gypi'] }\n");
  }
  const args = [...commands, '--jobs', 'max', '--loglevel', 'warn'];
  const headers = nodeDir();
  if (headers !== null) {
    args.push('--nodedir', headers);
  }
  // npm, pnpm and Yarn put their own node-gyp on the PATH of a script.
  const result = spawnSync('node-gyp', args, {
    cwd: dir,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (result.error) {
    return fail(
      `node-gyp could not be started (${result.error.code}). It comes with npm: use \`npm run compile\`.`,
    );
  }
  if (result.status === 0) {
    return 0;
  }
  return fail(
    headers === null
      ? 'the build failed; the reason is above. This Node is installed without its headers, so node-gyp has to download them; where it cannot, set `npm_config_nodedir` to a prefix that has include/node/node_api.h.'
      : 'the build failed; the reason is above.',
  );
}

function main(commands) {
  const lacking = missing();
  if (lacking.length > 0) {
    return fail(
      `the native addon cannot be compiled yet. Missing: ${lacking.join(', ')}.\n\nInstall what it needs:\n\n${buildAdvice()}\n\nand then repeat the command.`,
    );
  }
  if (addonApi() === null) {
    return fail(
      'the npm package node-addon-api is missing; `npm install` in the clone installs it.',
    );
  }
  return nodeGyp(
    path.join(__dirname, '..', '..'),
    commands.length > 0 ? commands : ['configure', 'build'],
  );
}

if (require.main === module) {
  process.exitCode = main(process.argv.slice(2));
}

module.exports = { nodeDir, nodeGyp };
