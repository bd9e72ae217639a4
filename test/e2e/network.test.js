'use strict';

/**
 * Real networks: proxies, certificates, names that do not resolve, slow and impatient servers. All connections are on
 * loopback.
 */

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, it } = require('node:test');
const tls = require('node:tls');

const { createCollector } = require('../../lib/cli/collector/index.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { isWasm } = require('../support/dispatcher/engine.js');
const { certificates } = require('../support/network/certificates.js');
const { isProxyVariable, startChild } = require('../support/process/child.js');
const { requestFailed, start, viewed } = require('../support/dispatcher/harness.js');
const { createNotification } = require('../support/optimizely/sdk.js');
const { startProxy } = require('../support/network/proxy.js');

const ACTOR = path.join(__dirname, '..', 'support', 'process', 'actor.js');
const LONG_MILLIS = 60_000;
const PLAIN = 'user:p@ss:w/%?#';
const ENCODED = `user:${encodeURIComponent('p@ss:w/%?#')}`;

for (const name of Object.keys(process.env).filter(isProxyVariable)) {
  delete process.env[name];
}

/** Set variables of the environment for one test. */
function setEnv(t, variables) {
  Object.assign(process.env, variables);
  t.after(() => Object.keys(variables).forEach((name) => delete process.env[name]));
}

const startTls = (t, certificate = 'good', options = {}) =>
  start(t, { caFile: certificates().caFile, ...options }, { tls: certificate });

const hostOf = (amplitude) => new URL(amplitude.url).host;
const through = ({ url }, credentials) =>
  credentials ? url.replace('//', `//${credentials}@`) : url;

let users = 0;

/** Decide for one more user, flush, and check that the decision is delivered. */
async function deliver({ amplitude, dispatcher }) {
  const userId = `user_${++users}`;
  dispatcher.onDecision(createNotification(userId));
  const { pending, dropped } = await dispatcher.flush();
  assert.deepEqual({ pending, dropped }, { pending: 0, dropped: 0 });
  assert.equal(viewed(amplitude).filter((event) => event.user_id === userId).length, 1);
}

/** Decide, and check that the decision stays pending, and that lastError has the reason; returns { flushed }. */
async function failToDeliver({ amplitude, dispatcher }, reason) {
  dispatcher.onDecision(createNotification(`user_${++users}`));
  const flushed = dispatcher.flush({ timeoutMillis: LONG_MILLIS });
  const { message } = await requestFailed(dispatcher);
  assert.match(message, reason);
  const { pending, dropped } = dispatcher.stats().decisions;
  assert.deepEqual({ pending, dropped: dropped.total }, { pending: 1, dropped: 0 });
  assert.deepEqual(viewed(amplitude), []);
  return { flushed };
}

/** The same; then repair the fault, and check that the decision is delivered. */
async function failThenDeliver(started, reason, mend) {
  const { flushed } = await failToDeliver(started, reason);
  await mend();
  await started.dispatcher.flush(); // ends the back-off
  const { delivered } = await flushed;
  assert.equal(delivered, 1);
  assert.equal(viewed(started.amplitude).length, 1);
}

describe('a proxy', () => {
  for (const [kind, credentials] of [
    ['without', undefined],
    ['with', ENCODED],
  ]) {
    it(`for http, ${kind} credentials`, async (t) => {
      const proxy = await startProxy(t, { credentials: credentials && PLAIN });
      const started = await start(t, { proxy: through(proxy, credentials) });
      await deliver(started);
      await deliver(started);
      const expected = {
        method: 'POST',
        target: started.amplitude.httpapi,
        authorization: credentials ? PLAIN : '',
      };
      assert.deepEqual(proxy.requests, [expected, expected]);
      assert.equal(proxy.connections, 1);
    });

    it(`for https, ${kind} credentials: the tunnel has them, the server does not`, async (t) => {
      const proxy = await startProxy(t, { credentials: credentials && PLAIN });
      const started = await startTls(t, 'good', { proxy: through(proxy, credentials) });
      await deliver(started);
      await deliver(started);
      const expected = {
        method: 'CONNECT',
        target: hostOf(started.amplitude),
        authorization: credentials ? PLAIN : '',
      };
      assert.deepEqual(proxy.requests, [expected]);
      assert.equal(started.amplitude.requests[0].headers['proxy-authorization'], undefined);
    });
  }

  it('that refuses the credentials of an http request: all stays pending, and lastError says so', async (t) => {
    const proxy = await startProxy(t, { credentials: PLAIN });
    const started = await start(t, { proxy: through(proxy, 'user:wrong-one') });
    await failThenDeliver(started, /^407: Credentials, please$/, () => {
      proxy.credentials = 'user:wrong-one';
    });
    assert.doesNotMatch(JSON.stringify(started.logger.lines), /wrong-one/);
  });

  it('that refuses the credentials of a tunnel: all stays pending, and lastError says so', async (t) => {
    const proxy = await startProxy(t, { credentials: PLAIN });
    const started = await startTls(t, 'good', { proxy: through(proxy, 'user:wrong-one') });
    await failThenDeliver(
      started,
      new RegExp(`^no answer: ${hostOf(started.amplitude)}: .*\\b407\\b`),
      () => {
        proxy.credentials = 'user:wrong-one';
      },
    );
    assert.doesNotMatch(JSON.stringify(started.logger.lines), /wrong-one/);
  });

  it('that refuses in JSON: the decisions are not to blame', async (t) => {
    const body = '{"error":"Proxy authentication required"}';
    const proxy = await startProxy(t, { credentials: PLAIN, refusal: { body } });
    const started = await start(t, { proxy: through(proxy) });
    await failThenDeliver(started, /^407: /, () => {
      proxy.credentials = null;
    });
  });

  it('that speaks https is verified with caFile, too', async (t) => {
    const proxy = await startProxy(t, { tls: certificates().good });
    const started = await start(t, { proxy: proxy.url, caFile: certificates().caFile });
    await deliver(started);
    assert.equal(proxy.requests.length, 1);
  });

  it('that speaks https with an untrusted certificate is not used', async (t) => {
    const proxy = await startProxy(t, { tls: certificates().untrusted });
    const started = await start(t, { proxy: proxy.url, caFile: certificates().caFile });
    await failToDeliver(started, /^no answer: .*certificate.*; caFile does not have its CA$/);
    assert.equal(proxy.requests.length, 0);
  });

  it('that is not there: all stays pending, and lastError names the host', async (t) => {
    const amplitude = await startAmplitude();
    await amplitude.close();
    const started = await start(t, { proxy: amplitude.url });
    await failToDeliver(
      started,
      new RegExp(`^no answer: ${hostOf(started.amplitude)}: .*connect`, 'i'),
    );
  });

  it('of the environment is taken for http and https, each its own', async (t) => {
    const [plain, secure] = [await startProxy(t), await startProxy(t)];
    setEnv(t, { http_proxy: plain.url, HTTPS_PROXY: secure.url });
    await deliver(await start(t));
    await deliver(await startTls(t));
    assert.deepEqual(
      [plain, secure].map(({ requests }) => requests.map(({ method }) => method)),
      [['POST'], ['CONNECT']],
    );
  });

  const DIRECT = {
    'NO_PROXY names the host': { env: { NO_PROXY: 'example.com, 127.0.0.1' } },
    'no_proxy is for all': { env: { no_proxy: '*' } },
    'no_proxy has a pattern of the host': { env: { no_proxy: '*.invalid,127.*' } },
    'no_proxy has the network of the host': { env: { no_proxy: '127.0.0.0/8' } },
    'the option noProxy names the host': { options: { noProxy: '127.0.0.1' } },
    'the option proxy is none': { options: { proxy: '' } },
    'only HTTP_PROXY is set, which a client of a CGI program can do': {
      env: { HTTP_PROXY: 'set', http_proxy: '' },
    },
  };
  for (const [title, { env = {}, options = {} }] of Object.entries(DIRECT)) {
    it(`is not used when ${title}`, async (t) => {
      const proxy = await startProxy(t);
      const named = Object.entries({ http_proxy: 'set', ...env }).map(([name, value]) => [
        name,
        value === 'set' ? proxy.url : value,
      ]);
      setEnv(t, Object.fromEntries(named));
      await deliver(await start(t, options));
      assert.equal(proxy.requests.length, 0);
    });
  }

  it('is not used for the host and port that noProxy names, and used for another port', async (t) => {
    const proxy = await startProxy(t);
    const amplitude = await startAmplitude();
    t.after(() => amplitude.close());
    const { port } = new URL(amplitude.url);
    for (const [other, count] of [
      [0, 0],
      [1, 1],
    ]) {
      const { dispatcher } = await start(t, {
        serverUrl: amplitude.httpapi,
        proxy: proxy.url,
        noProxy: `127.0.0.1:${Number(port) + other}`,
      });
      await deliver({ amplitude, dispatcher });
      assert.equal(proxy.requests.length, count);
    }
  });

  it('of the environment that is no URL is left out, and a warning says so', async (t) => {
    setEnv(t, { http_proxy: 'http://user:wrong-one@:3128' });
    const started = await start(t);
    assert.equal(started.logger.warnings.length, 1);
    assert.match(
      started.logger.warnings[0],
      /^environment variable http_proxy: .*; it is left out$/,
    );
    assert.doesNotMatch(started.logger.warnings[0], /wrong-one/);
    await deliver(started);
  });

  it('of the environment is that of the moment when the dispatcher was created', async (t) => {
    const proxy = await startProxy(t);
    const started = await start(t);
    setEnv(t, { http_proxy: proxy.url, all_proxy: proxy.url });
    await deliver(started);
    assert.equal(proxy.requests.length, 0);
  });
});

describe('a certificate', () => {
  it('of a CA in caFile is accepted, and its connection kept', async (t) => {
    const started = await startTls(t);
    for (let i = 0; i < 10; i++) {
      await deliver(started);
    }
    assert.equal(started.amplitude.connections, 1);
  });

  it('is exchanged once: the next connection resumes the session of the one before', async (t) => {
    const started = await startTls(t);
    const resumed = [];
    started.amplitude.server.on('secureConnection', (socket) => {
      resumed.push(socket.isSessionReused());
    });
    started.amplitude.setFault('closeAfterAnswer');
    for (let i = 0; i < 2; i++) {
      await deliver(started);
    }
    assert.deepEqual(resumed, [false, true]);
  });

  const readsOnce = isWasm && 'WebAssembly reads caFile once';
  it(
    'of a CA that caFile no longer has is refused, although its session could be resumed',
    { skip: readsOnce },
    async (t) => {
      const caFile = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-ca-')), 'ca.pem');
      t.after(() => fs.rmSync(path.dirname(caFile), { recursive: true }));
      fs.copyFileSync(certificates().caFile, caFile);
      const started = await startTls(t, 'good', { caFile });
      const { amplitude, dispatcher } = started;
      const connected = once(amplitude.server, 'secureConnection');
      await deliver(started);
      const [socket] = await connected;
      socket.destroy();
      await once(socket, 'close');
      fs.writeFileSync(caFile, tls.rootCertificates[0]);
      dispatcher.onDecision(createNotification('user_later'));
      dispatcher.flush({ timeoutMillis: LONG_MILLIS });
      assert.match((await requestFailed(dispatcher)).message, /; caFile does not have its CA$/);
      assert.equal(viewed(amplitude).length, 1);
    },
  );

  /** Run a process that trusts the same CAs as Node, and ends when its event loop is empty. */
  async function deliverAsChild(t, env, args = [], options = {}) {
    const amplitude = await startAmplitude({ tls: true });
    t.after(() => amplitude.close());
    const part = {
      decisions: 3,
      options: { serverUrl: amplitude.httpapi, ...options },
      end: 'nothing',
    };
    const child = startChild(t, [...args, ACTOR, JSON.stringify(part)], {
      env: { NODE_EXTRA_CA_CERTS: '', SSL_CERT_FILE: '', SSL_CERT_DIR: '', ...env },
    });
    await child.endsWith(0);
    return { child, stored: viewed(amplitude).length };
  }

  /** For a process that cannot deliver. */
  const BRIEF = { flushTimeoutMillis: 2000 };

  it('of a CA in NODE_EXTRA_CA_CERTS is accepted', async (t) => {
    const { child, stored } = await deliverAsChild(t, {
      NODE_EXTRA_CA_CERTS: certificates().caFile,
    });
    assert.equal(child.stderr, '');
    assert.equal(stored, 3);
  });

  it('of a CA that Node does not know is refused, and the message names the remedy', async (t) => {
    const { child, stored } = await deliverAsChild(t, {}, [], BRIEF);
    assert.match(
      child.stdout,
      /^request failed: no answer: 127\.0\.0\.1:\d+: .*certificate; name its CA in caFile or NODE_EXTRA_CA_CERTS$/m,
    );
    assert.equal(stored, 0);
  });

  it('of a CA that OpenSSL trusts is accepted if Node trusts what OpenSSL does', async (t) => {
    const { caFile } = certificates();
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-trust-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const hash = execFileSync('openssl', ['x509', '-noout', '-hash', '-in', caFile], {
      encoding: 'utf8',
    });
    fs.symlinkSync(caFile, path.join(folder, `${hash.trim()}.0`));
    for (const [env, args] of [
      [{ SSL_CERT_FILE: caFile }, ['--use-openssl-ca']],
      [{ SSL_CERT_DIR: `/nowhere${path.delimiter}${folder}` }, ['--use-openssl-ca']],
      [{ SSL_CERT_FILE: caFile, NODE_OPTIONS: '--use-openssl-ca' }, []],
      [{ NODE_EXTRA_CA_CERTS: caFile }, ['--use-openssl-ca']],
    ]) {
      const { child, stored } = await deliverAsChild(t, env, args);
      assert.equal(child.stderr, '');
      assert.equal(stored, 3);
    }
    const { stored } = await deliverAsChild(t, { SSL_CERT_FILE: caFile }, [], BRIEF);
    assert.equal(stored, 0); // Node itself ignores the variable then
  });

  const ownAdvice = isWasm && 'OpenSSL does not tell this case apart';
  it(
    'is refused if OpenSSL trusts no CA at all, and the message says so',
    { skip: ownAdvice },
    async (t) => {
      const { child, stored } = await deliverAsChild(t, {}, ['--use-openssl-ca'], BRIEF);
      assert.match(
        child.stdout,
        /^request failed: no answer: 127\.0\.0\.1:\d+: Node\.js trusts no CA: name one in caFile$/m,
      );
      assert.equal(stored, 0);
    },
  );

  const hasNodeOption = (name) => process.allowedNodeEnvironmentFlags.has(name);
  it(
    'of a CA of the system is accepted with --use-system-ca',
    { skip: !hasNodeOption('--use-system-ca') && 'this version of Node.js has no --use-system-ca' },
    async (t) => {
      const env = { SSL_CERT_FILE: certificates().caFile };
      const { stored } = await deliverAsChild(t, env, ['--use-system-ca']);
      assert.equal(stored, 3);
    },
  );

  it(
    'of a CA that the application makes the default is accepted, until it is another',
    { skip: tls.setDefaultCACertificates === undefined && 'this version of Node.js has none' },
    async (t) => {
      const before = tls.getCACertificates('default');
      t.after(() => tls.setDefaultCACertificates(before));
      const amplitude = await startAmplitude({ tls: true });
      t.after(() => amplitude.close());
      const connect = () => start(t, { serverUrl: amplitude.httpapi });
      const refused = await connect();
      await failToDeliver({ amplitude, dispatcher: refused.dispatcher }, /caFile/);
      tls.setDefaultCACertificates([fs.readFileSync(certificates().caFile, 'utf8')]);
      const accepted = await connect();
      await deliver({ amplitude, dispatcher: accepted.dispatcher });
    },
  );

  it('is verified even with NODE_TLS_REJECT_UNAUTHORIZED=0, which is said if it matters', async (t) => {
    const env = { NODE_TLS_REJECT_UNAUTHORIZED: '0' };
    const said = /NODE_TLS_REJECT_UNAUTHORIZED=0 is not obeyed: .*\bcaFile\b/g;
    const { child, stored } = await deliverAsChild(t, env, [], BRIEF);
    assert.equal(stored, 0);
    assert.equal(child.stderr.match(said).length, 1, child.stderr);
    const { caFile } = certificates();
    const trusted = await deliverAsChild(t, env, [], { caFile });
    assert.equal(trusted.stored, 3);
    assert.doesNotMatch(trusted.child.stderr, said);
  });

  it('cannot be verified with a caFile that has none, and the message names the file', async (t) => {
    const started = await startTls(t, 'good', {
      caFile: __filename.replace(/[^/]*$/, '../examples/datafile.json'),
    });
    await failToDeliver(
      started,
      /^no answer: 127\.0\.0\.1:\d+: caFile .*datafile\.json has no certificate \(PEM\)$/,
    );
  });

  const REFUSED = {
    expired: /certificate has expired/,
    untrusted: /(unable to (get local issuer|verify the first)|self.signed) certificate/,
    wrongHost: /certificate subject name|no alternative certificate|certificate's altnames/,
  };
  for (const [kind, reason] of Object.entries(REFUSED)) {
    it(`that is ${kind} is refused: all stays pending until it is replaced, and lastError names host and reason`, async (t) => {
      const started = await startTls(t, kind);
      const { amplitude } = started;
      await failThenDeliver(
        started,
        new RegExp(`^no answer: ${hostOf(amplitude)}: .*(${reason.source})`),
        async () => {
          assert.equal(amplitude.requests.length, 0);
          const { message } = started.dispatcher.stats().lastError;
          assert.equal(message.endsWith('; caFile does not have its CA'), kind === 'untrusted');
          await amplitude.server.setSecureContext(certificates().good);
        },
      );
    });
  }
});

describe('a host', () => {
  it('whose name does not resolve: all stays pending, and lastError names it', async (t) => {
    const started = await start(t, { serverUrl: 'http://amplitude.invalid/2/httpapi' });
    await failToDeliver(
      started,
      /^no answer: amplitude\.invalid: Could not resolve host\b(?!.*invalid)/i,
    );
  });

  it('that refuses is named once', async (t) => {
    const amplitude = await startAmplitude();
    await amplitude.close();
    const started = await start(t, { serverUrl: amplitude.httpapi });
    const { host, hostname } = new URL(amplitude.url);
    await failToDeliver(
      started,
      new RegExp(`^no answer: ${host}: Failed to connect(?!.*${hostname})`, 'i'),
    );
  });

  it('that is not loopback causes a warning when decisions go there unencrypted', async (t) => {
    for (const [serverUrl, warned] of [
      ['http://amplitude.invalid:8080/2/httpapi?token=hidden', true],
      ['http://192.0.2.1/2/httpapi', true],
      ['http://localhost.invalid/2/httpapi', true],
      ['https://amplitude.invalid/2/httpapi', false],
      ['http://localhost:9/2/httpapi', false],
      ['http://127.1.2.3:9/2/httpapi', false],
      ['http://[::1]:9/2/httpapi', false],
    ]) {
      const { logger } = await start(t, { serverUrl });
      const { hostname } = new URL(serverUrl);
      assert.deepEqual(
        logger.warnings,
        warned
          ? [`serverUrl: decisions and the API key go to ${hostname} unencrypted; use https`]
          : [],
      );
    }
  });

  it('that only the proxy knows', async (t) => {
    const amplitude = await startAmplitude();
    t.after(() => amplitude.close());
    const proxy = await startProxy(t, { to: hostOf(amplitude) });
    const { dispatcher } = await start(t, {
      serverUrl: 'http://amplitude.invalid/2/httpapi',
      proxy: proxy.url,
    });
    await deliver({ amplitude, dispatcher });
    assert.equal(proxy.requests[0].target, 'http://amplitude.invalid/2/httpapi');
  });

  const hasIpv6 = Object.values(os.networkInterfaces())
    .flat()
    .some(({ address }) => address === '::1');
  it('with an address of IPv6', { skip: !hasIpv6 && 'there is no IPv6 here' }, async (t) => {
    const collector = createCollector();
    const { url } = await collector.listen(0, '::1');
    t.after(() => collector.close());
    assert.match(url, /^http:\/\/\[::1\]:/);
    const { dispatcher, logger } = await start(t, { serverUrl: `${url}/2/httpapi` });
    await deliver({ amplitude: collector, dispatcher });
    assert.deepEqual(logger.warnings, []);
  });
});

describe('a server', () => {
  it('gets many requests over one connection', async (t) => {
    const started = await start(t);
    for (let i = 0; i < 50; i++) {
      await deliver(started);
    }
    assert.equal(started.amplitude.requests.length, 50);
    assert.equal(started.amplitude.connections, 1);
  });

  it('that closes idle connections costs nothing', async (t) => {
    const started = await start(t);
    for (let i = 1; i <= 5; i++) {
      const [[socket]] = await Promise.all([
        once(started.amplitude.server, 'connection'),
        deliver(started),
      ]);
      socket.destroy();
      assert.equal(started.amplitude.connections, i);
    }
    const { sent, failed, retried } = started.dispatcher.stats().requests;
    assert.deepEqual({ sent, failed, retried }, { sent: 5, failed: 0, retried: 0 });
  });

  it('that closes each connection right after its answer costs nothing', async (t) => {
    const started = await start(t);
    started.amplitude.setFault('closeAfterAnswer');
    for (let i = 0; i < 50; i++) {
      await deliver(started);
    }
    const { failed } = started.dispatcher.stats().requests;
    assert.equal(failed, 0);
  });

  /** Reads one byte of the body each second. */
  const readSlowly = Object.assign(
    (req) => {
      const timer = setInterval(() => req.read(1), 1000);
      req.socket.on('close', () => clearInterval(timer));
      return null;
    },
    { beforeReading: true },
  );

  const SLOW = {
    'reads one byte a second': () => readSlowly,
    'answers one byte a second': (faults) => faults.byteByByte(1000),
  };
  for (const [title, fault] of Object.entries(SLOW)) {
    it(`that ${title} is abandoned after requestTimeoutMillis, and nothing is lost`, async (t) => {
      const { amplitude, dispatcher } = await start(t, { requestTimeoutMillis: 500 });
      amplitude.setFault(fault(amplitude.faults), 1);
      for (let i = 0; i < 1000; i++) {
        dispatcher.onDecision(createNotification(`user_${i}`));
      }
      const { delivered, pending } = await dispatcher.flush();
      assert.deepEqual({ delivered, pending }, { delivered: 1000, pending: 0 });
      assert.equal(viewed(amplitude).length, 1000);
      assert.match(
        dispatcher.stats().lastError.message,
        new RegExp(`^no answer: ${hostOf(amplitude)}: .*timed out`),
      );
    });
  }

  for (const status of [301, 302, 303, 307, 308]) {
    it(`that answers ${status} is not followed: all stays pending, and lastError says where it leads`, async (t) => {
      const elsewhere = await startAmplitude();
      t.after(() => elsewhere.close());
      const started = await start(t);
      started.amplitude.setFault(started.amplitude.faults.redirect(elsewhere.httpapi, status));
      await failThenDeliver(
        started,
        new RegExp(
          `^${status}: redirects are not followed; this one leads to ${elsewhere.httpapi}$`,
        ),
        () => started.amplitude.setFault(null),
      );
      assert.equal(elsewhere.connections, 0);
    });
  }
});
