'use strict';

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { runDoctor } = require('../../lib/cli/doctor/index.js');
const { send } = require('../../lib/cli/http-client.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { runChild } = require('../support/process/child.js');

const CLI = path.join(__dirname, '../../lib/cli/main.js');
const DATAFILE = path.join(__dirname, '../examples/datafile.json');
const KEY = 'a-key-that-is-known';

const check = (result, name) => result.checks.find((one) => one.name === name);
const failures = (result) =>
  result.checks.filter(({ status }) => status === 'fail').map(({ name }) => name);

async function start(t, options) {
  const amplitude = await startAmplitude({ apiKeys: [KEY], ...options });
  t.after(() => amplitude.close());
  return amplitude;
}

/** Run the doctor without the proxies of the environment. */
const examine = (settings) => runDoctor({ apiKey: KEY, proxy: '', ...settings });

/** Start a proxy whose answer to CONNECT is `onConnect(req, socket, head)`. */
async function startProxy(t, onConnect) {
  const proxy = http.createServer();
  const sockets = new Set();
  proxy.on('connection', (socket) => sockets.add(socket));
  proxy.on('connect', onConnect);
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  t.after(() => {
    proxy.close();
    sockets.forEach((socket) => socket.destroy());
  });
  return `127.0.0.1:${proxy.address().port}`;
}

function tunnel(req, client, head) {
  const [host, port] = req.url.split(':');
  const server = net.connect(port, host, () => {
    client.write('HTTP/1.1 200 OK\r\n\r\n');
    server.write(head);
    server.pipe(client).pipe(server);
  });
  server.on('error', () => client.destroy());
  client.on('error', () => server.destroy());
}

/** Start a web server; resolve to its URL. */
async function startWeb(t, handler) {
  const server = http.createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

describe('the doctor', () => {
  it('passes a correct set-up', async (t) => {
    const amplitude = await start(t, { tls: true });
    const result = await examine({
      serverUrl: amplitude.httpapi,
      caFile: amplitude.caFile,
      datafile: DATAFILE,
      user: 'user_9',
      attributes: { country: 'US', plan: 'premium' },
      sendTestEvent: true,
    });
    assert.deepEqual(failures(result), []);
    assert.equal(result.ok, true);
    assert.deepEqual(
      result.checks.map(({ name, status }) => [name, status]),
      [
        'addon',
        'options',
        'dns',
        'connect',
        'tls',
        'answer',
        'key',
        'clock',
        'datafile',
        'variations',
        'user',
        'test event',
      ].map((name) => [name, name === 'variations' ? 'warn' : 'pass']),
    );
    assert.match(
      check(result, 'addon').message,
      /(build|prebuilds)\/[\w-]+\/optimizely[-_]amplitude\.node, libcurl\/\S+ OpenSSL\/\S+/,
    );
    assert.match(check(result, 'tls').message, /^TLSv1\.3, .*ca\.pem$/);
    assert.match(
      check(result, 'datafile').message,
      /revision 1.*3 flags: checkout_flow, homepage_banner, search_ranking/,
    );
    const { message, events } = check(result, 'user');
    assert.match(
      message,
      /checkout_flow = one_page \(on, rule checkout_ab\).*search_ranking = no variation \(off\)/,
    );
    assert.deepEqual(
      events.map(({ event_type: type }) => type),
      ['$identify', 'Experiment Viewed', 'Experiment Viewed', 'Experiment Viewed'],
    );
    assert.equal(events[0].user_properties.$set['[Optimizely] checkout_flow'], 'one_page');
    assert.equal(
      amplitude.store.user('optimizely-amplitude-doctor').events.length,
      2,
      'the test event alone has arrived',
    );
    assert.equal(amplitude.store.stats().users, 1);
  });

  it('shows the events of the format that is asked for', async (t) => {
    const amplitude = await start(t);
    const result = await examine({
      serverUrl: amplitude.httpapi,
      datafile: DATAFILE,
      user: 'user_9',
      attributes: { country: 'US', plan: 'premium' },
      format: ['exposure'],
      sendTestEvent: true,
    });
    assert.deepEqual(failures(result), []);
    assert.equal(check(result, 'variations').status, 'pass');
    const { events } = check(result, 'user');
    assert.deepEqual(
      events.map(({ event_type: type, event_properties: properties }) => [type, properties]),
      [
        ['checkout_flow', 'one_page', 'checkout_ab'],
        ['homepage_banner', 'on', 'default-rollout-banner'],
        ['search_ranking', undefined, undefined],
      ].map(([flag, variant, experiment]) => [
        '$exposure',
        {
          flag_key: flag,
          ...(variant && { variant }),
          ...(experiment && { experiment_key: experiment }),
        },
      ]),
    );
    assert.deepEqual(amplitude.store.user('optimizely-amplitude-doctor').user_properties, {
      '[Experiment] doctor': 'sent',
    });
    const wrong = await examine({ serverUrl: amplitude.httpapi, format: ['event', 'identify'] });
    assert.match(check(wrong, 'options').message, /^option 'format': /);
  });

  it('sends nothing that counts, unless it is asked to', async (t) => {
    const amplitude = await start(t);
    assert.equal((await examine({ serverUrl: amplitude.httpapi })).ok, true);
    assert.equal(amplitude.store.events().length, 0);
    assert.deepEqual(
      amplitude.requests.map(({ status }) => status),
      [400],
    );
  });

  it('can send a test event again', async (t) => {
    const amplitude = await start(t);
    for (let i = 1; i <= 2; i++) {
      await examine({ serverUrl: amplitude.httpapi, sendTestEvent: true });
      assert.equal(amplitude.store.events({ type: 'Optimizely Amplitude Doctor' }).length, i);
    }
  });

  it('reports a wrong key without showing it', async (t) => {
    const amplitude = await start(t);
    const result = await examine({ serverUrl: amplitude.httpapi, apiKey: 'another-secret-key' });
    assert.deepEqual(failures(result), ['key']);
    assert.match(check(result, 'key').message, /not known/);
    assert.match(check(result, 'key').remedy, /Settings > Projects/);
    assert.doesNotMatch(JSON.stringify(result), /another-secret-key/);
  });

  it('finds a key in the other zone', async (t) => {
    const here = await start(t, { apiKeys: ['other'] });
    const there = await start(t);
    const result = await examine({ serverUrl: here.httpapi, otherZone: ['EU', there.httpapi] });
    assert.match(check(result, 'key').message, /belongs to the zone EU/);
    assert.equal(check(result, 'key').remedy, "use serverZone: 'EU'");
    await there.stop();
    assert.match(
      check(await examine({ serverUrl: here.httpapi, otherZone: ['EU', there.httpapi] }), 'key')
        .message,
      /not known/,
    );
  });

  it('misses a key', async (t) => {
    const amplitude = await start(t);
    const result = await examine({ serverUrl: amplitude.httpapi, apiKey: undefined });
    assert.deepEqual(failures(result), ['options']);
    assert.match(check(result, 'options').remedy, /AMPLITUDE_API_KEY/);
    assert.equal(check(result, 'answer').status, 'pass');
  });

  it('passes on what the options are refused for', async () => {
    const result = await examine({ serverUrl: 'api2.amplitude.com', caFile: 'nowhere.pem' });
    assert.deepEqual(failures(result), ['options']);
    assert.match(check(result, 'options').message, /serverUrl.*absolute/);
  });

  it('names a closed port', async (t) => {
    const amplitude = await start(t);
    await amplitude.stop();
    const result = await examine({ serverUrl: amplitude.httpapi });
    assert.deepEqual(failures(result), ['connect']);
    assert.equal(check(result, 'dns').status, 'pass');
    assert.match(check(result, 'connect').message, /refuses connections/);
  });

  it('names an unknown host', async () => {
    const result = await examine({ serverUrl: 'http://nowhere.invalid/2/httpapi' });
    assert.deepEqual(failures(result), ['dns']);
    assert.match(check(result, 'dns').remedy, /--proxy/);
  });

  const certificates = {
    untrusted: [/authority .* is not trusted/, /--ca-file/],
    expired: [/has expired/, /clock/],
    wrongHost: [/for another host than 127\.0\.0\.1/, /--server-url/],
  };
  for (const [kind, [message, remedy]] of Object.entries(certificates)) {
    it(`names a certificate that is ${kind}`, async (t) => {
      const amplitude = await start(t, { tls: kind });
      const result = await examine({ serverUrl: amplitude.httpapi, caFile: amplitude.caFile });
      assert.deepEqual(failures(result), ['tls']);
      assert.match(check(result, 'tls').message, message);
      assert.match(check(result, 'tls').remedy, remedy);
    });
  }

  it('names a server without TLS, or without HTTP', async (t) => {
    const amplitude = await start(t);
    const noTls = await examine({ serverUrl: amplitude.httpapi.replace('http:', 'https:') });
    assert.match(check(noTls, 'tls').message, /does not speak TLS/);
    amplitude.setFault('notHttp', 1);
    assert.match(
      check(await examine({ serverUrl: amplitude.httpapi }), 'answer').message,
      /not HTTP/,
    );
  });

  const answers = {
    htmlPage: ['fail', /answered 200 with a page, so it is not Amplitude/],
    forbidden: ['fail', /403/],
    notFound: ['fail', /nothing at \/2\/httpapi/],
    unavailable: ['warn', /503 at the moment/],
    resetBeforeAccepting: ['fail', /./],
  };
  for (const [fault, [status, message]] of Object.entries(answers)) {
    it(`judges an answer: ${fault}`, async (t) => {
      const amplitude = await start(t);
      amplitude.setFault(fault, 1);
      const answer = check(await examine({ serverUrl: amplitude.httpapi }), 'answer');
      assert.equal(answer.status, status);
      assert.match(answer.message, message);
      assert.ok(answer.remedy);
    });
  }

  for (const status of [408, 429, 500, 502, 503, 504]) {
    it(`calls ${status} an outage, whatever its body is`, async (t) => {
      const amplitude = await start(t);
      for (const body of [undefined, '<html>Bad gateway</html>', 'oops', { code: status }]) {
        amplitude.setFault(amplitude.faults.answer({ status, body }), 1);
        const result = await examine({ serverUrl: amplitude.httpapi });
        assert.deepEqual([result.ok, result.isKeyChecked], [true, false], body);
        assert.equal(check(result, 'answer').status, 'warn');
        assert.match(check(result, 'answer').message, new RegExp(`${status} at the moment`));
      }
    });
  }

  it('finds an error in the body of a success', async (t) => {
    const amplitude = await start(t);
    for (const [body, status] of [
      [{ code: 503 }, 'warn'],
      [{ code: 404 }, 'fail'],
    ]) {
      amplitude.setFault(amplitude.faults.answer({ status: 200, body }), 1);
      const result = await examine({ serverUrl: amplitude.httpapi });
      assert.equal(check(result, 'answer').status, status);
    }
  });

  it('shows where a redirect leads, without what may be secret', async (t) => {
    const amplitude = await start(t);
    for (const [location, shown] of [
      ['https://me:word@login.example/in?token=1#x', ' to https://login.example/in,'],
      ['/elsewhere%3Ftoken=1', ` to ${amplitude.url}/elsewhere,`],
      [undefined, 'redirects, and'],
      ['http://', 'redirects, and'],
    ]) {
      const headers = location === undefined ? {} : { Location: location };
      amplitude.setFault(amplitude.faults.answer({ status: 307, headers }), 1);
      const answer = check(await examine({ serverUrl: amplitude.httpapi }), 'answer');
      assert.equal(answer.status, 'fail');
      assert.ok(answer.message.includes(shown), answer.message);
      assert.match(answer.message, /answered 307: .* redirects are not followed$/);
      assert.doesNotMatch(answer.message, /token|word/);
    }
  });

  it('accepts an own server that answers anything but a page, and has not judged the key', async (t) => {
    const amplitude = await start(t);
    for (const body of [undefined, 'ok', { ok: true }]) {
      amplitude.setFault(amplitude.faults.answer({ status: 200, body }), 1);
      const result = await examine({ serverUrl: amplitude.httpapi });
      assert.deepEqual([result.ok, result.isKeyChecked], [true, false]);
      assert.equal(check(result, 'answer').status, 'pass');
      assert.equal(check(result, 'key').status, 'warn');
      assert.match(check(result, 'key').remedy, /--send-test-event/);
    }
    amplitude.setFault(amplitude.faults.answer({ status: 200, body: { code: 200 } }), 1);
    const judged = await examine({ serverUrl: amplitude.httpapi });
    assert.equal(check(judged, 'key').message, 'the API key is accepted (200)');
  });

  it('expects Amplitude itself to say that it accepts', async (t) => {
    const bodies = ['', 'ok', '{"ok":true}', '{"code":200}'];
    const proxy = http.createServer((req, res) => res.end(bodies.shift())).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    t.after(() => proxy.close());
    for (const expected of ['fail', 'fail', 'fail', 'pass']) {
      const result = await examine({
        serverUrl: 'http://api2.amplitude.com/2/httpapi',
        proxy: `http://127.0.0.1:${proxy.address().port}`,
      });
      assert.equal(check(result, 'answer').status, expected);
    }
  });

  it('warns that the key is not checked, unless a test event shows that it is accepted', async (t) => {
    const amplitude = await start(t);
    for (const [more, expected] of [
      [{}, false],
      [{ sendTestEvent: true }, true],
    ]) {
      amplitude.setFault('unavailable', 1);
      const result = await examine({ serverUrl: amplitude.httpapi, ...more });
      assert.deepEqual([result.ok, result.isKeyChecked], [true, expected]);
      assert.equal(check(result, 'key').status, 'warn');
      assert.match(check(result, 'key').message, /not checked, since 127\.0\.0\.1:\d+ has not/);
      assert.match(check(result, 'key').remedy, /again later/);
    }
    const failed = await examine({ serverUrl: 'http://127.0.0.1:1/2/httpapi' });
    assert.equal(check(failed, 'key').status, 'skip');
  });

  it('ends with the code of what it found', async (t) => {
    const amplitude = await start(t);
    const run = (...args) =>
      runChild(t, [CLI, 'doctor', '--api-key', KEY, '--server-url', amplitude.httpapi, ...args]);
    const fine = await run();
    assert.deepEqual([fine.code, fine.stderr], [0, '']);
    assert.match(fine.stdout, /\nNo problem found\. /);
    const warned = await run('--datafile', DATAFILE); // of an arm whose flag is off
    assert.equal(warned.code, 0);
    assert.match(warned.stdout, /\nNothing failed; warnings: 1\. /);
    amplitude.setFault('unavailable');
    for (const args of [[], ['--json']]) {
      const { code, stdout, stderr } = await run(...args);
      assert.equal(code, 2);
      assert.match(stderr, /the API key could not be checked\n$/);
      assert.doesNotMatch(stdout, /No problem/);
    }
    amplitude.setFault('forbidden');
    const failed = await run();
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /1 check failed\n$/);
  });

  it('finds a clock that is wrong', async (t) => {
    const amplitude = await start(t);
    const past = new Date(Date.now() - 3_600_000).toUTCString();
    amplitude.setFault(
      amplitude.faults.answer({
        status: 400,
        headers: { Date: past },
        body: { code: 400, error: 'x' },
      }),
      1,
    );
    const result = await examine({ serverUrl: amplitude.httpapi });
    assert.deepEqual(failures(result), ['clock']);
    assert.match(check(result, 'clock').message, /36\d\d s ahead/);
  });
});

describe('the doctor and proxies', () => {
  it('goes through one', async (t) => {
    const amplitude = await start(t, { tls: true });
    let asked = null;
    const proxy = await startProxy(t, (req, socket, head) => {
      asked = req;
      tunnel(req, socket, head);
    });
    const result = await examine({
      serverUrl: amplitude.httpapi,
      caFile: amplitude.caFile,
      proxy: `http://me:secret@${proxy}`,
    });
    assert.deepEqual(failures(result), []);
    assert.equal(
      check(result, 'proxy').message,
      `http://${proxy} connects to ${new URL(amplitude.url).host}`,
    );
    assert.equal(
      asked.headers['proxy-authorization'],
      `Basic ${Buffer.from('me:secret').toString('base64')}`,
    );
    assert.doesNotMatch(JSON.stringify(result), /secret/);
  });

  const refusals = { 403: /ask the operator of the proxy/, 407: /user:password/ };
  for (const [status, remedy] of Object.entries(refusals)) {
    it(`names one that answers ${status}`, async (t) => {
      const amplitude = await start(t, { tls: true });
      const proxy = await startProxy(t, (req, socket) =>
        socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`),
      );
      const result = await examine({
        serverUrl: amplitude.httpapi,
        caFile: amplitude.caFile,
        proxy: `http://${proxy}`,
      });
      assert.deepEqual(failures(result), ['proxy']);
      assert.match(check(result, 'proxy').remedy, remedy);
    });
  }

  it('names one that is not there', async (t) => {
    const amplitude = await start(t, { tls: true });
    const result = await examine({ serverUrl: amplitude.httpapi, proxy: 'http://127.0.0.1:1' });
    assert.deepEqual(failures(result), ['proxy']);
  });

  it('warns of a variable that is not the URL of one', async (t) => {
    const amplitude = await start(t);
    const { http_proxy: before } = process.env;
    t.after(() => {
      process.env.http_proxy = before;
      if (before === undefined) {
        delete process.env.http_proxy;
      }
    });
    process.env.http_proxy = 'http://';
    const result = await examine({ serverUrl: amplitude.httpapi, proxy: undefined });
    assert.deepEqual(failures(result), []);
    assert.equal(check(result, 'environment').status, 'warn');
    assert.match(check(result, 'environment').message, /^environment variable http_proxy: /);
  });

  it('asks one for http, and leaves out what is exempt', async (t) => {
    const amplitude = await start(t);
    const proxy = http
      .createServer((req, res) => res.end(JSON.stringify({ url: req.url })))
      .listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    t.after(() => proxy.close());
    const options = { proxy: `http://127.0.0.1:${proxy.address().port}` };
    const ask = async (more) =>
      JSON.parse((await send(`${amplitude.url}/stats`, { ...options, ...more })).body);
    assert.deepEqual(await ask(), { url: `${amplitude.url}/stats` });
    for (const noProxy of ['*', '127.0.0.1', '10.0.0.0/8, 127.0.0.0/8', 'x.example,127.0.0.1']) {
      assert.ok((await ask({ noProxy })).requests, noProxy);
    }
    for (const noProxy of ['10.0.0.0/8', '27.0.0.1', '.0.0.1']) {
      assert.ok((await ask({ noProxy })).url, noProxy);
    }
  });
});

