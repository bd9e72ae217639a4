'use strict';

/** Tests of the stand-in for Amplitude: each fault does what its description says. */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const tls = require('node:tls');
const zlib = require('node:zlib');
const { certificates } = require('../support/network/certificates.js');
const { faults, startAmplitude } = require('../support/amplitude/server.js');
const { request } = require('../support/network/request.js');

let inserted = 0;
const event = (user, fields) => ({
  event_type: 'Seen',
  user_id: user,
  insert_id: `id-${++inserted}`,
  ...fields,
});
const upload = (...users) => ({ api_key: 'key', events: users.map((user) => event(user)) });

async function start(t, options) {
  const amplitude = await startAmplitude(options);
  t.after(() => amplitude.close());
  return amplitude;
}

/** Post under a fault for one request, then without; return the answer or the error, and the stored events. */
async function failOnce(t, fault, body = upload('user_a', 'user_b', 'user_c')) {
  const amplitude = await start(t);
  amplitude.setFault(fault, 1);
  const answer = await request(amplitude.httpapi, { body }).catch((error) => ({ error }));
  const stored = amplitude.store.events().length;
  assert.equal((await request(amplitude.httpapi, { body: upload('user_z') })).status, 200);
  return { ...answer, stored, record: amplitude.requests[0] };
}

describe('a fault that is an answer', () => {
  const cases = {
    unavailable: { status: 503, json: { code: 503, error: 'Service Unavailable' } },
    status: { status: 500, json: { code: 500, error: 'Internal Server Error' } },
    badGatewayPage: { status: 502, type: 'text/html' },
    forbiddenPage: { status: 403, type: 'text/html' },
    forbidden: { status: 403, json: { code: 403, error: 'Forbidden' } },
    notFound: { status: 404, json: { code: 404, error: 'Invalid request path' } },
    requestTimeout: { status: 408, json: { code: 408, error: 'Request Timeout' } },
    invalidApiKey: { status: 400, json: { code: 400, error: 'Invalid API key: this one' } },
    rateLimited: { status: 429, json: { code: 429, error: 'Too many requests' } },
    tooManyBytes: { status: 413, json: { code: 413, error: 'Payload too large' } },
    tooManyEvents: { status: 413, json: { code: 413, error: 'Payload too large' } },
    emptyBody: { status: 200, text: '' },
    rubbish: { status: 200, json: undefined },
    htmlPage: { status: 200, type: 'text/html' },
    errorAfterAccepting: { status: 500, stored: 3 },
  };
  for (const [name, { status, type = 'application/json', stored = 0, ...rest }] of Object.entries(
    cases,
  )) {
    it(name, async (t) => {
      const answer = await failOnce(t, name);
      assert.equal(answer.status, status);
      assert.equal(answer.record.status, status);
      assert.equal(answer.headers['content-type'], type);
      assert.equal(answer.stored, stored);
      for (const key of Object.keys(rest)) {
        assert.deepEqual(answer[key], rest[key]);
      }
    });
  }

  it('redirect', async (t) => {
    const { status, headers } = await failOnce(
      t,
      faults.redirect('http://127.0.0.1:1/elsewhere', 307),
    );
    assert.equal(status, 307);
    assert.equal(headers.location, 'http://127.0.0.1:1/elsewhere');
  });

  it('retryAfter', async (t) => {
    assert.equal((await failOnce(t, faults.retryAfter(7))).headers['retry-after'], '7');
    const { status, headers } = await failOnce(t, faults.retryAfter(new Date(784111777000), 429));
    assert.equal(status, 429);
    assert.equal(headers['retry-after'], 'Sun, 06 Nov 1994 08:49:37 GMT');
  });

  it('answer, with anything', async (t) => {
    const { status, text } = await failOnce(t, faults.answer({ status: 418, body: 'tea' }));
    assert.deepEqual([status, text], [418, 'tea']);
  });
});

