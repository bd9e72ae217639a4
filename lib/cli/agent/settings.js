'use strict';

/**
 * The settings of `optimizely-amplitude agent`: flags, above the environment, above the file of --config. Those that are
 * not the bridge's own are options of createDispatcher(), which checks them.
 */

const path = require('node:path');

/** The bridge's own settings: flag, variable of the environment, default. */
const OWN = {
  url: { variable: 'OPTIMIZELY_AGENT_URL', isList: true },
  sdkKey: { flag: 'sdk-key', variable: 'OPTIMIZELY_SDK_KEY' },
  accessToken: { flag: 'access-token', variable: 'OPTIMIZELY_AGENT_TOKEN' },
  port: {},
  host: { byDefault: '127.0.0.1' },
};
/** Options of createDispatcher() with a flag, or a usual variable, of their own. */
const USUAL = {
  apiKey: { flag: 'api-key', variable: 'AMPLITUDE_API_KEY' },
  serverUrl: { flag: 'server-url', variable: 'AMPLITUDE_SERVER_URL' },
  serverZone: { flag: 'server-zone' },
  format: { flag: 'format', isList: true },
};
const VARIABLE_PREFIX = 'OA_OPTION_';

/** A value as JSON, where it is JSON, and otherwise as it is. */
function parseValue(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const split = (text) => text.split(',').map((part) => part.trim());

/** Values of texts by name; lists are separated by commas, unless the flag was repeated. */
function readNamed(table, textOf) {
  const values = {};
  for (const [name, { isList }] of Object.entries(table)) {
    const text = textOf(name);
    if (text !== undefined && text !== '') {
      values[name] = isList ? [text].flat().flatMap(split) : text;
    }
  }
  return values;
}

/** FLUSH_QUEUE_SIZE -> flushQueueSize */
const camelCase = (name) =>
  name.toLowerCase().replace(/_([a-z0-9])/g, (match, letter) => letter.toUpperCase());

function fromEnvironment(env) {
  const all = { ...OWN, ...USUAL };
  const options = Object.keys(env)
    .filter((name) => name.startsWith(VARIABLE_PREFIX))
    .map((name) => [camelCase(name.slice(VARIABLE_PREFIX.length)), parseValue(env[name])]);
  return {
    ...Object.fromEntries(options),
    ...readNamed(all, (name) => env[all[name].variable ?? '']),
  };
}

function fromFlags(flags) {
  const all = { ...OWN, ...USUAL };
  const options = (flags.option ?? []).map((text) => {
    const at = text.indexOf('=');
    if (at < 1) {
      throw new TypeError(`--option must be name=value, not '${text}'`);
    }
    return [text.slice(0, at), parseValue(text.slice(at + 1))];
  });
  return {
    ...Object.fromEntries(options),
    ...readNamed(all, (name) => flags[all[name].flag ?? name]),
  };
}

/** Resolves to what the file exports, as CommonJS or as an ES module. */
async function fromFile(file) {
  const { pathToFileURL } = require('node:url');
  const module = await import(pathToFileURL(path.resolve(file)).href);
  const settings = module.default ?? { ...module };
  if (typeof settings !== 'object' || settings === null) {
    throw new TypeError(`${file}: expected an object of settings as what it exports`);
  }
  return settings;
}

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
  const merged = {
    ...(flags.config !== undefined && (await fromFile(flags.config))),
    ...fromEnvironment(env),
    ...fromFlags(flags),
  };
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
