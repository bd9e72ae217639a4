'use strict';

/** What setup.js prints on a machine that lacks packages. Its apt-get, sudo and npm are stand-ins. */

const assert = require('node:assert/strict');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, it } = require('node:test');

const { packageManager } = require('../../lib/system.js');

const ROOT = path.join(__dirname, '..', '..');
const SETUP = path.relative(ROOT, require.resolve('../support/setup/setup.js'));
const NOISE = 'Unpacking a package ...';

const APT_FAILS = `#!/bin/sh
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo '${NOISE}'; echo '${NOISE}'; done
echo "E: no network for $*"
exit 100
`;
const APT_WORKS = `#!/bin/sh
echo '${NOISE}'
`;
const NO_SUDO = '#!/bin/sh\nexit 1\n';
const SUDO = '#!/bin/sh\nshift\n"$@"\n'; // without its -n

const AS_USER = 'process.getuid = () => 1000;\n';

/** Runs setup.js in a copy of the clone that has also `files`, with only `programs` on the PATH, both { name: content }. */
function setup(t, programs, files = {}) {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-setup-')));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  for (const name of [
    'lib',
    'src',
    path.join('test', 'support'),
    path.join('test', 'python'),
    'package-lock.json',
  ]) {
    fs.cpSync(path.join(ROOT, name), path.join(dir, name), { recursive: true });
  }
  const bin = path.join(dir, 'bin');
  fs.mkdirSync(bin);
  for (const [name, script] of Object.entries(programs)) {
    fs.writeFileSync(path.join(bin, name), script, { mode: 0o755 });
  }
  for (const [name, content] of Object.entries({ 'user.js': AS_USER, ...files })) {
    fs.writeFileSync(path.join(dir, name), content);
  }
  const env = execFileSync('sh', ['-c', 'command -v env'], { encoding: 'utf8' }).trim();
  fs.symlinkSync(env, path.join(bin, 'env'));
  const child = spawnSync(process.execPath, ['-r', './user.js', SETUP], {
    cwd: dir,
    encoding: 'utf8',
    env: { PATH: bin, TMPDIR: bin },
  });
  const said = child.stdout + child.stderr;
  const [, logName] = /programs below: (.*)\n/.exec(said) ?? [];
  return {
    status: child.status,
    said,
    logName,
    log: logName && fs.readFileSync(path.resolve(dir, logName), 'utf8'),
  };
}

const skip = packageManager() !== 'apt' && 'it installs packages on Debian and Ubuntu only';

describe('setup', { skip }, () => {
  it('writes what apt-get prints into a log, and prints its end after a failure', (t) => {
    const { status, said, log, logName } = setup(t, { 'apt-get': APT_FAILS, sudo: SUDO });
    assert.equal(status, 1);
    assert.equal(log.split(NOISE).length - 1, 40);
    assert.equal(logName, path.join('build', 'setup.log'));
    assert.match(said, /setup: apt-get update\n/);
    assert.match(said, /E: no network for .*update\n/);
    assert.ok(said.split(NOISE).length - 1 < 30, said);
    assert.match(said, /Now run the same command again\.\n$/);
  });

  it('installs the packages of the demo and of the tests at once', (t) => {
    const { said, log } = setup(t, { 'apt-get': APT_WORKS, sudo: SUDO });
    assert.match(said, /setup: apt-get install -y .*libcurl4-openssl-dev.*libcmocka-dev/);
    assert.doesNotMatch(said, /Unpacking/);
    assert.match(log, /Unpacking/);
    assert.match(said, /Still missing after the installation: .*pkg-config/);
  });

  it('puts its log among the temporary files if build cannot be written', (t) => {
    const { logName, log } = setup(t, { 'apt-get': APT_WORKS, sudo: SUDO }, { build: 'a file' });
    assert.ok(path.isAbsolute(logName), logName);
    assert.match(log, /Unpacking/);
  });

  it('prints one command where it may not install', (t) => {
    const { status, said, log } = setup(t, { 'apt-get': APT_WORKS, sudo: NO_SUDO });
    assert.equal(status, 1);
    assert.equal(log, undefined);
    const commands = said.split('\n').filter((line) => line.startsWith('    '));
    assert.equal(commands.length, 1, said);
    assert.match(commands[0], /apt-get update && .*apt-get install -y .*zlib1g-dev.*libcmocka-dev/);
    assert.match(said, /Now run the same command again\.\n$/);
  });
});
