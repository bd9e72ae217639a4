'use strict';

/** The addon's table of cohorts, made from the options, and what it needs of the process. */

const { addonFor } = require('../engine.js');
const { LIBRARY } = require('../library.js');
const { proxyFor } = require('../native.js');
const { shared } = require('../shared.js');

/** 32-bit words of a set of cohorts: 128 bits, as the addon writes them. */
const SET_WORDS = 4;
/** A download may take minutes, but a server that says nothing for so long is given up. */
const SILENCE_MILLIS = 20_000;

/** The numbers of the addon's formats. */
const FORMATS = Object.freeze({ json: 0, csv: 1, lines: 2 });

/** The tables whose loads are to be ended before the process is: a thread must not use OpenSSL while exit() frees it. */
const { natives, onExit } = shared('cohorts.1', () => {
  const all = new Set();
  return { natives: all, onExit: () => all.forEach((native) => native.abort()) };
});

/** Make the table. `words` is where its find() writes the set of a user's cohorts. */
function createNative(options, names, snapshotPath, silenceMillis = SILENCE_MILLIS) {
  const words = new Uint32Array(SET_WORDS);
  const { Cohorts } = addonFor('createAudiences()');
  const native = new Cohorts(
    {
      names,
      // What users are hashed with, so that the hashes are worth nothing to others.
      keyText: options.secretKey ?? options.apiKey ?? '',
      snapshotPath,
      serverUrl: options.serverUrl,
      proxy: proxyFor(options),
      caFile: options.caFile,
      userAgent: LIBRARY,
      silenceMillis,
    },
    words,
  );
  if (natives.size === 0) {
    process.on('exit', onExit);
  }
  natives.add(native);
  return { native, words };
}

/** Have its thread ended, and its memory freed. */
function release(native) {
  native.clear();
  if (natives.delete(native) && natives.size === 0) {
    process.removeListener('exit', onExit);
  }
}

/** Give it Node's CA certificates, if it needs them for its first request. */
function trust(native, log) {
  if (native.stats().needsTrust) {
    require('../trust.js').giveTrust(native, log); // needed for https only
  }
}

module.exports = { FORMATS, createNative, release, trust };
