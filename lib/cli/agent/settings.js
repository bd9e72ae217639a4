'use strict';

/** The settings of `optimizely-amplitude agent`. */

const { readSettings: readAll } = require('../settings.js');

/** The bridge's own settings: flag, variable of the environment, default. */
const OWN = {
  url: { variable: 'OPTIMIZELY_AGENT_URL', isList: true },
  sdkKey: { flag: 'sdk-key', variable: 'OPTIMIZELY_SDK_KEY' },
  accessToken: { flag: 'access-token', variable: 'OPTIMIZELY_AGENT_TOKEN' },
  port: {},
  host: { byDefault: '127.0.0.1' },
};
/** An option of createDispatcher() with a flag of this command alone. */
const SPOOL = { spool: { parse: (directory) => ({ directory }) } };

function checkPort(text) {
  if (text === undefined) {
    return null;
  }
  const port = Number(text);
  if (text === '' || !Number.isInteger(port) || port < 0 || port > 65535) {
    throw new TypeError(`--port must be a number from 0 to 65535, not '${text}'`);
  }
  return port;
}

/**
 * Resolve to { url, sdkKey, accessToken, port, host, options }: what listenToAgent() and createDispatcher() check, and
 * where to answer; `port` is null without one. Throws a TypeError that says what is wrong.
 */
async function readSettings(flags, env) {
  const merged = await readAll({ ...OWN, ...SPOOL }, flags, env);
  const own = {};
  for (const [name, { byDefault }] of Object.entries(OWN)) {
    own[name] = merged[name] ?? byDefault;
    delete merged[name];
  }
  for (const name of ['url', 'sdkKey']) {
    if (own[name] === undefined) {
      const { flag = name, variable } = OWN[name];
      throw new TypeError(`--${flag} is missing, and ${variable} of the environment is not set`);
    }
  }
  return { ...own, port: checkPort(own.port), options: merged };
}

module.exports = { readSettings };