describe('the doctor and Optimizely', () => {
  const inFile = (t, text) => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-doctor-'));
    t.after(() => fs.rmSync(directory, { recursive: true }));
    fs.writeFileSync(path.join(directory, 'datafile.json'), text);
    return path.join(directory, 'datafile.json');
  };

  const bad = {
    '<html>Log in</html>': /not JSON; it begins with "<html>Log in/,
    '': /not JSON/,
    '{"version":"4"}': /no featureFlags/,
    null: /no featureFlags/,
  };
  for (const [text, message] of Object.entries(bad)) {
    it(`refuses as a datafile: ${text || 'nothing'}`, async (t) => {
      const amplitude = await start(t);
      const result = await examine({
        serverUrl: amplitude.httpapi,
        datafile: inFile(t, text),
        user: 'user_1',
      });
      assert.deepEqual(failures(result), ['datafile']);
      assert.match(check(result, 'datafile').message, message);
      assert.ok(check(result, 'datafile').remedy);
    });
  }

  it('warns of an experiment whose variation has its flag off', async (t) => {
    const amplitude = await start(t);
    const examineWith = async (change) => {
      const content = JSON.parse(fs.readFileSync(DATAFILE));
      change?.(content);
      const datafile = inFile(t, JSON.stringify(content));
      return check(await examine({ serverUrl: amplitude.httpapi, datafile }), 'variations');
    };
    const control = ({ experiments }) =>
      experiments
        .find(({ key }) => key === 'checkout_ab')
        .variations.find(({ key }) => key === 'control');

    const warning = await examineWith();
    assert.equal(warning.status, 'warn');
    assert.match(warning.message, /: checkout_flow in control \(checkout_ab\)$/);
    assert.match(
      warning.remedy,
      /decide\(\) says "control".* will be "off".*disabledValue: 'variation'/,
    );

    const moved = await examineWith((content) => {
      content.groups = [{ id: '1', policy: 'random', experiments: content.experiments }];
      content.experiments = [];
    });
    assert.deepEqual(moved, warning);

    for (const change of [
      (content) => {
        control(content).featureEnabled = true;
      },
      (content) => {
        control(content).key = 'off';
      },
    ]) {
      assert.equal((await examineWith(change)).status, 'pass');
    }
  });

  it('reads a datafile from a URL', async (t) => {
    const amplitude = await start(t);
    const server = http
      .createServer((req, res) =>
        ['/', '/d.json'].includes(req.url)
          ? res.end(fs.readFileSync(DATAFILE))
          : res.writeHead(403).end(),
      )
      .listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const url = `http://127.0.0.1:${server.address().port}`;
    for (const datafile of [`${url}/d.json`, url]) {
      const result = await examine({ serverUrl: amplitude.httpapi, datafile });
      assert.match(check(result, 'datafile').message, /3 flags/);
    }
    const unknown = check(
      await examine({ serverUrl: amplitude.httpapi, datafile: `${url}/other.json` }),
      'datafile',
    );
    assert.match(`${unknown.message} ${unknown.remedy}`, /no such datafile.*SDK key/);
    assert.match(
      check(await examine({ serverUrl: amplitude.httpapi, datafile: '/nowhere.json' }), 'datafile')
        .message,
      /cannot be read \(ENOENT\)/,
    );
  });

  for (const [user, message] of [
    ['abc', /shorter than/],
    ['anonymous', /./],
  ]) {
    it(`refuses the id ${user}`, async (t) => {
      const amplitude = await start(t);
      const result = await examine({ serverUrl: amplitude.httpapi, user });
      assert.deepEqual(failures(result), ['user']);
      assert.match(check(result, 'user').message, message);
      assert.match(check(result, 'user').remedy, /id/);
      if (user === 'abc') {
        assert.equal(
          (await examine({ serverUrl: amplitude.httpapi, user, minIdLength: 3 })).ok,
          true,
        );
      }
    });
  }
});

