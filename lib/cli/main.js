#!/usr/bin/env node
'use strict';

/** The command line: finds the command, reads its options, and runs it. */

const { parseArgs } = require('node:util');

const { shown } = require('./shown.js');

/**
 * The commands by name, loaded when needed: OPTIONS for parseArgs(), USAGE, run(values, { fail, failUsage }, argument), and
 * ARGUMENT, what the argument is, of one that takes one.
 */
const COMMANDS = {
  agent: () => require('./agent/command.js'),
  collector: () => require('./collector/command.js'),
  doctor: () => require('./doctor/command.js'),
  spool: () => require('./spool/command.js'),
};

const COMMON = {
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
};

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

const COMMANDS_USAGE = `Commands:
  agent              send the decisions of Optimizely Agents to Amplitude
  collector          run a local stand-in for Amplitude, and a page that shows what arrives
  doctor             find out why events do not arrive
  spool <directory>  show what is in a spool, or deliver it
`;
const COMMON_USAGE = `Options:
  --help             show this text
  --version          show the version
`;

function usageLine(name) {
  const argument = name === undefined ? undefined : COMMANDS[name]().ARGUMENT;
  const words = [name ?? '<command>', ...(argument === undefined ? [] : [`<${argument}>`])];
  return `Usage: optimizely-amplitude ${words.join(' ')} [options]\n`;
}

/** The help: of one command, or of all. */
function usage(name) {
  const parts =
    name === undefined
      ? [COMMANDS_USAGE, ...Object.values(COMMANDS).map((load) => load().USAGE)]
      : [COMMANDS[name]().USAGE];
  return [usageLine(name), ...parts, COMMON_USAGE].join('\n');
}

function fail(message, exitCode = EXIT_FAILURE) {
  process.stderr.write(`optimizely-amplitude: ${message}\n`);
  process.exitCode = exitCode;
}

/** Say what is wrong, and where the help is: the whole help would scroll the message away. */
function failUsage(message, name) {
  const help = `optimizely-amplitude ${name === undefined ? '' : `${name} `}--help`;
  const rest = `${usageLine(name)}${name === undefined ? `\n${COMMANDS_USAGE}\n` : ''}${help}  shows the options`;
  fail(`${message}\n\n${rest}`, EXIT_USAGE);
}

/** Letters and digits without a space, this long, are rather a key than a word. */
const KEY_LIKE = /^[\w+/=.-]{16,}$/;

/** An argument that is not understood: it may be a key in the wrong place. */
const named = (argument) => (KEY_LIKE.test(argument) ? '…' : shown(argument));

async function main(args) {
  const name = Object.hasOwn(COMMANDS, args[0] ?? '') ? args[0] : undefined;
  const command = name === undefined ? null : COMMANDS[name]();
  let parsed;
  try {
    parsed = parseArgs({
      args,
      options: { ...COMMON, ...command?.OPTIONS },
      allowPositionals: true,
    });
  } catch (error) {
    failUsage(shown(error.message.split('. To specify a positional')[0]), name);
    return;
  }
  const { values, positionals } = parsed;
  const [first, ...rest] = positionals;
  const wanted = command?.ARGUMENT === undefined ? 0 : 1;
  if (values.help) {
    process.stdout.write(usage(name));
  } else if (values.version) {
    console.log(require('../../package.json').version);
  } else if (first === undefined) {
    failUsage('a command is missing');
  } else if (command === null) {
    failUsage(`unknown command '${named(first)}'`);
  } else if (rest.length > wanted) {
    failUsage(`unexpected argument '${named(rest[wanted])}'`, name);
  } else if (rest.length < wanted) {
    failUsage(`the ${command.ARGUMENT} is missing`, name);
  } else {
    const failures = { fail, failUsage: (message) => failUsage(message, name) };
    await command.run(values, failures, ...rest);
  }
}

main(process.argv.slice(2));
