'use strict';

/** Checks of the connection to Amplitude, by one harmless request, and of its answer. */

const { BATCH, HTTP_V2, endpointOf, isAmplitude } = require('../../endpoints.js');
const { proxyFor, send } = require('../http-client.js');
const { explain } = require('./causes.js');

const MAX_SKEW_MILLIS = 60_000;
const OTHER_ZONE = {
  US: ['EU', endpointOf('EU', HTTP_V2)],
  EU: ['US', endpointOf('US', HTTP_V2)],
};

/** An event without a user: Amplitude checks the API key first, and then has to refuse the event. */
const HARMLESS = { event_type: 'Optimizely Amplitude Doctor' };

const parse = (body) => {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
};

/** A proxy without its user name and password. */
const withoutPassword = (proxy) => `${proxy.protocol}//${proxy.host}`;

/** Post the harmless event; resolve to the answer with its `json`, and the times before and after it. */
async function probe(url, apiKey, options) {
  const body = JSON.stringify({ api_key: apiKey, events: [HARMLESS] });
  const askedAt = Date.now();
  const answer = await send(url, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      accept: '*/*',
    },
    proxy: options.proxy,
    noProxy: options.noProxy,
    caFile: options.caFile,
    timeoutMillis: options.requestTimeoutMillis,
  });
  return { ...answer, json: parse(answer.body), askedAt, answeredAt: Date.now() };
}

const isUnknownKey = ({ json }) =>
  typeof json?.error === 'string' && json.error.startsWith('Invalid API key');

function describeTrust({ caFile }) {
  const extra = process.env.NODE_EXTRA_CA_CERTS;
  return caFile !== null ? caFile : extra ? `what Node trusts, and ${extra}` : 'what Node trusts';
}

/** The stages of a request to `url`, each with its message for success. */
function stagesOf(url, options, proxy) {
  const stages =
    proxy === null
      ? [
          ['dns', ({ addresses }) => `${url.hostname} is ${addresses.join(', ')}`],
          ['connect', () => `${url.host} accepts connections`],
        ]
      : [['proxy', () => `${withoutPassword(proxy)} connects to ${url.host}`]];
  if (url.protocol === 'https:') {
    stages.push([
      'tls',
      ({ peer }) =>
        `${peer.protocol}, certificate by ${peer.issuer} until ${peer.validTo}; trusted: ${describeTrust(options)}`,
    ]);
  }
  return stages;
}

/** Check the connection: dns, connect, proxy, tls. Resolves to the answer, or null. */
async function checkWay(options, apiKey, report) {
  const url = new URL(options.serverUrl);
  const proxy = proxyFor(url, options);
  const stages = stagesOf(url, options, proxy);
  let answer;
  try {
    answer = await probe(options.serverUrl, apiKey, options);
  } catch (error) {
    const failed = stages.findIndex(([name]) => name === error.stage);
    stages
      .slice(0, failed === -1 ? stages.length : failed)
      .forEach(([name]) => report.pass(name, `${url.host}: passed`));
    const isUnknown = error.code === 'ERR_SOCKS';
    const { message, remedy } = explain(
      error,
      options.serverUrl,
      proxy === null ? null : withoutPassword(proxy),
    );
    report[isUnknown ? 'passOver' : 'fail'](
      failed === -1 ? 'answer' : error.stage,
      message,
      remedy,
    );
    return null;
  }
  stages.forEach(([name, tell]) => report.pass(name, tell(answer)));
  return answer;
}

/** Whether a body is a page, as response.c finds out. */
const isPage = (body) => /^\s*</.test(body);

/** Where a redirect leads, without what may be secret: user name, query and fragment, nor a query that is quoted. */
function redirectTarget(location, from) {
  try {
    const { protocol, host, pathname } = new URL(location, from);
    return `${protocol}//${host}${pathname.replace(/%3f.*/i, '')}`;
  } catch {
    return null;
  }
}

/** The status of an answer; a 2xx may have an error in its body. */
function statusOf({ status, json }) {
  const isSuccess = status >= 200 && status < 300;
  return isSuccess && json?.code >= 400 && json.code < 600 ? json.code : status;
}

/**
 * Check that Amplitude answers, and at the right path. Returns whether the answer is about the key, or `null` when
 * something else takes the request, and what Amplitude says is not known.
 */
