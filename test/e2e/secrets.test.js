'use strict';

/**
 * The API key, the credentials of a proxy and the query of a URL are never shown: not in the log, not in errors, counts
 * and drops, and not by a process that crashes.
 */

const assert = require('node:assert/strict');
const { EventEmitter, once } = require('node:events');
const path = require('node:path');
const { describe, it } = require('node:test');
const util = require('node:util');

const { createDispatcher } = require('../../lib/index.js');
const { resolveOptions } = require('../../lib/options.js');
const { faults, startAmplitude } = require('../support/amplitude/server.js');
const { certificates } = require('../support/network/certificates.js');
const { startChild } = require('../support/process/child.js');
const { createNotification } = require('../support/optimizely/sdk.js');
const { startProxy } = require('../support/network/proxy.js');
const { isWasm } = require('../support/dispatcher/engine.js');

const ACTOR = path.join(__dirname, '..', 'support', 'process', 'actor.js');
const KEY = '5ec7e75ec7e75ec7e75ec7e75ec7e750'; // in the form of Amplitude's keys
const USER = 'u5er-of-the-proxy';
const PASSWORD = 'pa55word-of-the-proxy';
const TOKEN = 't0ken-in-the-query';
const CREDENTIALS = `${USER}:${PASSWORD}`;

/** The secrets in every form: the beginning of the key, in case a message is cut, and credentials as they are sent. */
const SECRETS = [
  KEY.slice(0, 8),
  USER,
  PASSWORD,
  TOKEN,
  Buffer.from(CREDENTIALS).toString('base64').slice(0, 20),
];

/** Fail if a secret is in one of the texts, or in an object that can be inspected. */
function assertDiscreet(...said) {
  for (const part of said) {
    const text =
      typeof part === 'string'
        ? part
        : util.inspect(part, { depth: Infinity, showHidden: true, maxArrayLength: Infinity });
    for (const secret of SECRETS) {
      assert.ok(!text.includes(secret), `${secret} in ${text}`);
    }
  }
}

const addQuery = (url) => `${url}?token=${TOKEN}&other=1`;
const addCredentials = (url) => url.replace('//', `//${CREDENTIALS}@`);

/**
 * Make a dispatcher that drops a decision with the message of its failure, when it is too old, and collect all that it
 * shows: log lines, drops and counts.
 */
function createTalker(t, options) {
  const said = [];
  const drops = new EventEmitter();
  const write = (message) => said.push(message);
  const dispatcher = createDispatcher({
    apiKey: KEY,
    maxAgeMillis: 1000,
    requestTimeoutMillis: 300,
    flushIntervalMillis: 60_000,
    logger: { debug: write, info: write, warn: write, error: write },
    logLevel: 'debug',
    onDrop: (drop) => {
      said.push(drop);
      drops.emit('drop');
    },
    ...options,
  });
  t.after(() => dispatcher.close({ timeoutMillis: 0 }));
  let users = 0;
  const talk = async () => {
    dispatcher.onDecision(createNotification(`user_${++users}`));
    const dropped = once(drops, 'drop');
    const report = await dispatcher.flush();
    if (report.pending > 0) {
      await dropped; // a flush does not wait for what is tried after minutes only, but it gets old
    }
    said.push(report);
    said.push(dispatcher.stats());
  };
  return { dispatcher, said, talk };
}

/** The faults of the stand-in, and answers that quote the request. */
const QUOTING = {
  'the URL in a text': (req) => ({
    status: 404,
    headers: { 'Content-Type': 'text/plain' },
    body: `Cannot POST ${req.url}`,
  }),
  'the URL in a page': (req) => ({
    status: 503,
    headers: { 'Content-Type': 'text/html' },
    body: `<p>Cannot reach <a href="${req.url}">it</a></p>`,
  }),
  'the URL in JSON': (req) => ({ status: 404, body: { error: `No route for ${req.url}.` } }),
  'the body': (req, exchange) => ({ status: 502, body: exchange.rawBody.toString() }),
  'the body in a text': (req, exchange) => ({
    status: 502,
    body: `Cannot read: ${exchange.rawBody}`,
  }),
  'the API key where a message ends': () => ({ status: 503, body: `${'x '.repeat(92)}${KEY}` }),
  'the API key in a refusal': () => ({ status: 403, body: { error: `The key ${KEY} may not` } }),
  'the API key': () => ({ status: 400, body: { code: 400, error: `Invalid API key: ${KEY}` } }),
  'the URL in a redirect': (req) => ({
    status: 302,
    headers: { Location: `http://127.0.0.1:9${req.url}` },
  }),
  'the URL in the path of a redirect': (req) => ({
    status: 302,
    headers: { Location: `/login/${encodeURIComponent(req.url)}/${KEY}` },
  }),
};
const PLAIN = [
  'badGatewayPage',
  'byteByByte',
  'closeAfterAnswer',
  'earlyAnswer',
  'emptyBody',
  'errorAfterAccepting',
  'forbidden',
  'forbiddenPage',
  'htmlPage',
  'interim',
  'invalidApiKey',
  'notFound',
  'notHttp',
  'rateLimited',
  'requestTimeout',
  'resetAfterAccepting',
  'resetBeforeAccepting',
  'resetBeforeReading',
  'rubbish',
  'silence',
  'tooManyBytes',
  'truncated',
  'truncatedChunked',
  'unavailable',
  'wrongContentLength',
];

