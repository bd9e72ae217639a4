'use strict';

/*
 * Builds the addon on this machine, in the package's own folder: `npm run compile`.
 *
 *   node src/build/compile.js [node-gyp commands]    "rebuild" starts from scratch; the default builds what changed
 *
 * It says in one message what the system lacks, before node-gyp would say it in fifty lines, and
 * takes Node's headers from beside the running Node when they are there, so that nothing is fetched.
 */

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const deps = require('./needs.js');

/** The prefix of the running Node, if its headers are installed there, else null. */
function nodeDir() {
  const prefix = path.resolve(fs.realpathSync(process.execPath), '..', '..');
  return fs.existsSync(path.join(prefix, 'include', 'node', 'node_api.h')) ? prefix : null;
}

function fail(text) {
  console.error(`\noptimizely-amplitude: ${text}\n`);
  return 1;
}

/**
 * Run node-gyp in `dir`, which has the sources as src/, with more variables in its environment.
 * Returns 0, or else says what went wrong and returns 1.
 */
function nodeGyp(dir, commands, env = {}) {
  const gyp = path.join(dir, 'binding.gyp');
  if (!fs.existsSync(gyp)) {
    fs.writeFileSync(gyp, "{ 'includes': ['src/build/addon.gypi'] }\n");
  } // why it is not there: see addon.gypi
  const args = [...commands, '--jobs', 'max', '--loglevel', 'warn'];
  const headers = nodeDir();
  if (headers !== null) {
    args.push('--nodedir', headers);
  }
  // The scripts of npm, pnpm and Yarn find their own node-gyp on the PATH.
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
      ? "the build failed. Node's headers are not installed beside this Node, so node-gyp has to fetch them; set `npm_config_nodedir` to a prefix that has include/node/node_api.h to avoid that."
      : 'the build failed; the reason is above.',
  );
}

function main(commands) {
  const missing = deps.missing();
  if (missing.length > 0) {
    return fail(
      `the native addon cannot be built yet. Missing: ${missing.join(', ')}.\n\nInstall what it needs:\n\n${deps.buildAdvice()}\n\nand then repeat the command.`,
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
