'use strict';

/** The error when no addon loads: what was tried, why each failed, and what to run. */

const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');

const withCode = (error) => Object.assign(error, { code: 'ERR_OA_ADDON' });

/** Make the error of a runtime in which no addon is opened. */
function refusal({ reason, advice }) {
  return withCode(
    new Error(`The native addon of optimizely-amplitude cannot be loaded: ${reason}. ${advice}`),
  );
}

/** Make the error. `attempts` are { file, error }, where a null error is a file that is not there. */
function failure(attempts) {
  if (areAddonsForbidden()) {
    return refusal({
      reason: FORBIDDEN,
      advice: process.permission === undefined ? NO_ADDONS : NO_PERMISSION,
    });
  }
  return withCode(isBundled() ? new Error(BUNDLED) : notLoaded(attempts));
}

const FORBIDDEN = 'this process may not load addons';
const NO_ADDONS =
  'Start Node.js without --no-addons (command line, NODE_OPTIONS, or execArgv of a Worker).';
const NO_PERMISSION =
  'Start Node.js with --allow-addons in addition to --permission, and let it read ' +
  `the folder of the package: --allow-fs-read=${path.join(ROOT, '*')}`;

/** Whether Node.js refuses every addon, whatever forbids it. It says so before it looks for the file. */
function areAddonsForbidden() {
  try {
    process.dlopen({ exports: {} }, path.join(__dirname, 'no-such-addon.node'));
  } catch (error) {
    return error.code === 'ERR_DLOPEN_DISABLED';
  }
  return false;
}

const BUNDLED = [
  `The native addon of optimizely-amplitude cannot be found from ${__dirname}, where a bundler has put its code.`,
  'Leave the package outside of the bundle, and ship node_modules/optimizely-amplitude with it:',
  '    esbuild --external:optimizely-amplitude',
  "    webpack: externals: { 'optimizely-amplitude': 'commonjs optimizely-amplitude' }",
  "    Next.js: serverExternalPackages: ['optimizely-amplitude']",
].join('\n');

/** Whether this code is outside of its package. */
function isBundled() {
  try {
    return (
      JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8')).name !==
      'optimizely-amplitude'
    );
  } catch {
    return true;
  }
}

function notLoaded(attempts) {
  const found = attempts.filter(({ error }) => error !== null);
  const lines = [
    'The native addon of optimizely-amplitude could not be loaded.',
    `This is ${process.platform}-${process.arch}, ${libc()}Node ${process.version}. ${prebuilds()}`,
    'Tried:',
    ...attempts.map((attempt) => `  ${attempt.file}\n      ${reason(attempt)}`),
    ...advice(found.map(({ error }) => error.message)),
  ];
  return new Error(lines.join('\n'), found.length > 0 ? { cause: found[0].error } : undefined);
}

/** For which systems there are prebuilt addons in this package. */
function prebuilds() {
  let names = [];
  try {
    names = fs.readdirSync(path.join(ROOT, 'prebuilds')).filter((name) => name.includes('-'));
  } catch {
    // a clone, or an installation without them
  }
  return names.length > 0
    ? `There are prebuilt addons for ${names.join(', ')}.`
    : 'There is no prebuilt addon in this package.';
}

/** "glibc 2.36, ", "musl, ", or nothing. Asks the diagnostic report, which takes a while. */
function libc() {
  if (process.platform !== 'linux') {
    return '';
  }
  try {
    process.report.excludeNetwork = true; // otherwise it looks up the names of all peers
    const { header, sharedObjects = [] } = process.report.getReport();
    if (header.glibcVersionRuntime) {
      return `glibc ${header.glibcVersionRuntime}, `;
    }
    return sharedObjects.some((object) => object.includes('musl')) ? 'musl, ' : '';
  } catch {
    return ''; // a runtime without the report
  }
}

function reason({ file, error }) {
  if (error === null) {
    return 'is not there';
  }
  const machine = machineOf(file);
  if (machine !== null && machine !== process.arch) {
    return `is built for ${machine}, not for ${process.arch}`;
  }
  return error.message.replaceAll('\n', '\n      ');
}

const ELF_MACHINES = { 3: 'ia32', 22: 's390x', 40: 'arm', 62: 'x64', 183: 'arm64', 243: 'riscv64' };

/** The processor that an ELF file is for. The dynamic linker only says "No such file" for another one. */
function machineOf(file) {
  let head;
  try {
    head = fs.readFileSync(file).subarray(0, 20);
  } catch {
    return null;
  }
  if (head.length < 20 || head.toString('latin1', 0, 4) !== '\x7fELF') {
    return null;
  }
  const bigEndian = head[5] === 2;
  return ELF_MACHINES[bigEndian ? head.readUInt16BE(18) : head.readUInt16LE(18)] ?? null;
}

/** What to run. `messages` are those of the dynamic linker. */
function advice(messages) {
  const { buildAdvice, libraryAdvice } = require('./system.js');
  const text = messages.join('\n');
  const lines = [];
  for (const library of ['libcurl', 'libcjson', 'libz']) {
    // glibc and musl name the file that they did not find, macOS the library that was not loaded.
    const lacks = new RegExp(
      `${library}[\\w.-]*: (cannot open shared object|No such file)|not loaded: \\S*${library}`,
    );
    if (lacks.test(text)) {
      lines.push(`The library ${library} is missing on this machine:`, libraryAdvice(library));
    }
  }
  if (lines.length > 0) {
    return lines;
  }
  return [
    'Build it on this machine, with its own Node. First what it is built from:',
    buildAdvice(),
    'then, in the folder of the application:',
    '    npm explore optimizely-amplitude -- npm run compile',
    ...(messages.length > 0
      ? ['An installation copied from another machine, system or container image does not fit.']
      : []),
  ];
}

module.exports = { failure, refusal };
