'use strict';

/*
 * The zips of a Lambda function for nodejs22.x, one for each processor, in build/lambda:
 *
 *   node test/lambda/zip.js
 *
 * Each has the handler of test/examples/lambda.js, bundled with the Optimizely SDK, as index.handler; and beside
 * it, since an addon cannot be bundled, the package as it is published, with the addon for that processor only.
 */

const esbuild = require('esbuild');
const { unzipSync, zipSync } = require('fflate');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { stage } = require('../../src/release/stage.js');
const { notTestable } = require('../support/setup/prebuilds.js');
const { filesBelow } = require('../support/util/files.js');

const ROOT = path.join(__dirname, '..', '..');
const HANDLER = path.join(ROOT, 'test', 'examples', 'lambda.js');
const PACKAGE = 'optimizely-amplitude';
const ARCHS = ['x64', 'arm64'];

// Lambda runs the function as a user that does not own the files: all may read them.
const UNIX = 3;
const READABLE = 0o100644 << 16;
const ATTRIBUTES = { os: UNIX, attrs: READABLE, mtime: new Date(1980, 0, 1) }; // the same sources make the same zip

/** A handler's module and all that it requires, but for this package, as one file. */
function bundle(handler) {
  const options = {
    entryPoints: [handler],
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node22',
    external: [PACKAGE],
  };
  return esbuild.buildSync({ ...options, write: false, logLevel: 'error' }).outputFiles[0].contents;
}

/** The published package without the addons for other processors, as { name in the zip: contents }. */
function packageFiles(arch) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-stage-'));
  try {
    const folder = stage(path.join(dir, PACKAGE));
    const names = filesBelow(folder).filter(
      (name) => !name.endsWith('.node') || name.startsWith(`prebuilds/linux-${arch}/`),
    );
    return Object.fromEntries(
      names.map((name) => [
        `node_modules/${PACKAGE}/${name}`,
        fs.readFileSync(path.join(folder, name)),
      ]),
    );
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
}

/** Zip { name: contents }. */
function zip(files) {
  return zipSync(
    Object.fromEntries(
      Object.entries(files).map(([name, contents]) => [name, [contents, ATTRIBUTES]]),
    ),
    { level: 9 },
  );
}

/** Unpack what zip() made. */
function unzip(bytes, folder) {
  for (const [name, contents] of Object.entries(unzipSync(bytes))) {
    const file = path.join(folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, contents);
  }
}

/** The files of the function for a processor: { name: contents }. */
function functionFiles(arch) {
  return { 'index.js': bundle(HANDLER), ...packageFiles(arch) };
}

const unpackedBytes = (files) => Object.values(files).reduce((sum, { length }) => sum + length, 0);

function main() {
  const reason = notTestable();
  if (reason) {
    console.error(`The zip needs the prebuilt addons: ${reason}.`);
    process.exitCode = 1;
    return;
  }
  const folder = path.join(ROOT, 'build', 'lambda');
  fs.mkdirSync(folder, { recursive: true });
  const inKilobytes = (bytes) => `${(bytes / 1000).toFixed(0)} kB`;
  for (const arch of ARCHS) {
    const files = functionFiles(arch);
    const zipped = zip(files);
    const file = path.join(folder, `${arch}.zip`);
    fs.writeFileSync(file, zipped);
    console.log(
      `${path.relative(ROOT, file)}: ${inKilobytes(zipped.length)}, unpacked ${inKilobytes(unpackedBytes(files))}, of which index.js ${inKilobytes(files['index.js'].length)}`,
    );
  }
}

if (require.main === module) {
  main();
}

module.exports = { ARCHS, bundle, functionFiles, unpackedBytes, unzip, zip };