describe('a fault that is about some events', () => {
  const listed = (answer) => {
    const { code, ...rest } = answer.json;
    assert.equal(code, answer.status);
    delete rest.error;
    return rest;
  };
  const devices = () => ({
    api_key: 'key',
    events: ['device_a', 'device_b', 'device_b'].map((device) =>
      event('user_a', { device_id: device }),
    ),
  });

  it('throttles', async (t) => {
    assert.deepEqual(listed(await failOnce(t, faults.throttledUsers('user_b'))), {
      eps_threshold: 30,
      throttled_devices: {},
      throttled_users: { user_b: 31 },
      throttled_events: [1],
    });
    assert.deepEqual(
      listed(
        await failOnce(
          t,
          faults.throttledUsers(['user_c'], { listEvents: false, threshold: 1000 }),
        ),
      ),
      { eps_threshold: 1000, throttled_devices: {}, throttled_users: { user_c: 1001 } },
    );
    assert.deepEqual(
      listed(
        await failOnce(
          t,
          faults.throttledEvents((user) => user !== 'user_b'),
        ),
      ),
      { eps_threshold: 30, throttled_devices: {}, throttled_users: {}, throttled_events: [0, 2] },
    );
    assert.deepEqual(listed(await failOnce(t, faults.throttledDevices('device_b'), devices())), {
      eps_threshold: 30,
      throttled_devices: { device_b: 31 },
      throttled_users: {},
      throttled_events: [1, 2],
    });
  });

  it('refuses users over the daily quota', async (t) => {
    assert.deepEqual(listed(await failOnce(t, faults.dailyQuotaUsers(new Set(['user_a'])))), {
      eps_threshold: 500_000,
      throttled_devices: {},
      throttled_users: {},
      exceeded_daily_quota_users: { user_a: 500_001 },
      throttled_events: [0],
    });
    assert.deepEqual(
      listed(await failOnce(t, faults.dailyQuotaDevices('device_a'), devices()))
        .exceeded_daily_quota_devices,
      { device_a: 500_001 },
    );
  });

  it('rejects', async (t) => {
    const users = ['user_a', 'user_c'];
    const rejected = async (options) =>
      listed(await failOnce(t, faults.rejectUsers(users, options)));
    assert.deepEqual(await rejected(), { events_with_invalid_fields: { user_id: [0, 2] } });
    assert.deepEqual(await rejected({ list: 'first', field: 'time' }), {
      events_with_invalid_fields: { time: [0] },
    });
    assert.deepEqual(await rejected({ list: 'none' }), {});
    assert.deepEqual(await rejected({ map: 'events_with_missing_fields' }), {
      events_with_missing_fields: { user_id: [0, 2] },
    });
    assert.deepEqual(
      listed(await failOnce(t, faults.silencedDevices('device_b'), devices())).silenced_events,
      [1, 2],
    );
  });

  it('leaves requests without these events alone', async (t) => {
    for (const name of [
      'throttledUsers',
      'throttledEvents',
      'dailyQuotaUsers',
      'rejectUsers',
      'silencedDevices',
    ]) {
      const { status, stored } = await failOnce(t, faults[name]('somebody'));
      assert.deepEqual([status, stored], [200, 3]);
    }
  });

  it('limits the size of requests', async (t) => {
    const compressed = {
      body: zlib.gzipSync(JSON.stringify(upload('user_a'))),
      headers: { 'Content-Encoding': 'gzip' },
    };
    const { length } = JSON.stringify(upload('user_a'));
    const amplitude = await start(t);
    const statusWith = async (fault, options) => {
      amplitude.setFault(fault);
      return (await request(amplitude.batch, options)).status;
    };
    assert.equal(await statusWith(faults.tooManyBytes(length - 1), compressed), 413);
    assert.equal(await statusWith(faults.tooManyBytes(length), compressed), 200);
    assert.equal(
      await statusWith(faults.tooManyEvents(1), { body: upload('user_a', 'user_b') }),
      413,
    );
    assert.equal(
      await statusWith(faults.tooManyEvents(2), { body: upload('user_a', 'user_b') }),
      200,
    );
  });
});

