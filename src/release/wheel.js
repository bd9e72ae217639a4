'use strict';

/*
 * Makes the wheels of the Python package in build/wheels, after `npm run prebuild`, with whose static cJSON the extension
 * is linked. One wheel for each architecture fits every CPython from 3.9 on, with glibc 2.28 or later.
 *
 *   node src/release/wheel.js          for linux-x64 and linux-arm64
 *   node src/release/wheel.js x64      for one
 *
 * OA_PYTHON is a Python with setuptools 77 or later. For another processor than its own only the compiler changes: the
 * limited API is the same.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');
const OUT = path.join(ROOT, 'build', 'wheels');
const PYTHON = process.env.OA_PYTHON || path.join(ROOT, 'build', 'python', 'venv', 'bin', 'python');
/** The newest symbols of glibc that a wheel may need, which its name promises. */
const GLIBC = [2, 28];
const MAX_BYTES = 300_000;

const MACHINES = {
  x64: { machine: 'x86_64', cc: 'x86_64-linux-gnu-gcc' },
  arm64: { machine: 'aarch64', cc: 'aarch64-linux-gnu-gcc' },
};

/**
 * Debian's pyconfig.h includes one from the folder of the architecture. What the limited API reads of it is the same in
 * both, so that of this machine stands in for the other.
 */
function foreignHeaders(machine) {
  const own = `/usr/include/${MACHINES[process.arch].machine}-linux-gnu`;
  const dir = path.join(ROOT, 'build', 'python', 'headers');
  const link = path.join(dir, `${machine}-linux-gnu`);
  fs.mkdirSync(dir, { recursive: true });
  fs.rmSync(link, { force: true });
  fs.symlinkSync(own, link);
  return dir;
}

/** The newest version of glibc whose symbols a library needs, as [2, 28]. */
function glibcOf(library) {
  const symbols = execFileSync('objdump', ['-T', library], { encoding: 'utf8' });
  const versions = [...symbols.matchAll(/GLIBC_(\d+)\.(\d+)/g)].map(([, major, minor]) => [
    Number(major),
    Number(minor),
  ]);
  return versions.sort(([a, b], [c, d]) => a - c || b - d).pop();
}

function build(arch) {
  const { machine, cc } = MACHINES[arch];
  const prefix = path.join(ROOT, 'build', 'prebuild', `linux-${arch}`, 'libraries');
  if (!fs.existsSync(prefix)) {
    throw new Error(
      `there is no ${path.relative(ROOT, prefix)}: run \`npm run prebuild -- ${arch}\` first`,
    );
  }
  const work = path.join(ROOT, 'build', 'python', `wheel-${arch}`);
  const flags = ['-Os', '-g0', '-include', path.join(__dirname, 'glibc.h')];
  const env = {
    ...process.env,
    OA_STATIC_LIBRARIES: prefix,
    OA_PLATFORM: `manylinux_${GLIBC.join('_')}_${machine}`,
    CC: cc,
    LDSHARED: `${cc} -shared`,
    CFLAGS: [
      ...flags,
      '-ffunction-sections',
      '-fdata-sections',
      `-I${foreignHeaders(machine)}`,
    ].join(' '),
  };
  fs.rmSync(work, { recursive: true, force: true });
  fs.mkdirSync(OUT, { recursive: true });
  const options = ['--quiet', '--disable-pip-version-check', '--no-deps', '--no-build-isolation'];
  execFileSync(PYTHON, ['-m', 'pip', 'wheel', ...options, '--wheel-dir', work, '.'], {
    cwd: ROOT,
    env,
    stdio: 'inherit',
  });
  const [wheel] = fs.readdirSync(work);
  const file = path.join(work, wheel);
  execFileSync(PYTHON, ['-m', 'zipfile', '-e', file, path.join(work, 'content')]);
  const needed = glibcOf(path.join(work, 'content', 'optimizely_amplitude', '_native.abi3.so'));
  if (needed[0] > GLIBC[0] || needed[1] > GLIBC[1]) {
    throw new Error(`the wheel for ${arch} needs glibc ${needed.join('.')}`);
  }
  const { size } = fs.statSync(file);
  if (size > MAX_BYTES) {
    throw new Error(`the wheel for ${arch} has ${size} bytes, more than ${MAX_BYTES}`);
  }
  fs.copyFileSync(file, path.join(OUT, wheel));
  console.log(`wheel: build/wheels/${wheel}: ${size} bytes`);
}

function main(archs) {
  for (const arch of archs.length > 0 ? archs : Object.keys(MACHINES)) {
    if (!Object.hasOwn(MACHINES, arch)) {
      throw new Error(
        `there is no target "${arch}"; there are ${Object.keys(MACHINES).join(' and ')}`,
      );
    }
    build(arch);
  }
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error(`wheel: ${error.message}`);
  process.exitCode = 1;
}
