'use strict';

/** `optimizely-amplitude collector`: runs a collector until it is stopped. */

const { spawn } = require('node:child_process');

const { HTTP_V2 } = require('../../endpoints.js');
const { resolveOptions } = require('../../options.js');
const { fetchDatafile, sourceOf } = require('../datafile.js');
const { watchParent } = require('../parent.js');
const { shown } = require('../shown.js');
const { noAllocations, readAllocations } = require('./allocation.js');
const { parseCohorts } = require('./cohorts.js');
const { createCollector } = require('./index.js');
const { parseForward } = require('./forward.js');
const { isLoopbackAddress } = require('./origins.js');

const USAGE = `Options of collector:
  --port <port>            the port to listen on (8787; 0: any that is free)
  --host <address>         the address to listen on (127.0.0.1)
  --open                   open the page in a browser
  --datafile <file|url>    compare the split of experiments with that of this datafile
  --sdk-key <key>          the same with the datafile that Optimizely has for this SDK key
  --datafile-access-token <token>  for a secured environment
  --property-prefix <text> a prefix of user properties that hold variations, if events do not tell it
  --forward <US|EU|url>    pass everything on to Amplitude (or that URL), and its answers back
  --ca-file <file>         certificates (PEM) to trust for --forward and --datafile
  --cohort <definition>    serve a cohort of users, such as power_users=Purchase:2/30d: the users with
                           Purchase at least 2 times within 30 days; may be repeated
  --allow-origin <origin>  let pages of that origin send events, too (* : any); may be repeated
  --allow-host <name>      a name under which the page may be asked for; may be repeated
`;

const OPTIONS = {
  port: { type: 'string', default: '8787' },
  host: { type: 'string', default: '127.0.0.1' },
  open: { type: 'boolean', default: false },
  datafile: { type: 'string' },
  'sdk-key': { type: 'string' },
  'datafile-access-token': { type: 'string' },
  'property-prefix': { type: 'string', multiple: true, default: [] },
  forward: { type: 'string' },
  'ca-file': { type: 'string' },
  cohort: { type: 'string', multiple: true, default: [] },
  'allow-origin': { type: 'string', multiple: true, default: [] },
  'allow-host': { type: 'string', multiple: true, default: [] },
};

/** How to open a URL in the browser, by platform. */
const OPENERS = {
  darwin: (url) => ['open', [url]],
  win32: (url) => ['cmd', ['/c', 'start', '', url]],
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
  return parts.map((part) => shown(part)).join('  ');
}

/** Open a URL in a browser; without one, say so. */
function openBrowser(url) {
  const [command, args] = (OPENERS[process.platform] ?? ((target) => ['xdg-open', [target]]))(url);
  const child = spawn(command, args, { stdio: 'ignore', detached: true });
  child.on('error', () => console.log(`No browser could be started; open ${url}`));
  child.unref();
}

/** The planned split of the datafile, if one is named. */
async function loadAllocations(values) {
  const accessToken = values['datafile-access-token'];
  const source = sourceOf({ datafile: values.datafile, sdkKey: values['sdk-key'], accessToken });
  if (source === undefined) {
    return noAllocations;
  }
  const text = await fetchDatafile(source, accessToken, (url) =>
    resolveOptions({
      apiKey: 'not-used',
      serverUrl: new URL('/of-any-path', url).href,
      caFile: values['ca-file'],
    }),
  );
  try {
    return readAllocations(text);
  } catch (error) {
    throw new Error(`${source} cannot be used: ${error.message}`, { cause: error });
  }
}

/** The URL for this machine: no address is any of its addresses, and not every system connects to that. */
const localUrl = ({ url }) =>
  url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:');

/** Print where it is, and what to do with it. */
function introduce(collector, cohorts, forward) {
  const url = localUrl(collector);
  console.log(`Listening on ${collector.url}`);
  console.log(`Point the dispatcher at it with  serverUrl: '${url}${HTTP_V2.path}'`);
  console.log(`Open ${url} in a browser, or ask  ${url}/events  ${url}/users/{id}  ${url}/stats`);
  if (cohorts.length > 0) {
    const ids = cohorts.map(({ id }) => id).join(', ');
    console.log(`Point audiences at it with  serverUrl: '${url}'  for the cohorts  ${ids}`);
  }
  if (forward !== undefined) {
    console.log(`Everything is passed on to ${shown(forward)}`);
  }
  if (!isLoopbackAddress(collector.server.address().address)) {
    console.log(
      'Anyone who can reach this address can see what arrives, and change how it is answered',
    );
  }
}

/** Run it; `fail(message)` and `failUsage(message)` end the command. */
async function run(values, { fail, failUsage }) {
  const { port, host } = values;
  if (!/^\d+$/.test(port) || Number(port) > 65535) {
    failUsage(`--port must be a number from 0 to 65535, not '${shown(port)}'`);
    return;
  }
  const forward = values.forward === undefined ? undefined : parseForward(values.forward);
  if (forward === null) {
    failUsage(
      `--forward must be US, EU or a URL without user name, password and query, not '${shown(values.forward)}'`,
    );
    return;
  }
  let cohorts;
  try {
    cohorts = parseCohorts(values.cohort);
  } catch (error) {
    failUsage(`--cohort: ${shown(error.message)}`);
    return;
  }
  let collector;
  try {
    collector = createCollector({
      forward,
      caFile: values['ca-file'],
      cohorts,
      allocations: await loadAllocations(values),
      prefixes: values['property-prefix'],
      allowOrigins: values['allow-origin'],
      allowHosts: values['allow-host'],
    });
  } catch (error) {
    fail(shown(error.message));
    return;
  }
  collector.store.on('request', (record) => console.log(describe(record)));
  try {
    await collector.listen(Number(port), host);
  } catch (error) {
    const reason =
      error.code === 'EADDRINUSE'
        ? 'the port is in use; choose another one with --port'
        : error.message;
    fail(`cannot listen on ${shown(`${host}:${port}: ${reason}`)}`);
    return;
  }
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => collector.close());
  }
  watchParent(() => collector.close());
  introduce(collector, cohorts, forward);
  if (values.open) {
    openBrowser(localUrl(collector));
  }
}

module.exports = { OPTIONS, USAGE, run };
