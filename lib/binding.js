'use strict';

/**
 * Loads the native addon: a prebuilt one, or the one that the installation built.
 * When none loads, the error says what was tried, why each failed, and what to type.
 */

const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');

const CANDIDATES = [
  `prebuilds/${process.platform}-${process.arch}/optimizely-amplitude.node`,
  'build/Release/optimizely_amplitude.node',
  'build/Debug/optimizely_amplitude.node',
];

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
      return require(file);
    } catch (error) {
      attempts.push({ file, error });
    }
  }
  throw failure(attempts);
}

function failure(attempts) {
  const found = attempts.filter(({ error }) => error !== null);
  const lines = [
    'The native addon of optimizely-amplitude could not be loaded.',
    `This is ${process.platform}-${process.arch}, ${libc()}Node ${process.version}.`,
    'Tried:',
    ...attempts.map((attempt) => `  ${attempt.file}\n      ${reason(attempt)}`),
    ...advice(found.map(({ error }) => error.message)),
  ];
  const error = new Error(lines.join('\n'), found.length > 0 ? { cause: found[0].error } : undefined);
  error.code = 'ERR_OA_ADDON';
  return error;
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
    'then:',
    '    npm rebuild optimizely-amplitude --ignore-scripts=false --foreground-scripts',
    messages.length === 0
      ? 'A package manager that runs no install scripts leaves it unbuilt; where it asks for approval, approve optimizely-amplitude.'
      : 'An installation copied from another machine, system or container image does not fit.',
  ];
}

module.exports = load();