describe('the command', () => {
  const run = (t, args, env) => runChild(t, [CLI, 'doctor', ...args], { env });

  it('prints a line for each check, and succeeds', async (t) => {
    const amplitude = await start(t);
    const { code, stdout, stderr } = await run(
      t,
      ['--server-url', amplitude.httpapi, '--proxy', '', '--user', 'user_1'],
      { AMPLITUDE_API_KEY: KEY },
    );
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^ {2}ok {4}addon .*\n {2}ok {4}options .*\n {2}ok {4}dns /);
    assert.match(stdout, /"event_type":"\$identify","user_id":"user_1"/);
  });

  it('takes the URL of the environment, unless the command line has one', async (t) => {
    const amplitude = await start(t);
    const serverUrl = amplitude.httpapi;
    const env = { AMPLITUDE_API_KEY: KEY, AMPLITUDE_SERVER_URL: serverUrl };
    const named = await run(t, ['--proxy', ''], env);
    assert.equal(named.code, 0);
    assert.ok(named.stdout.includes(`events go to ${serverUrl} (AMPLITUDE_SERVER_URL)\n`));
    const wrong = { ...env, AMPLITUDE_SERVER_URL: 'http://127.0.0.1:1/x' };
    const given = await run(t, ['--proxy', '', '--server-url', serverUrl], wrong);
    assert.equal(given.code, 0);
    assert.ok(given.stdout.includes(`events go to ${serverUrl}\n`));
    const noProxy = ['--proxy', 'http://127.0.0.1:1'];
    const none = await run(t, noProxy, { ...env, AMPLITUDE_SERVER_URL: '' });
    assert.match(none.stdout, /events go to https:\/\/api2\.amplitude\.com\/2\/httpapi\n/);
    const bad = await run(t, ['--proxy', ''], { ...env, AMPLITUDE_SERVER_URL: 'amplitude' });
    assert.match(bad.stdout, /-> correct the environment variable AMPLITUDE_SERVER_URL/);
  });

  it('says what to do, and fails', async (t) => {
    const { code, stdout, stderr } = await run(t, [
      '--server-url',
      'http://127.0.0.1:1/x',
      '--proxy',
      '',
      '--api-key',
      KEY,
    ]);
    assert.equal(code, 1);
    assert.match(stdout, /FAIL {2}connect .*\n +-> check host and port/);
    assert.match(stderr, /1 check failed/);
  });

  it('prints JSON', async (t) => {
    const { code, stdout } = await run(t, [
      '--json',
      '--server-url',
      'http://127.0.0.1:1/x',
      '--proxy',
      '',
      '--api-key',
      KEY,
    ]);
    const result = JSON.parse(stdout);
    assert.deepEqual([code, result.ok, failures(result)], [1, false, ['connect']]);
  });

  it('says what could not be checked, and ends with 2', async (t) => {
    const amplitude = await start(t);
    const broken = await startWeb(t, (req, res) => res.writeHead(503).end());
    const server = ['--server-url', amplitude.httpapi, '--proxy', '', '--api-key', KEY];
    const datafile = await run(t, [...server, '--datafile', `${broken}/x.json?token=hidden`]);
    assert.equal(datafile.code, 2);
    assert.match(datafile.stderr, /nothing failed, but datafile could not be checked/);
    assert.doesNotMatch(datafile.stdout + datafile.stderr, /hidden/);
    const outage = await run(t, ['--server-url', `${broken}/x`, '--proxy', '', '--api-key', KEY]);
    assert.equal(outage.code, 2);
    assert.match(outage.stderr, /nothing failed, but the API key could not be checked/);
  });

  it('takes the options of the application', async (t) => {
    const amplitude = await start(t);
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'doctor-'));
    t.after(() => fs.rmSync(directory, { recursive: true }));
    const file = path.join(directory, 'options.mjs');
    fs.writeFileSync(
      file,
      `export default async () => (${JSON.stringify({
        ...{ apiKey: KEY, serverUrl: amplitude.httpapi, propertyPrefix: '[A/B] ', proxy: '' },
        ...{ eventType: 'Saw', disabledValue: 'variation' },
      })});`,
    );
    const { code, stdout } = await run(t, [
      '--config',
      file,
      '--user',
      'user_1',
      '--datafile',
      DATAFILE,
    ]);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /"\[A\/B\] /);
    assert.match(stdout, /"event_type":"Saw"/);
    assert.match(stdout, /ok {4}variations /);
    const zone = await run(t, ['--config', file, '--server-url', 'http://127.0.0.1:1/x']);
    assert.match(
      zone.stdout,
      /events go to http:\/\/127\.0\.0\.1:1\/x/,
      'the command line is stronger',
    );
    for (const content of ['export default 1;', 'throw new Error("not today");']) {
      fs.writeFileSync(path.join(directory, 'bad.mjs'), content);
      const bad = await run(t, ['--config', path.join(directory, 'bad.mjs')]);
      assert.equal(bad.code, 1);
      assert.match(bad.stderr, /--config .*(has to export|not today)/);
    }
  });

  it('sends an access token for a datafile, and does not print it', async (t) => {
    const amplitude = await start(t);
    const token = 'token-of-the-environment';
    const web = await startWeb(t, (req, res) => {
      const isKnown = req.headers.authorization === `Bearer ${token}`;
      res.writeHead(isKnown ? 200 : 403).end(isKnown ? fs.readFileSync(DATAFILE) : '');
    });
    const args = ['--server-url', amplitude.httpapi, '--proxy', '', '--api-key', KEY];
    const known = await run(t, [...args, '--datafile', `${web}/d.json`], {
      OPTIMIZELY_DATAFILE_ACCESS_TOKEN: token,
    });
    assert.equal(known.code, 0, known.stdout);
    const wrong = 'another-token-1';
    const refused = await run(t, [
      ...args,
      '--datafile',
      `${web}/d.json`,
      '--datafile-access-token',
      wrong,
    ]);
    assert.equal(refused.code, 1);
    assert.match(refused.stdout, /the access token is missing or refused/);
    assert.ok(!refused.stdout.includes(wrong));
  });

  it('refuses unknown arguments', async (t) => {
    assert.equal((await run(t, ['--attributes', '[]'])).code, 2);
    assert.equal((await run(t, ['--port', '1'])).code, 2);
  });
});
