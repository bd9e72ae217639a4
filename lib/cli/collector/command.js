'use strict';

/** `optimizely-amplitude collector`: runs a collector until it is stopped. */

const { HTTP_V2 } = require('../../endpoints.js');
const { watchParent } = require('../parent.js');
const { parseCohorts } = require('./cohorts.js');
const { createCollector } = require('./index.js');
const { parseOrigin } = require('./forward.js');
const { isLoopbackAddress } = require('./origins.js');

const USAGE = `Options of collector:
  --port <port>            the port to listen on (8787; 0: any that is free)
  --host <address>         the address to listen on (127.0.0.1)
  --forward <US|EU|url>    pass everything on to Amplitude (or that URL), and its answers back
  --ca-file <file>         certificates (PEM) to trust for --forward
  --cohort <definition>    serve a cohort of users, such as power_users=Purchase:2/30d: those who did
                           Purchase at least 2 times within 30 days; may be repeated
  --allow-origin <origin>  let pages of that origin send events, too (* : any); may be repeated
`;

const OPTIONS = {
  port: { type: 'string', default: '8787' },
  host: { type: 'string', default: '127.0.0.1' },
  forward: { type: 'string' },
  'ca-file': { type: 'string' },
  cohort: { type: 'string', multiple: true, default: [] },
  'allow-origin': { type: 'string', multiple: true, default: [] },
};

/** The line for a request. */
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

/** Run it; `fail(message)` and `failUsage(message)` end the command. */
async function run(
  { port, host, forward, 'ca-file': caFile, cohort, 'allow-origin': allowOrigins },
  { fail, failUsage },
) {
  if (!/^\d+$/.test(port) || Number(port) > 65535) {
    failUsage(`--port must be a number from 0 to 65535, not '${port}'`);
    return;
  }
  const origin = forward === undefined ? undefined : parseOrigin(forward);
  if (origin === null) {
    failUsage(`--forward must be US, EU or a URL without user name and password, not '${forward}'`);
    return;
  }
  let cohorts;
  try {
    cohorts = parseCohorts(cohort);
  } catch (error) {
    failUsage(`--cohort: ${error.message}`);
    return;
  }
  let collector;
  try {
    collector = createCollector({ forward: origin, caFile, cohorts, allowOrigins });
  } catch (error) {
    fail(error.message);
    return;
  }
  collector.store.on('request', (record) => console.log(describe(record)));
  let url;
  try {
    ({ url } = await collector.listen(Number(port), host));
  } catch (error) {
    const reason =
      error.code === 'EADDRINUSE'
        ? 'the port is in use; choose another one with --port'
        : error.message;
    fail(`cannot listen on ${host}:${port}: ${reason}`);
    return;
  }
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => collector.close());
  }
  watchParent(() => collector.close());
  console.log(`Listening on ${url}`);
  console.log(`Point the dispatcher at it with  serverUrl: '${url}${HTTP_V2.path}'`);
  console.log(`Open ${url} in a browser, or ask  ${url}/events  ${url}/users/{id}  ${url}/stats`);
  if (cohorts.length > 0) {
    const ids = cohorts.map(({ id }) => id).join(', ');
    console.log(`Point audiences at it with  serverUrl: '${url}'  for the cohorts  ${ids}`);
  }
  if (origin !== undefined) {
    console.log(`Everything is passed on to ${origin}`);
  }
  if (!isLoopbackAddress(collector.server.address().address)) {
    console.log(
      'Anyone who can reach this address can see what arrives, and change how it is answered',
    );
  }
}

module.exports = { OPTIONS, USAGE, run };
