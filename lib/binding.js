'use strict';

/**
 * Loads the native addon: one that was built on this machine, or the prebuilt one of the package.
 * When none loads, the error says what was tried, why each failed, and what to type.
 */

const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');

const PREBUILT = `prebuilds/${process.platform}-${process.arch}/optimizely-amplitude.node`;
// Who builds one means it to be used.
const CANDIDATES = ['build/Release/optimizely_amplitude.node', 'build/Debug/optimizely_amplitude.node', PREBUILT];

function load() {
  // Lets the tests load another build, such as one with sanitizers.
  const override = process.env.OPTIMIZELY_AMPLITUDE_BINDING;
  const candidates = override ? [path.resolve(override)] : CANDIDATES.map((file) => path.join(ROOT, file));
  const attempts = [];
  for (const file of candidates) {
    if (!fs.existsSync(file)) {
      attempts.push({ file, error: null });
      continue;
    }
    try {
      if (!override) checkFits(file);
      return require(file);
    } catch (error) {
      attempts.push({ file, error });
    }
  }
  throw failure(attempts);
}

/** Throw when the runtime is one that a prebuilt addon must not even be tried on. */
function checkFits(file) {
  if (!file.endsWith(PREBUILT)) return;
  const { openssl } = process.versions;
  if (!/^3\./.test(openssl)) {
    throw new Error(`uses the OpenSSL 3 of the runtime, and this runtime has ${openssl ? `OpenSSL ${openssl}` : 'none'}`);
  }
  // Its loader takes a library for glibc all the same, and what happens then is not defined.
  if (usesMusl()) throw new Error('is built for glibc, and this system uses musl');
}

/** Whether the C library is musl: it is named by the dynamic linker that Node's executable asks for. */
function usesMusl() {
  if (process.platform !== 'linux') return false;
  const head = Buffer.alloc(2048);
  let descriptor;
  try {
    descriptor = fs.openSync(process.execPath);
    return head.subarray(0, fs.readSync(descriptor, head)).includes('/ld-musl-');
  } catch {
    return false;
  } finally {
    if (descriptor !== undefined) fs.closeSync(descriptor);
  }
}

function failure(attempts) {
  const found = attempts.filter(({ error }) => error !== null);
  const lines = [
    'The native addon of optimizely-amplitude could not be loaded.',
    `This is ${process.platform}-${process.arch}, ${libc()}Node ${process.version}. ${prebuilds()}`,
    'Tried:',
    ...attempts.map((attempt) => `  ${attempt.file}\n      ${reason(attempt)}`),
    ...advice(found.map(({ error }) => error.message)),
  ];
  const error = new Error(lines.join('\n'), found.length > 0 ? { cause: found[0].error } : undefined);
  error.code = 'ERR_OA_ADDON';
  return error;
}

/** For which systems there are prebuilt addons in this package. */
function prebuilds() {
  let names = [];
  try {
    names = fs.readdirSync(path.join(ROOT, 'prebuilds')).filter((name) => name.includes('-'));
  } catch {
    // a clone, or an installation without them
  }
  return names.length > 0 ? `There are prebuilt addons for ${names.join(' and ')} with glibc.` : 'There is no prebuilt addon in this package.';
}

/** "glibc 2.36, ", "musl, ", or nothing. Asks the diagnostic report, which takes a while. */
function libc() {
  if (process.platform !== 'linux') return '';
  process.report.excludeNetwork = true; // else it looks up the names of all peers
  const { header, sharedObjects = [] } = process.report.getReport();
  if (header.glibcVersionRuntime) return `glibc ${header.glibcVersionRuntime}, `;
  return sharedObjects.some((object) => object.includes('musl')) ? 'musl, ' : '';
}

function reason({ file, error }) {
  if (error === null) return 'is not there';
  const machine = machineOf(file);
  if (machine !== null && machine !== process.arch) return `is built for ${machine}, not for ${process.arch}`;
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
  if (head.length < 20 || head.toString('latin1', 0, 4) !== '\x7fELF') return null;
  const bigEndian = head[5] === 2;
  return ELF_MACHINES[bigEndian ? head.readUInt16BE(18) : head.readUInt16LE(18)] ?? null;
}

/** What to type. `messages` are those of the dynamic linker. */
function advice(messages) {
  const deps = require('../src/deps.js');
  const text = messages.join('\n');
  const lines = [];
  for (const library of ['libcurl', 'libcjson']) {
    // glibc and musl name the file that they did not find, macOS the library that was not loaded.
    const lacks = new RegExp(`${library}[\\w.-]*: (cannot open shared object|No such file)|not loaded: \\S*${library}`);
    if (lacks.test(text)) {
      lines.push(`The library ${library} is missing on this machine:`, deps.installAdvice((manager) => deps.MANAGERS[manager].run[library]));
    }
  }
  if (lines.length > 0) return lines;
  return [
    'Build it on this machine, with its own Node. First what it is built from:',
    deps.buildAdvice(),
    'then, in the folder of the application:',
    '    npm explore optimizely-amplitude -- npm run compile',
    ...(messages.length > 0 ? ['An installation copied from another machine, system or container image does not fit.'] : []),
  ];
}

module.exports = load();
