'use strict';

/**
 * Finds and opens the native addon: one that was built on this machine, or the prebuilt one of the package.
 */

const fs = require('node:fs');
const path = require('node:path');

const { obstacle } = require('./obstacle.js');

const ROOT = path.join(__dirname, '..');

const PREBUILT = `prebuilds/${process.platform}-${process.arch}/optimizely-amplitude.node`;
// An addon that was built here takes precedence.
const CANDIDATES = [
  'build/Release/optimizely_amplitude.node',
  'build/Debug/optimizely_amplitude.node',
  PREBUILT,
];

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
  const candidates = override
    ? [path.resolve(override)]
    : CANDIDATES.map((file) => path.join(ROOT, file));
  const attempts = [];
  for (const file of candidates) {
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
        ? `there is no addon for ${process.platform}-${process.arch} here`
        : `${path.relative(ROOT, failed.file)}: ${failed.error.message}`,
    error: () => require('./unloadable.js').failure(attempts),
  };
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
  // musl's loader accepts a library for glibc, with undefined behaviour.
  if (usesMusl()) {
    throw new Error('is built for glibc, and this system uses musl');
  }
}

/** Where musl's dynamic linker is. Most systems have none, and are not examined further. */
const MUSL_LINKERS = { x64: '/lib/ld-musl-x86_64.so.1', arm64: '/lib/ld-musl-aarch64.so.1' };

/** Whether the C library is musl: its dynamic linker is the one that Node's executable asks for. */
function usesMusl() {
  const linker = MUSL_LINKERS[process.arch];
  let descriptor;
  try {
    if (process.platform !== 'linux' || linker === undefined || !fs.existsSync(linker)) {
      return false;
    }
    descriptor = fs.openSync(process.execPath);
    const head = Buffer.alloc(2048);
    return head.subarray(0, fs.readSync(descriptor, head)).includes('/ld-musl-');
  } catch {
    return false; // cannot be determined, as under --permission
  } finally {
    if (descriptor !== undefined) {
      fs.closeSync(descriptor);
    }
  }
}

let found = null;

/** The same, found once. */
const addon = () => (found ??= findAddon());

module.exports = { addon };