function checkAnswer(answer, serverUrl, report) {
  const { json, headers, body, askedAt, answeredAt } = answer;
  const status = statusOf(answer);
  const url = new URL(serverUrl);
  const { host, pathname } = url;
  const isObject = typeof json === 'object' && json !== null;
  const isSuccess = status >= 200 && status < 300;
  const fail = (message, remedy) => {
    report.fail('answer', `${host} ${message}`, remedy);
    return false;
  };
  if (status >= 500 || status === 429 || status === 408) {
    report.warn(
      'answer',
      `${host} answers ${status} at the moment`,
      'nothing to do: decisions wait, and are sent after that',
    );
    return false;
  }
  if (status >= 300 && status < 400) {
    const target = redirectTarget(headers.location ?? '', url);
    return fail(
      `answered ${status}: it redirects${headers.location && target ? ` to ${target}` : ''}, and redirects are not followed`,
      'give the URL that it leads to as serverUrl; if it is a login page, log in, or ask for an exemption',
    );
  }
  if (status === 404 || status === 405) {
    return fail(
      `has nothing at ${pathname} (${status})`,
      `the path is ${HTTP_V2.path} or ${BATCH.path}: serverUrl is the whole URL, with it`,
    );
  }
  const isTaken = isSuccess && !isPage(body) && (!isAmplitude(url.hostname) || json?.code === 200);
  if (isSuccess ? !isTaken : !isObject) {
    const lack = isPage(body) ? 'with a page' : isObject ? 'without "code":200' : 'without JSON';
    return fail(
      `answered ${status} ${lack}, so it is not Amplitude`,
      'a proxy, a firewall or a login page answers instead: ask for an exemption, or check --server-url',
    );
  }
  if (status === 403) {
    return fail(
      `answered 403, ${json.error ?? 'forbidden'}`,
      "a firewall refuses this machine's address: ask Amplitude, or use a proxy elsewhere",
    );
  }
  report.pass('answer', `${host} answered in ${answeredAt - askedAt} ms`);
  return isSuccess && json?.code !== 200 ? null : true;
}

/** Check that the API key is known, in this zone or in the other one. */
async function checkKey(answer, options, settings, report) {
  if (!isUnknownKey(answer)) {
    report.pass(
      'key',
      answer.status === 400
        ? 'the API key is accepted (and an event without a user refused, as it should be)'
        : `the API key is accepted (${answer.status})`,
    );
    return;
  }
  const [zone, url] =
    settings.otherZone ?? (settings.serverUrl === undefined ? OTHER_ZONE[options.serverZone] : []);
  if (zone !== undefined && (await isKnownAt(url, settings.apiKey, options))) {
    report.fail(
      'key',
      `the API key belongs to the zone ${zone}, not to ${options.serverZone}`,
      `use serverZone: '${zone}'`,
    );
    return;
  }
  report.fail(
    'key',
    'the API key is not known',
    'copy it from Settings > Projects in Amplitude: the API key, not the secret key',
  );
}

async function isKnownAt(url, apiKey, options) {
  try {
    const answer = await probe(url, apiKey, options);
    return (
      answer.json !== null && answer.status < 500 && answer.status !== 403 && !isUnknownKey(answer)
    );
  } catch {
    return false;
  }
}

/** Compare the clocks, to the second: the server's time is no more exact. */
function checkClock({ headers, askedAt, answeredAt }, report) {
  const theirs = Date.parse(headers.date ?? '');
  if (Number.isNaN(theirs)) {
    report.skip('clock', 'not checked: the server does not send its time');
    return;
  }
  const skew = (askedAt + answeredAt) / 2 - theirs;
  const seconds = Math.round(Math.abs(skew) / 1000);
  if (Math.abs(skew) <= MAX_SKEW_MILLIS) {
    report.pass('clock', `within ${Math.max(seconds, 1)} s of the server's`);
  } else {
    report.fail(
      'clock',
      `this machine's clock is ${seconds} s ${skew > 0 ? 'ahead of' : 'behind'} the server's`,
      'events would be shown at wrong times, and funnels out of order: synchronize it (NTP)',
    );
  }
}

/** Say that nothing has judged the key; if something failed, that comes first. */
function passOverKey({ serverUrl }, report, remedy) {
  if (!report.ok) {
    report.skip('key', 'not checked');
    return;
  }
  report.passOver(
    'key',
    `the API key is not checked, since ${new URL(serverUrl).host} has not judged it`,
    remedy,
  );
}

/** Run all of these checks. */
async function checkServer(options, settings, report) {
  const answer = await checkWay(options, settings.apiKey, report);
  const isJudged = answer !== null && checkAnswer(answer, options.serverUrl, report);
  if (isJudged === null) {
    passOverKey(
      options,
      report,
      'it accepts everything, so look in Amplitude for what --send-test-event sends',
    );
  } else if (!isJudged) {
    passOverKey(options, report, 'run the doctor again later, or add --send-test-event');
  } else if (settings.apiKey !== undefined) {
    await checkKey(answer, options, settings, report);
  }
  if (answer !== null) {
    checkClock(answer, report);
  }
}

module.exports = { checkServer };
