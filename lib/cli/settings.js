'use strict';

/**
 * The settings of commands that make a dispatcher: flags, above the environment, above the file of --config. Those that
 * are not a command's own are options of createDispatcher(), which checks them.
 */

const path = require('node:path');
const { pathToFileURL } = require('node:url');

const { reasonOf } = require('../reason.js');

/** Options of createDispatcher() with a flag, or a usual variable, of their own. */
const USUAL = {
  apiKey: { flag: 'api-key', variable: 'AMPLITUDE_API_KEY' },
  serverUrl: { flag: 'server-url', variable: 'AMPLITUDE_SERVER_URL' },
  serverZone: { flag: 'server-zone' },
  format: { flag: 'format', isList: true },
};
const VARIABLE_PREFIX = 'OA_OPTION_';

const USAGE = `\
  --api-key <key>          the API key (or AMPLITUDE_API_KEY)
  --server-zone <US|EU>    as the option serverZone (US)
  --server-url <url>       as the option serverUrl (or AMPLITUDE_SERVER_URL)
  --format <names>         as the option format (event): one, or several with commas
  --option <name=value>    any option of createDispatcher(), such as flushQueueSize=500 (or
                           OA_OPTION_FLUSH_QUEUE_SIZE=500); may be repeated
  --config <file>          a module that exports any of these settings, such as callbacks
`;

const OPTIONS = {
  'api-key': { type: 'string' },
  'server-zone': { type: 'string' },
  'server-url': { type: 'string' },
  format: { type: 'string' },
  option: { type: 'string', multiple: true },
  config: { type: 'string' },
};

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
  for (const [name, { isList, parse = (text) => text }] of Object.entries(table)) {
    const text = textOf(name);
    if (text !== undefined && text !== '') {
      values[name] = isList ? [text].flat().flatMap(split) : parse(text);
    }
  }
  return values;
}

/** FLUSH_QUEUE_SIZE -> flushQueueSize */
const camelCase = (name) =>
  name.toLowerCase().replace(/_([a-z0-9])/g, (match, letter) => letter.toUpperCase());

function fromEnvironment(all, env) {
  const options = Object.keys(env)
    .filter((name) => name.startsWith(VARIABLE_PREFIX))
    .map((name) => [camelCase(name.slice(VARIABLE_PREFIX.length)), parseValue(env[name])]);
  return {
    ...Object.fromEntries(options),
    ...readNamed(all, (name) => env[all[name].variable ?? '']),
  };
}

function fromFlags(all, flags) {
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

/** Resolve to the options that a module exports, as CommonJS or as an ES module, or that the function returns that it exports. */
async function loadConfig(file) {
  try {
    const module = await import(pathToFileURL(path.resolve(file)).href);
    const exported = module.default ?? { ...module };
    const config = typeof exported === 'function' ? await exported() : exported;
    if (typeof config !== 'object' || config === null) {
      throw new TypeError('it has to export an object of options, or a function that returns one');
    }
    return config;
  } catch (error) {
    throw new TypeError(`--config ${file}: ${reasonOf(error)}`, { cause: error });
  }
}

/**
 * Resolve to all settings by name. `own` are those of the command besides options of createDispatcher(): {name: {flag,
 * variable, isList, parse}}. Throws a TypeError that says what is wrong.
 */
async function readSettings(own, flags, env) {
  const all = { ...own, ...USUAL };
  return {
    ...(flags.config !== undefined && (await loadConfig(flags.config))),
    ...fromEnvironment(all, env),
    ...fromFlags(all, flags),
  };
}

module.exports = { OPTIONS, USAGE, loadConfig, readSettings };