// Each waits for most of its time.
describe('no secret is shown when the server answers with', { concurrency: 4 }, () => {
  const all = { ...Object.fromEntries(PLAIN.map((name) => [name, faults[name]()])), ...QUOTING };
  for (const [name, fault] of Object.entries(all)) {
    it(name, async (t) => {
      const amplitude = await startAmplitude();
      t.after(() => amplitude.close());
      const proxy = await startProxy(t, { credentials: CREDENTIALS });
      const { dispatcher, said, talk } = createTalker(t, {
        serverUrl: addQuery(amplitude.httpapi),
        proxy: addCredentials(proxy.url),
      });
      amplitude.setFault(fault);
      await talk();
      const { requests, decisions } = dispatcher.stats();
      assert.equal(decisions.dropped.total, requests.failed > 0 ? 1 : 0);
      amplitude.setFault(null);
      await talk();
      assert.equal(proxy.requests[0].authorization, CREDENTIALS);
      assert.ok(said.some((line) => /^request 1: /.test(line)));
      assertDiscreet(...said);
    });
  }
});

describe('no secret is shown when a request fails because of', () => {
  const CASES = {
    'a proxy that refuses': async (t, { url }) => ({
      proxy: addCredentials((await startProxy(t, { credentials: 'others' })).url),
      serverUrl: addQuery(`${url}/2/httpapi`),
    }),
    'a proxy that refuses a tunnel': async (t) => ({
      proxy: addCredentials((await startProxy(t, { credentials: 'others' })).url),
      serverUrl: addQuery('https://127.0.0.1:9/2/httpapi'),
    }),
    'a certificate': async (t) => {
      const amplitude = await startAmplitude({ tls: 'wrongHost' });
      t.after(() => amplitude.close());
      return { serverUrl: addQuery(amplitude.httpapi), caFile: certificates().caFile };
    },
    'the name of the proxy': () => ({
      proxy: addCredentials('http://proxy.invalid:3128'),
      serverUrl: addQuery('http://127.0.0.1:9/x'),
    }),
    'a proxy whose name libcurl does not accept': () => ({
      proxy: addCredentials('http://a$b:3128'),
      serverUrl: addQuery('http://127.0.0.1:9/x'),
    }),
    ...(!isWasm && {
      'a proxy of SOCKS': () => ({
        proxy: addCredentials('socks5://127.0.0.1:9'),
        serverUrl: addQuery('http://127.0.0.1:9/x'),
      }),
    }),
    'the name of the server': () => ({ serverUrl: addQuery('http://amplitude.invalid/2/httpapi') }),
    'the port of the server': () => ({ serverUrl: addQuery('http://127.0.0.1:9/2/httpapi') }),
    'a proxy of the environment that is not there': (t) => {
      process.env.http_proxy = addCredentials('http://127.0.0.1:9');
      t.after(() => delete process.env.http_proxy);
      return { serverUrl: addQuery('http://amplitude.invalid/2/httpapi') };
    },
  };
  for (const [name, makeOptions] of Object.entries(CASES)) {
    it(name, async (t) => {
      const amplitude = await startAmplitude();
      t.after(() => amplitude.close());
      const { dispatcher, said, talk } = createTalker(t, await makeOptions(t, amplitude));
      await talk();
      const { requests, decisions, lastError } = dispatcher.stats();
      assert.ok(requests.failed >= 1);
      assert.equal(decisions.dropped.expired, 1);
      assert.ok(said.some(({ message }) => message === lastError.message));
      assert.ok(said.some((line) => /does not take decisions/.test(line)));
      assertDiscreet(...said);
    });
  }
});

