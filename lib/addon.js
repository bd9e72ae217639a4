'use strict';

/**
 * Finds and opens the native addon: one that was built on this machine, or the prebuilt one of the package.
 */

const fs = require('node:fs');
const path = require('node:path');

const { obstacle } = require('./obstacle.js');

const ROOT = path.join(__dirname, '..');

// An addon that was built here takes precedence.
const BUILT_HERE = [
  'build/Release/optimizely_amplitude.node',
  'build/Debug/optimizely_amplitude.node',
];
const PREBUILT = 'optimizely-amplitude.node';

/**
 * Return { addon }, or why there is none: { reason }, in a few words, and { error }, a function that makes the error that
 * says all that was tried and what to do. To find that out takes a while.
 */
function findAddon() {
  const refused = obstacle(process);
  if (refused !== null) {
    return { reason: refused.reason, error: () => require('./unloadable.js').refusal(refused) };
  }
  // Lets the tests load another build, such as one with sanitizers.
  const override = process.env.OPTIMIZELY_AMPLITUDE_BINDING;
  const attempts = [];
  for (const file of override ? [path.resolve(override)] : candidates()) {
    try {
      // Throws under --permission.
      if (!fs.existsSync(file)) {
        attempts.push({ file, error: null });
        continue;
      }
      if (!override) {
        checkFits(file);
      }
      return { addon: open(file) };
    } catch (error) {
      attempts.push({ file, error });
    }
  }
  const failed = attempts.find(({ error }) => error !== null);
  return {
    reason:
      failed === undefined
        ? `there is no addon for ${target()} here`
        : `${path.relative(ROOT, failed.file)}: ${failed.error.message}`,
    error: () => require('./unloadable.js').failure(attempts),
  };
}

/** Where an addon may be; which of the prebuilt ones fits is found out only when it is their turn. */
function* candidates() {
  for (const file of BUILT_HERE) {
    yield path.join(ROOT, file);
  }
  yield path.join(ROOT, 'prebuilds', target(), PREBUILT);
}

/** Like require(), without the half millisecond that it takes to find a file whose place is known. */
function open(file) {
  const addon = { exports: {} };
  process.dlopen(addon, file);
  return Object.assign(addon.exports, { file });
}

/** Throw when the runtime is one in which a prebuilt addon must not even be opened. */
function checkFits(file) {
  if (!file.endsWith(PREBUILT)) {
    return;
  }
  const { openssl } = process.versions;
  if (!/^3\./.test(openssl)) {
    throw new Error(
      `uses the OpenSSL 3 of the runtime, and this runtime has ${openssl ? `OpenSSL ${openssl}` : 'none'}`,
    );
  }
}

/** What a prebuilt addon has to be for. musl's loader would accept one for glibc, with undefined behaviour. */
function target() {
  return `${process.platform}-${process.arch}${usesMusl() ? '-musl' : ''}`;
}

const PT_INTERP = 3;

/**
 * Whether the C library is musl: its dynamic linker is the one that Node's executable, an ELF file of 64 bits, asks for in
 * one of its program headers.
 */
function usesMusl() {
  if (process.platform !== 'linux') {
    return false;
  }
  let descriptor;
  try {
    descriptor = fs.openSync(process.execPath);
    const head = Buffer.alloc(4096);
    fs.readSync(descriptor, head);
    const size = head.readUInt16LE(54);
    const first = Number(head.readBigUInt64LE(32));
    for (let at = first; at < first + size * head.readUInt16LE(56); at += size) {
      if (head.readUInt32LE(at) === PT_INTERP) {
        const name = Buffer.alloc(Number(head.readBigUInt64LE(at + 32)));
        fs.readSync(descriptor, name, { position: Number(head.readBigUInt64LE(at + 8)) });
        return name.includes('/ld-musl-');
      }
    }
    return false;
  } catch {
    return lacksGlibc();
  } finally {
    if (descriptor !== undefined) {
      fs.closeSync(descriptor);
    }
  }
}

/** The same where the executable cannot be read, as under --permission. The report takes some milliseconds. */
function lacksGlibc() {
  try {
    process.report.excludeNetwork = true; // otherwise it looks up the names of all peers
    return process.report.getReport().header.glibcVersionRuntime === undefined;
  } catch {
    return false; // a runtime without the report
  }
}

let found = null;

/** The same, found once. */
const addon = () => (found ??= findAddon());

module.exports = { addon };
