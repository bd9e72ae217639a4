'use strict';

/*
 * Runs the tests of the Python package, in an environment of its own in build/python:
 *
 *   node test/python/run.js [--all] [arguments of pytest]
 *
 * It installs what test/python/requirements.txt lists, and the package, as `pip install .` does; both again when their
 * sources have changed. Then it checks the style and the types, and runs pytest and the fault matrix. `--all` runs those under
 * sanitizers, too, makes the wheels, and tries what is published on every Python that is there. OA_PYTHON names another
 * interpreter than python3.
 */

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { filesBelow } = require('../support/util/files.js');

const ROOT = path.join(__dirname, '..', '..');
const ENVIRONMENT = path.join(ROOT, 'build', 'python', 'venv');
const PYTHON = path.join(ENVIRONMENT, 'bin', 'python');
const REQUIREMENTS = path.join(__dirname, 'requirements.txt');
const LINTED = [
  'lib/python',
  'src/build/python_backend.py',
  'test/python',
  'test/bench/python.py',
  'test/examples/python',
];
const SOURCES = [
  'lib/python',
  'src/core',
  'src/host',
  'src/build/python_backend.py',
  'pyproject.toml',
];

/** Why the tests cannot run with the python3 of this machine; null if they can. */
function obstacle(python = process.env.OA_PYTHON || 'python3') {
  const code = [
    'import sys, os, sysconfig',
    'sys.version_info < (3, 9) and sys.exit("it is older than Python 3.9")',
    'import ensurepip, venv',
    'header = os.path.join(sysconfig.get_path("include"), "Python.h")',
    'os.path.exists(header) or sys.exit("its headers are missing (python3-dev)")',
  ].join('\n');
  const { error, status, stderr } = spawnSync(python, ['-c', code], { encoding: 'utf8' });
  if (error !== undefined) {
    return `there is no ${python}`;
  }
  return status === 0 ? null : `${python}: ${stderr.trim().split('\n').pop()}`;
}

function run(program, args, env = {}) {
  const { status } = spawnSync(program, args, {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  return status === 0;
}

const changedAt = (files) => Math.max(...files.map((file) => fs.statSync(file).mtimeMs));

/** Do something unless it was done after the newest of `files`; returns whether it succeeded. */
function once(name, files, action) {
  const stamp = path.join(ENVIRONMENT, `${name}.done`);
  if (fs.existsSync(stamp) && fs.statSync(stamp).mtimeMs > changedAt(files)) {
    return true;
  }
  if (!action()) {
    return false;
  }
  fs.writeFileSync(stamp, '');
  return true;
}

/** Make the environment, with the package in it. */
function prepare() {
  const pip = (...args) =>
    run(PYTHON, ['-m', 'pip', '--quiet', '--disable-pip-version-check', ...args]);
  const sources = SOURCES.flatMap((name) => {
    const file = path.join(ROOT, name);
    return fs.statSync(file).isDirectory()
      ? filesBelow(file).map((below) => path.join(file, below))
      : [file];
  });
  return (
    (fs.existsSync(PYTHON) ||
      run(process.env.OA_PYTHON || 'python3', ['-m', 'venv', ENVIRONMENT])) &&
    once('requirements', [REQUIREMENTS], () => pip('install', '--upgrade', '-r', REQUIREMENTS)) &&
    once('package', sources, () =>
      pip('install', '--no-build-isolation', '--no-deps', '--force-reinstall', '.'),
    )
  );
}

function main(args) {
  const all = args.includes('--all');
  const chosen = args.filter((arg) => arg !== '--all');
  const reason = obstacle();
  if (reason !== null) {
    throw new Error(reason);
  }
  const pytest = () => run(PYTHON, ['-m', 'pytest', ...chosen]);
  const typed = ['lib/python', 'test/python/typed.py'];
  const steps = [
    () => run(PYTHON, ['-m', 'ruff', 'check', ...LINTED]),
    () => run(PYTHON, ['-m', 'ruff', 'format', '--check', ...LINTED]),
    () => run(PYTHON, ['-m', 'mypy', '--strict', ...typed]),
    () => run(PYTHON, ['-m', 'pyright', '--pythonpath', PYTHON, ...typed]),
    pytest,
    () => run(process.execPath, ['--test', 'test/python/faults.test.js'], { OA_PYTHON: PYTHON }),
    ...(all
      ? [
          () => run(PYTHON, ['test/python/sanitized.py']),
          () => run(process.execPath, ['src/release/wheel.js'], { OA_PYTHON: PYTHON }),
          () => run(PYTHON, ['test/python/distributions.py']),
        ]
      : []),
  ];
  const wanted = chosen.length > 0 ? [pytest] : steps;
  return prepare() && wanted.map((step) => step()).every(Boolean);
}

if (require.main === module) {
  process.exitCode = main(process.argv.slice(2)) ? 0 : 1;
}

module.exports = { obstacle };
