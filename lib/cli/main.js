#!/usr/bin/env node
'use strict';

/** The command line: finds the command, reads its options, and runs it. */

const { parseArgs } = require('node:util');

/** The commands by name, loaded when needed: OPTIONS for parseArgs(), USAGE, and run(values, { fail, failUsage }). */
const COMMANDS = {
  agent: () => require('./agent/command.js'),
  collector: () => require('./collector/command.js'),
  doctor: () => require('./doctor/command.js'),
};

const COMMON = {
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
};

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

const usage = () => `Usage: optimizely-amplitude <command> [options]

Commands:
  agent              send the decisions of Optimizely Agents to Amplitude
  collector          run a local stand-in for Amplitude, and a page that shows what arrives
  doctor             find out why events do not arrive

${Object.values(COMMANDS)
  .map((load) => load().USAGE)
  .join('\n')}
Options:
  --help             show this text
  --version          show the version
`;

function fail(message, exitCode = EXIT_FAILURE) {
  process.stderr.write(`optimizely-amplitude: ${message}\n`);
  process.exitCode = exitCode;
}

function failUsage(message) {
  fail(`${message}\n\n${usage()}`.trimEnd(), EXIT_USAGE);
}

async function main(args) {
  const [name] = args;
  const command = Object.hasOwn(COMMANDS, name ?? '') ? COMMANDS[name]() : null;
  let parsed;
  try {
    parsed = parseArgs({
      args,
      options: { ...COMMON, ...command?.OPTIONS },
      allowPositionals: true,
    });
  } catch (error) {
    failUsage(error.message);
    return;
  }
  const {
    values,
    positionals: [first, second],
  } = parsed;
  if (values.help) {
    process.stdout.write(usage());
  } else if (values.version) {
    console.log(require('../../package.json').version);
  } else if (first === undefined) {
    failUsage('a command is missing');
  } else if (command === null) {
    failUsage(`unknown command '${first}'`);
  } else if (second !== undefined) {
    failUsage(`unexpected argument '${second}'`);
  } else {
    await command.run(values, { fail, failUsage });
  }
}

main(process.argv.slice(2));
