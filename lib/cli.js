#!/usr/bin/env node
'use strict';

/** The command line: `optimizely-amplitude collector` runs the local stand-in for Amplitude. */

const { parseArgs } = require('node:util');
const { createCollector } = require('./collector');

const USAGE = `Usage: optimizely-amplitude <command> [options]

Commands:
  collector          run a local stand-in for Amplitude, which shows what arrives

Options of collector:
  --port <port>      the port to listen on (8787; 0: any that is free)
  --host <address>   the address to listen on (127.0.0.1)

Options:
  --help             show this text
  --version          show the version
`;

const OPTIONS = {
  port: { type: 'string', default: '8787' },
  host: { type: 'string', default: '127.0.0.1' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
};

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

function fail(exitCode, message) {
  process.stderr.write(`optimizely-amplitude: ${message}\n`);
  process.exitCode = exitCode;
}

function failUsage(message) {
  fail(EXIT_USAGE, `${message}\n\n${USAGE}`.trimEnd());
}

/** One line for one request. */
function describe({ method, url, status, error, bytes, events, duplicates }) {
  const parts = [new Date().toISOString(), method, url, status ?? 'not answered', `${bytes} bytes`];
  if (events > 0) {
    parts.push(`${events} events${duplicates > 0 ? ` (${duplicates} duplicates)` : ''}`);
  }
  if (error) {
    parts.push(error);
  }
  return parts.join('  ');
}

async function runCollector({ port, host }) {
  if (!/^\d+$/.test(port) || Number(port) > 65535) {
    failUsage(`--port must be a number from 0 to 65535, not '${port}'`);
    return;
  }
  const collector = createCollector();
  collector.store.on('request', (record) => console.log(describe(record)));
  let url;
  try {
    ({ url } = await collector.listen(Number(port), host));
  } catch (error) {
    const reason = error.code === 'EADDRINUSE' ? 'the port is in use; choose another one with --port' : error.message;
    fail(EXIT_FAILURE, `cannot listen on ${host}:${port}: ${reason}`);
    return;
  }
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => collector.close());
  }
  console.log(`Listening on ${url}`);
  console.log(`Point the dispatcher to it with  serverUrl: '${url}/2/httpapi'`);
  console.log(`See what arrived at  ${url}/events  ${url}/users/{id}  ${url}/stats`);
}

async function main(args) {
  let parsed;
  try {
    parsed = parseArgs({ args, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    failUsage(error.message);
    return;
  }
  const { values, positionals: [command, ...rest] } = parsed;
  if (values.help) {
    process.stdout.write(USAGE);
  } else if (values.version) {
    console.log(require('../package.json').version);
  } else if (command === undefined) {
    failUsage('a command is missing');
  } else if (command !== 'collector') {
    failUsage(`unknown command '${command}'`);
  } else if (rest.length > 0) {
    failUsage(`unexpected argument '${rest[0]}'`);
  } else {
    await runCollector(values);
  }
}

main(process.argv.slice(2));