describe('a fault of the connection', () => {
  it('resets it, with or without accepting', async (t) => {
    const before = await failOnce(t, 'resetBeforeAccepting');
    assert.deepEqual(
      [before.error.code, before.stored, before.record.status],
      ['ECONNRESET', 0, null],
    );
    assert.ok(before.record.rawBytes.length > 0);
    const after = await failOnce(t, 'resetAfterAccepting');
    assert.deepEqual(
      [after.error.code, after.stored, after.record.status],
      ['ECONNRESET', 3, null],
    );
    const early = await failOnce(t, 'resetBeforeReading');
    assert.ok(early.error);
    assert.deepEqual([early.stored, early.record.rawBytes, early.record.complete], [0, null, true]);
  });

  it('breaks the answer', async (t) => {
    for (const name of ['truncated', 'truncatedChunked']) {
      const { error, stored, record } = await failOnce(t, name);
      assert.deepEqual([error.code, stored, record.status], ['ECONNRESET', 3, 200]);
    }
    assert.equal((await failOnce(t, 'notHttp')).error.code, 'HPE_INVALID_CONSTANT');
    for (const wrong of [-10, 'many']) {
      assert.match((await failOnce(t, faults.wrongContentLength(wrong))).error.code, /^HPE_/);
    }
  });

  it('promises more than it sends', async (t) => {
    const amplitude = await start(t, { faults: faults.wrongContentLength(10) });
    const controller = new AbortController();
    const answer = request(amplitude.httpapi, {
      body: upload('user_a'),
      signal: controller.signal,
    });
    await amplitude.waitFor(({ store }) => store.events().length === 1);
    controller.abort();
    await assert.rejects(answer, { name: 'AbortError' });
  });

  it('sends byte by byte', async (t) => {
    const { status, json, stored } = await failOnce(t, 'byteByByte');
    assert.deepEqual([status, json.events_ingested, stored], [200, 3, 3]);
  });

  it('never answers', async (t) => {
    const amplitude = await start(t, { faults: 'silence' });
    const controller = new AbortController();
    const answer = request(amplitude.httpapi, {
      body: upload('user_a'),
      signal: controller.signal,
    });
    const silent = await amplitude.nextRequest();
    assert.deepEqual(
      [silent.status, silent.answeredAt, silent.body.events[0].user_id],
      [null, null, 'user_a'],
    );
    controller.abort();
    await assert.rejects(answer, { name: 'AbortError' });
    assert.equal(amplitude.store.events().length, 0);
  });

  it('holds the answer until it is released', async (t) => {
    const held = faults.held();
    const amplitude = await start(t, { faults: held });
    const answers = [1, 2].map(() => request(amplitude.httpapi, { body: upload('user_a') }));
    await amplitude.nextRequest();
    await amplitude.nextRequest();
    assert.equal(held.waiting, 2);
    assert.equal(amplitude.store.events().length, 0);
    held.release();
    assert.deepEqual(
      (await Promise.all(answers)).map(({ status }) => status),
      [200, 200],
    );
  });

  it('delays the answer', async (t) => {
    assert.equal((await failOnce(t, faults.delayed(1))).stored, 3);
  });

  it('sends interim answers first', async (t) => {
    const { status, interim, stored } = await failOnce(t, 'interim');
    assert.deepEqual([status, interim, stored], [200, [100, 103], 3]);
  });

  it('answers before the body was read', async (t) => {
    const amplitude = await start(t, { faults: faults.earlyAnswer(413) });
    const req = http.request(amplitude.httpapi, {
      method: 'POST',
      headers: { 'Content-Length': 1000 },
    });
    req.on('error', () => {});
    req.flushHeaders();
    const [res] = await once(req, 'response');
    assert.deepEqual([res.statusCode, res.headers.connection], [413, 'close']);
    req.destroy();
  });

  it('closes it after the answer, without a warning', async (t) => {
    const amplitude = await start(t, { faults: 'closeAfterAnswer' });
    const socket = net.connect(new URL(amplitude.url).port, '127.0.0.1');
    const body = JSON.stringify(upload('user_a'));
    socket.write(
      'POST /batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n' +
        `Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    const chunks = [];
    for await (const chunk of socket) {
      chunks.push(chunk);
    }
    const answer = Buffer.concat(chunks).toString();
    assert.match(answer, /^HTTP\/1.1 200 OK\r\n.*Connection: keep-alive.*"events_ingested":1/is);
  });
});

describe('the stand-in', () => {
  it('records requests as they were sent', async (t) => {
    const amplitude = await start(t);
    const agent = new http.Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const body = { api_key: 'key', events: [event('abc', { device_id: 'device_1' })] };
    const raw = zlib.gzipSync(JSON.stringify(body));
    await request(`${amplitude.batch}?a=b`, {
      body: raw,
      agent,
      headers: { 'Content-Encoding': 'gzip', 'X-Test': '1' },
    });
    await request(amplitude.httpapi, { body: '{', agent });
    await request(amplitude.httpapi, { body });
    const [first, second, third] = amplitude.requests;
    assert.deepEqual(
      [first.method, first.url, first.headers['x-test'], first.status],
      ['POST', '/batch?a=b', '1', 200],
    );
    assert.deepEqual(first.rawBytes, raw);
    assert.deepEqual(first.body, body);
    assert.ok(first.answeredAt >= first.receivedAt);
    assert.deepEqual([second.status, second.body], [400, undefined]);
    assert.equal(first.socketId, second.socketId);
    assert.notEqual(first.socketId, third.socketId);
    assert.equal(amplitude.connections, 2);
  });

  it('fails as often as configured, and only for uploads', async (t) => {
    const amplitude = await start(t, { faults: ['unavailable', 'ok', faults.status(500)] });
    const post = async () => (await request(amplitude.httpapi, { body: upload('user_a') })).status;
    assert.equal((await request(`${amplitude.url}/stats`)).status, 200);
    assert.deepEqual(
      [await post(), await post(), await post(), await post()],
      [503, 200, 500, 200],
    );
    amplitude.setFault('rateLimited', 2);
    assert.deepEqual([await post(), await post(), await post()], [429, 429, 200]);
    amplitude.setFault('forbidden');
    assert.deepEqual([await post(), await post()], [403, 403]);
    amplitude.setFault(null);
    assert.equal(await post(), 200);
    assert.throws(() => amplitude.setFault('unheardOf'), /unknown fault 'unheardOf'/);
  });

  it('waits for what happens', async (t) => {
    const amplitude = await start(t);
    const both = amplitude.waitFor(
      ({ requests }) => requests.length === 2 && requests.map(({ status }) => status),
    );
    const next = amplitude.nextRequest();
    await request(amplitude.httpapi, { body: upload('user_a') });
    await request(amplitude.httpapi, { body: upload('user_b') });
    assert.equal((await next).body.events[0].user_id, 'user_a');
    assert.equal((await amplitude.nextRequest()).body.events[0].user_id, 'user_b');
    assert.deepEqual((await both).length, 2);
    await assert.rejects(
      amplitude.waitFor(() => false, { timeoutMillis: 1 }),
      /timed out .*; 2 requests: 200 200/,
    );
    await assert.rejects(
      amplitude.waitFor(() => {
        throw new Error('mine');
      }),
      /mine/,
    );
  });

  it('restarts on the same port with the same store', async (t) => {
    const amplitude = await start(t, { faults: 'silence' });
    const { url } = amplitude;
    const silent = request(amplitude.httpapi, { body: upload('user_a') });
    await Promise.all([
      amplitude.nextRequest().then(() => amplitude.stop()),
      assert.rejects(silent, { code: 'ECONNRESET' }),
    ]);
    await assert.rejects(request(amplitude.httpapi, { body: upload('user_a') }), {
      code: 'ECONNREFUSED',
    });
    await amplitude.start();
    amplitude.setFault(null);
    assert.equal(amplitude.url, url);
    await request(amplitude.httpapi, { body: upload('user_a') });
    await amplitude.stop();
    await amplitude.start();
    assert.equal(amplitude.store.user('user_a').events.length, 1);
  });

  it('reports a fault that throws', async () => {
    const amplitude = await startAmplitude({
      faults: () => {
        throw new Error('a defect of the test');
      },
    });
    assert.equal((await request(amplitude.httpapi, { body: upload('user_a') })).status, 500);
    await assert.rejects(amplitude.close(), /a defect of the test/);
  });
});

describe('TLS', () => {
  it('works with the CA', async (t) => {
    const amplitude = await start(t, { tls: true });
    const ca = fs.readFileSync(amplitude.caFile);
    assert.match(amplitude.httpapi, /^https:/);
    for (const host of ['127.0.0.1', 'localhost']) {
      const answer = await request(amplitude.httpapi.replace('127.0.0.1', host), {
        body: upload('user_a'),
        ca,
        family: 4,
      });
      assert.equal(answer.status, 200);
    }
    amplitude.setFault('resetAfterAccepting', 1);
    await assert.rejects(request(amplitude.httpapi, { body: upload('user_a'), ca }), {
      code: 'ECONNRESET',
    });
    await assert.rejects(request(amplitude.httpapi, { body: upload('user_a') }), /certificate/);
  });

  const codes = {
    expired: 'CERT_HAS_EXPIRED',
    wrongHost: 'ERR_TLS_CERT_ALTNAME_INVALID',
    untrusted: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  };
  for (const [kind, code] of Object.entries(codes)) {
    it(`has a certificate that is ${kind}`, async (t) => {
      const amplitude = await start(t, { tls: kind });
      const ca = fs.readFileSync(amplitude.caFile);
      await assert.rejects(request(amplitude.httpapi, { body: upload('user_a'), ca }), { code });
      await amplitude.waitFor(({ connections }) => connections === 1);
      assert.equal(amplitude.requests.length, 0);
    });
  }

  it('takes options of its own', async (t) => {
    assert.equal(certificates(), certificates());
    const amplitude = await start(t, { tls: { ...certificates().good, maxVersion: 'TLSv1.2' } });
    const socket = tls.connect({
      port: new URL(amplitude.url).port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
    });
    await once(socket, 'secureConnect');
    assert.equal(socket.getProtocol(), 'TLSv1.2');
    socket.destroy();
  });
});
