'use strict';

/** The addon's table of cohorts, made from the options, and what it needs of the process. */

const { version } = require('../../package.json');
const binding = require('../binding.js');
const { reasonOf } = require('../reason.js');

const LIBRARY = `optimizely-amplitude/${version}`;

/** 32-bit words of a set of cohorts: 128 bits, as the addon writes them. */
const SET_WORDS = 4;
/** A download may take minutes, but a server that says nothing for so long is given up. */
const SILENCE_MILLIS = 20_000;

/** The numbers of the addon's formats. */
const FORMATS = Object.freeze({ json: 0, csv: 1, lines: 2 });

/** The tables whose loads are to be ended before the process is. */
const alive = new Set();

/** Nothing else ends a thread that uses OpenSSL before process.exit() frees what it uses. */
function onExit() {
  alive.forEach((native) => native.abort());
}

/** Make the table. `words` is where its find() writes the set of a user's cohorts. */
function createNative(options, names, silenceMillis = SILENCE_MILLIS) {
  const words = new Uint32Array(SET_WORDS);
  const native = new binding.Cohorts(
    {
      names,
      // What users are hashed with, so that the hashes are worth nothing to others.
      keyText: options.secretKey ?? options.apiKey ?? '',
      serverUrl: options.serverUrl,
      proxy: options.proxy,
      noProxy: options.noProxy,
      caFile: options.caFile,
      userAgent: LIBRARY,
      silenceMillis,
    },
    words,
  );
  if (alive.size === 0) {
    process.on('exit', onExit);
  }
  alive.add(native);
  return { native, words };
}

/** Have its thread ended, and its memory freed. */
function release(native) {
  native.clear();
  if (alive.delete(native) && alive.size === 0) {
    process.removeListener('exit', onExit);
  }
}

/** Give it Node's CA certificates, if it needs them for its first request. */
function trust(native, log) {
  if (!native.stats().needsTrust) {
    return;
  }
  try {
    const { trustedCertificates } = require('../trust.js'); // needed for https only
    const status = native.setTrust(trustedCertificates());
    if (status !== 'ok') {
      log.warn(
        'trust',
        `libcurl refuses Node's list of CA certificates (${status}); the system's list is used`,
      );
    }
  } catch (error) {
    log.warn(
      'trust',
      `Node's CA certificates cannot be read (${reasonOf(error)}); the system's list is used`,
    );
  }
}

module.exports = { FORMATS, LIBRARY, createNative, release, trust };
