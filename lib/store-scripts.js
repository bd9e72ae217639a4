'use strict';

/**
 * Scripts that a server of Redis or Valkey runs: each is atomic, and one form of call fits every client, while commands by
 * themselves are called in as many ways as there are clients.
 */

const { createHash } = require('node:crypto');

const { reasonOf } = require('./reason.js');

/** A script, and the digest by which a server knows it. */
const script = (text) => ({ text, sha: createHash('sha1').update(text).digest('hex') });

/** Run a script by `send(argv, routingKey)`. All keys are in one slot of a cluster, and all arguments are strings. */
async function runScript(send, { text, sha }, keys, args) {
  const rest = [String(keys.length), ...keys, ...args];
  try {
    return await send(['EVALSHA', sha, ...rest], keys[0]);
  } catch (error) {
    // Servers forget scripts, so each call may have to send the text. GLIDE calls it NoScriptError.
    if (!/noscript/i.test(reasonOf(error))) {
      throw error;
    }
    return send(['EVAL', text, ...rest], keys[0]);
  }
}

module.exports = { runScript, script };