describe('no secret is shown by the error for', () => {
  const good = {
    apiKey: KEY,
    serverUrl: addQuery('https://127.0.0.1/'),
    proxy: addCredentials('http://127.0.0.1:9'),
  };
  const CASES = {
    'an API key with a line end': { ...good, apiKey: `${KEY}\n` },
    'an API key that is too long': { ...good, apiKey: KEY.repeat(1000) },
    'an API key in an object': { ...good, apiKey: { key: KEY } },
    'an API key in an array': { ...good, apiKey: [KEY] },
    'an API key by another name': { apikey: KEY },
    'a server with credentials': { ...good, serverUrl: addCredentials('https://127.0.0.1/') },
    'a server with an unsupported scheme': { ...good, serverUrl: addQuery('ftp://127.0.0.1/') },
    'a server that is not a URL': { ...good, serverUrl: addQuery('127.0.0.1/path') },
    'a server in an object': { ...good, serverUrl: new URL(good.serverUrl) },
    'a proxy with an unsupported scheme': { ...good, proxy: addCredentials('ftp://127.0.0.1:9') },
    'a proxy without a host': { ...good, proxy: `http://${CREDENTIALS}@` },
    'a proxy with a bad port': { ...good, proxy: addCredentials('http://127.0.0.1:99999') },
    'a proxy without a scheme': { ...good, proxy: `${CREDENTIALS}@127.0.0.1:port` },
    'a proxy in an object': { ...good, proxy: { url: good.proxy } },
    'another option': { ...good, minIdLength: -1 },
    'an option that does not exist': { ...good, batch: true },
    'options that are the API key': KEY,
    'options in an array': [KEY],
  };
  for (const [name, options] of Object.entries(CASES)) {
    it(name, () => {
      assert.throws(
        () => createDispatcher(options),
        (error) => {
          assert.equal(error.code, 'ERR_OA_OPTION');
          assertDiscreet(error, error.stack, String(error));
          return true;
        },
      );
    });
  }

  it('a proxy of the environment', () => {
    const env = { https_proxy: addCredentials('ftp://127.0.0.1:9') };
    const [warning] = resolveOptions({ apiKey: KEY }, env).warnings;
    assert.match(warning, /https_proxy/);
    assertDiscreet(warning);
  });
});

describe('no secret is shown by a process that', () => {
  const options = {
    apiKey: KEY,
    serverUrl: addQuery('http://127.0.0.1:9/x'),
    proxy: addCredentials('http://127.0.0.1:9'),
    flushQueueSize: 1,
    flushTimeoutMillis: 0,
  };
  const CASES = {
    'calls process.exit()': { part: { end: 'exit' }, code: 7, says: /exits with/ },
    throws: { part: { end: 'throw' }, code: 1, says: /thrown on purpose/ },
    'throws where a flush ends': {
      part: { end: 'throwAfterFlush' },
      code: 1,
      says: /thrown on purpose/,
    },
    'has nothing left to do': { part: { end: 'nothing' }, code: 0, says: /exits with/ },
    'crashes for a bad proxy': {
      part: { options: { ...options, proxy: addCredentials('ftp://127.0.0.1:9') } },
      code: 1,
      says: /ERR_OA_OPTION/,
    },
    'crashes for a bad API key': {
      part: { options: { ...options, apiKey: `${KEY} ` } },
      code: 1,
      says: /ERR_OA_OPTION/,
    },
  };
  for (const [name, { part, code, says }] of Object.entries(CASES)) {
    it(name, async (t) => {
      const child = startChild(t, [ACTOR, JSON.stringify({ options, decisions: 3, ...part })]);
      await child.endsWith(code);
      assert.match(child.stderr, says);
      assertDiscreet(child.output);
    });
  }
});

it('a dispatcher that is inspected shows no secret', (t) => {
  const { dispatcher } = createTalker(t, {
    serverUrl: addQuery('http://127.0.0.1:9/x'),
    proxy: addCredentials('http://127.0.0.1:9'),
  });
  assertDiscreet(
    dispatcher,
    JSON.stringify(dispatcher),
    Object.values(dispatcher).map(String).join(),
  );
});
