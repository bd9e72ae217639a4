'use strict';

/** `optimizely-amplitude agent`: a bridge from Optimizely Agents to Amplitude, until it is stopped. */

const http = require('node:http');
const { once } = require('node:events');

const { listenToAgent } = require('../../agent.js');
const { closeOnSignal, createDispatcher } = require('../../index.js');
const { reasonOf } = require('../../reason.js');
const { watchParent } = require('../parent.js');
const settings = require('../settings.js');
const { renderMetrics } = require('./metrics.js');
const { readSettings } = require('./settings.js');

const USAGE = `Options of agent:
  --url <url>              an Optimizely Agent (or OPTIMIZELY_AGENT_URL); may be repeated
  --sdk-key <key>          the SDK key to listen for (or OPTIMIZELY_SDK_KEY)
  --access-token <token>   for Agents that ask for one (or OPTIMIZELY_AGENT_TOKEN)
${settings.USAGE}  --spool <directory>      as the option spool: what is not delivered yet survives a restart
  --port <port>            answer /healthz and /metrics on that port (0: any that is free)
  --host <address>         the address to listen on for them (127.0.0.1)
`;

const OPTIONS = {
  url: { type: 'string', multiple: true },
  'sdk-key': { type: 'string' },
  'access-token': { type: 'string' },
  ...settings.OPTIONS,
  spool: { type: 'string' },
  port: { type: 'string' },
  host: { type: 'string' },
};

/** An orchestrator must not end a bridge for an outage, since its memory has what waits: it is alive when it answers. */
function answer(request, response, listener, dispatcher) {
  const { pathname } = new URL(request.url, 'http://bridge');
  const send = (status, type, body) =>
    response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body);
  if (pathname === '/metrics') {
    const text = renderMetrics(listener.status(), dispatcher.stats());
    send(200, 'text/plain; version=0.0.4; charset=utf-8', text);
  } else if (pathname === '/healthz') {
    const { decisions, health, lastError } = dispatcher.stats();
    const amplitude = { health, pending: decisions.pending, lastError };
    send(200, 'application/json', JSON.stringify({ agents: listener.status(), amplitude }));
  } else {
    send(404, 'text/plain', 'try /healthz or /metrics\n');
  }
}

async function listen(server, port, host) {
  server.listen(port, host);
  await once(server, 'listening');
  const { address, family, port: actual } = server.address();
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${actual}`;
}

/** Run it; `fail(message)` and `failUsage(message)` end the command. */
async function run(flags, { fail, failUsage }) {
  let given;
  try {
    given = await readSettings(flags, process.env);
  } catch (error) {
    failUsage(reasonOf(error));
    return;
  }
  const { url, sdkKey, accessToken, port, host, options } = given;
  let dispatcher;
  let listener;
  try {
    dispatcher = createDispatcher(options);
    const { logger, loggerProvider, logLevel } = options;
    listener = listenToAgent({
      url,
      sdkKey,
      accessToken,
      dispatcher,
      logger,
      loggerProvider,
      logLevel: logLevel ?? 'info', // a program of its own says what it listens to
    });
  } catch (error) {
    dispatcher?.close({ timeoutMillis: 0 });
    fail(reasonOf(error));
    return;
  }
  const server = http.createServer((request, response) =>
    answer(request, response, listener, dispatcher),
  );
  if (port !== null) {
    try {
      console.log(`Listening on ${await listen(server, port, host)} for /healthz and /metrics`);
    } catch (error) {
      listener.close();
      await dispatcher.close({ timeoutMillis: 0 });
      fail(`cannot listen on ${host}:${port}: ${reasonOf(error)}`);
      return;
    }
  }
  closeOnSignal(dispatcher, {
    before: () => {
      listener.close();
      server.close();
    },
  });
  watchParent(() => process.kill(process.pid, 'SIGTERM'));
}

module.exports = { OPTIONS, USAGE, run };
