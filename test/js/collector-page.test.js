'use strict';

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const zlib = require('node:zlib');
const { createCollector } = require('../../lib/cli/collector/index.js');
const { parseForward } = require('../../lib/cli/collector/forward.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { request } = require('../support/network/request.js');

const HOSTILE = '<script>alert(1)</script>"\'&\u2028';
const BROWSER = { Accept: 'text/html,application/xhtml+xml' };

let inserted = 0;
const event = (fields) => ({
  event_type: 'Seen',
  user_id: 'user_1',
  insert_id: `id-${++inserted}`,
  time: 1,
  ...fields,
});
const exposure = (user, flag, variation, fields) =>
  event({
    event_type: 'Experiment Viewed',
    user_id: user,
    event_properties: { flag_key: flag, variation_key: variation, rule_key: 'rule', enabled: true },
    ...fields,
  });
const identify = (user, flag, value) =>
  event({
    event_type: '$identify',
    user_id: user,
    user_properties: { $set: { [`[Optimizely] ${flag}`]: value } },
  });

async function start(t, options) {
  const collector = createCollector(options);
  await collector.listen();
  t.after(() => collector.close());
  const { url } = collector;
  return {
    collector,
    url,
    get: (target, headers) => request(url + target, { headers }),
    post: (events, headers, target = '/2/httpapi') =>
      request(url + target, { body: { api_key: 'key', events }, headers }),
    put: (mode, headers) => request(`${url}/api/mode`, { method: 'PUT', body: mode, headers }),
  };
}

/** Open the stream; next() resolves to the next message, {name, data}. */
async function listen(t, url) {
  const req = http.get(`${url}/api/stream`, { agent: false });
  t.after(() => req.destroy());
  const res = await new Promise((resolve) => {
    req.on('response', resolve);
  });
  async function* messages() {
    let text = '';
    for await (const chunk of res.setEncoding('utf8')) {
      text += chunk;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const [, name, data] = /^event: (\w+)\ndata: (.*)$/s.exec(text.slice(0, end)) ?? [];
        text = text.slice(end + 2);
        yield { name, data: data && JSON.parse(data) };
      }
    }
  }
  const iterator = messages();
  return { res, next: async () => (await iterator.next()).value };
}

describe('the page', () => {
  it('is for browsers; others get JSON', async (t) => {
    const { get } = await start(t);
    const page = await get('/', BROWSER);
    assert.match(page.headers['content-type'], /^text\/html/);
    assert.match(page.text, /<title>Collector/);
    assert.match((await get('/')).headers['content-type'], /^application\/json/);
  });

  it('loads nothing from elsewhere, and nothing inline', async (t) => {
    const { get } = await start(t);
    const { text, headers } = await get('/', BROWSER);
    assert.match(
      headers['content-security-policy'],
      /^default-src 'none'; script-src 'self'; style-src 'self'/,
    );
    assert.doesNotMatch(headers['content-security-policy'], /unsafe|\*|data:/);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.doesNotMatch(text, /https?:\/\/|<script>|<style|\son\w+=|style=/);
    for (const [, file] of text.matchAll(/(?:src|href)="(\/[^"]+)"/g)) {
      assert.equal((await get(file)).status, 200, file);
    }
  });

  it('serves its own files alone', async (t) => {
    const { get } = await start(t);
    for (const target of [
      '/page/',
      '/page/../index.js',
      '/page/%2e%2e/index.js',
      '/page/..%2findex.js',
      '/page/nothing.mjs',
      '/page/index.html/',
    ]) {
      assert.equal((await get(target)).status, 404, target);
    }
  });

  it('is small', async (t) => {
    const { get } = await start(t);
    const files = fs.readdirSync(path.join(__dirname, '../../lib/cli/collector/page'));
    let bytes = 0;
    for (const file of files) {
      bytes += (await get(`/page/${file}`)).text.length;
    }
    assert.ok(bytes < 120_000, `${bytes} bytes`);
  });

  it('writes numbers with the digits that tell them apart', async () => {
    const { mean, sum, tick } = await import(
      path.join(__dirname, '../../lib/cli/collector/page/format.mjs')
    );
    assert.deepEqual(
      [mean(0), mean(0.4), mean(0.0034), mean(1234.5)],
      ['0.00', '0.40', '0.0034', '1,235'],
    );
    assert.deepEqual([sum(442), sum(442.5), sum(12_345)], ['442', '442.50', '12,345']);
    const times = [0, 100, 200].map((millis) => tick(1_795_739_186_000 + millis, 200));
    assert.equal(new Set(times).size, 3, String(times));
  });

  it('makes CSV that no spreadsheet runs', async () => {
    const { csv, bytes, percent } = await import(
      path.join(__dirname, '../../lib/cli/collector/page/format.mjs')
    );
    assert.equal(
      csv([
        ['a', 'b,"c"'],
        ['=1+1', 2],
        ['-x', -3],
      ]),
      'a,"b,""c"""\r\n\'=1+1,2\r\n\'-x,-3\r\n',
    );
    assert.deepEqual([bytes(999), bytes(1500), bytes(2e6)], ['999 B', '1.5 kB', '2.0 MB']);
    assert.deepEqual([percent(1, 3), percent(1, 0)], ['33.3%', '–']);
  });
});

describe('access', () => {
  it('is refused under another name of loopback', async (t) => {
    const { get, url } = await start(t);
    const { port } = new URL(url);
    for (const host of [
      `localhost:${port}`,
      `127.0.0.1:${port}`,
      `[::1]:${port}`,
      `127.1.2.3:${port}`,
      `app.localhost:${port}`,
    ]) {
      assert.equal((await get('/stats', { Host: host })).status, 200, host);
    }
    for (const host of [
      'evil.example',
      `evil.example:${port}`,
      '127.0.0.1.evil.example',
      'localhost.evil.example',
      '10.0.0.1',
      '@',
    ]) {
      for (const target of [
        '/',
        '/stats',
        '/events',
        '/users/user_1',
        '/api/stream',
        '/api/summary',
        '/page/app.mjs',
      ]) {
        assert.equal((await get(target, { Host: host })).status, 403, host);
      }
    }
  });

  it('takes addresses, the name of the machine and allowed names beyond loopback', async (t) => {
    const collector = createCollector({ allowHosts: ['Collector'] });
    const { port } = await collector.listen(0, '0.0.0.0');
    t.after(() => collector.close());
    const ask = (host) =>
      request(`http://127.0.0.1:${port}/stats`, { headers: { Host: host } }).then(
        ({ status }) => status,
      );
    const known = [
      ...['192.168.1.7', '[fe80::1]', 'localhost', 'collector', 'COLLECTOR.'],
      ...[os.hostname(), `${os.hostname()}.local`],
    ];
    for (const host of known) {
      assert.equal(await ask(`${host}:${port}`), 200, host);
    }
    for (const host of ['rebound.example', '192.168.1.7.rebound.example', 'collector.example']) {
      assert.equal(await ask(`${host}:${port}`), 403, host);
    }
  });

  it('may be allowed for another name of loopback', async (t) => {
    const { get } = await start(t, { allowHosts: ['dev.example'] });
    assert.equal((await get('/stats', { Host: 'dev.example:1' })).status, 200);
    assert.equal((await get('/stats', { Host: '10.0.0.1' })).status, 403);
  });

  it('is refused to pages of another origin', async (t) => {
    const { get, put, url } = await start(t);
    assert.equal((await get('/events', { Origin: url })).status, 200);
    for (const origin of ['https://evil.example', 'http://localhost:1', 'null']) {
      const answer = await get('/events', { Origin: origin });
      assert.equal(answer.status, 403);
      assert.equal(answer.headers['access-control-allow-origin'], undefined);
      assert.equal((await put('503', { Origin: origin })).status, 403);
    }
    assert.equal(
      (
        await request(`${url}/api/mode`, {
          method: 'OPTIONS',
          headers: { Origin: 'https://evil.example' },
        })
      ).status,
      403,
    );
  });
});

describe('the browser SDK', () => {
  it('may send events from pages of this machine', async (t) => {
    const { post, url, collector } = await start(t);
    for (const origin of [
      'http://localhost:3000',
      'http://127.0.0.1:5173',
      'https://app.localhost',
      'http://[::1]:8080',
    ]) {
      const preflight = await request(`${url}/2/httpapi`, {
        method: 'OPTIONS',
        headers: {
          Origin: origin,
          'Access-Control-Request-Method': 'POST',
          'Access-Control-Request-Headers': 'content-type',
        },
      });
      assert.equal(preflight.status, 204);
      assert.equal(preflight.headers['access-control-allow-origin'], origin);
      assert.match(preflight.headers['access-control-allow-headers'], /Content-Type/);
      const answer = await post([event()], { Origin: origin });
      assert.deepEqual(
        [answer.status, answer.headers['access-control-allow-origin']],
        [200, origin],
      );
    }
    assert.equal(collector.store.stats().requests.total, 4, 'preflights are not counted');
  });

  it('may not from others, unless they are allowed', async (t) => {
    const { post, collector } = await start(t, { allowOrigins: ['https://shop.example'] });
    for (const origin of ['https://evil.example', 'http://localhost.evil.example', 'null']) {
      const answer = await post([event()], { Origin: origin });
      assert.deepEqual(
        [answer.status, answer.headers['access-control-allow-origin']],
        [403, undefined],
      );
    }
    assert.equal(collector.store.events().length, 0);
    assert.equal((await post([event()], { Origin: 'https://shop.example' })).status, 200);
  });

  it('may use a beacon, which is plain text', async (t) => {
    const { post, collector } = await start(t);
    assert.equal(
      (
        await post([event()], {
          Origin: 'http://localhost:3000',
          'Content-Type': 'text/plain;charset=UTF-8',
        })
      ).status,
      200,
    );
    assert.equal(collector.store.events().length, 1);
  });
});

describe('the stream', () => {
  it('begins with what there is, and goes on with what comes', async (t) => {
    const { post, url } = await start(t);
    await post([identify('user_1', 'flag', 'a'), exposure('user_1', 'flag', 'a'), event()]);
    const stream = await listen(t, url);
    assert.match(stream.res.headers['content-type'], /^text\/event-stream/);
    const { name, data } = await stream.next();
    assert.equal(name, 'start');
    assert.deepEqual(
      data.decisions.map(({ user, flag, variation, identify: update, event: viewed }) => [
        user,
        flag,
        variation,
        update.event_type,
        viewed.event_type,
      ]),
      [['user_1', 'flag', 'a', '$identify', 'Experiment Viewed']],
    );
    assert.equal(data.requests.length, 1);
    assert.deepEqual([data.state.mode, data.state.users, data.state.sums.events], ['normal', 1, 3]);

    await post([exposure(HOSTILE, HOSTILE, HOSTILE)]);
    const news = await stream.next();
    assert.equal(news.name, 'news');
    assert.deepEqual(
      news.data.decisions.map(({ user, flag, variation }) => [user, flag, variation]),
      [[HOSTILE, HOSTILE, HOSTILE]],
    );
    assert.equal(news.data.requests[0].events, 1);
  });

  it('sends the latest items of what is too much, in one message', async (t) => {
    const { post, url } = await start(t);
    const stream = await listen(t, url);
    await stream.next();
    await post(
      Array.from({ length: 2000 }, (item, n) => exposure(`user_${n}`, 'flag', 'a')),
      {},
      '/batch',
    );
    const { data } = await stream.next();
    assert.equal(data.decisions.length, 100);
    assert.equal(data.decisions.at(-1).user, 'user_1999');
    assert.equal(data.state.users, 2000);
  });

  it('leaves out events that are too large to be sent', async (t) => {
    const { post, url, get } = await start(t);
    const properties = Object.fromEntries(
      Array.from({ length: 60 }, (item, n) => [`p${n}`, 'x'.repeat(1000)]),
    );
    const large = exposure('user_1', 'flag', 'a');
    Object.assign(large.event_properties, properties);
    await post([large]);
    const { data } = await (await listen(t, url)).next();
    assert.deepEqual(
      data.decisions.map(({ user, event: told }) => [user, told]),
      [['user_1', null]],
    );
    assert.equal(
      (await get('/api/user?id=user_1')).json.items[0].event.event_properties.p0.length,
      1000,
    );
  });

  it('limits the number of clients, and forgets those that disconnect', async (t) => {
    const { url, get, collector } = await start(t);
    const streams = await Promise.all(Array.from({ length: 32 }, () => listen(t, url)));
    assert.ok(streams.every(({ res }) => res.statusCode === 200));
    assert.equal((await get('/api/stream')).status, 503);
    assert.equal(collector.store.listenerCount('event'), 1);
    const allGone = new Promise((resolve) => {
      collector.store.on('removeListener', (name) => name === 'event' && resolve());
    });
    streams.forEach(({ res }) => res.destroy());
    await allGone;
    assert.equal(collector.store.listenerCount('event'), 0);
  });
});

describe('what the page asks for', () => {
  it('is a user, with repeats and refusals', async (t) => {
    const { get, post } = await start(t);
    const one = exposure('user_1', 'flag', 'a');
    await post([identify('user_1', 'flag', 'a'), one]);
    await post([one]);
    await post([event({ time: 'yesterday' })]);
    const { json } = await get('/api/user?id=user_1');
    assert.deepEqual(json.properties, [['[Optimizely] flag', 'a']]);
    assert.deepEqual(
      json.items.map(({ outcome, reason }) => [outcome, reason]),
      [
        ['stored', null],
        ['stored', null],
        ['repeat', null],
        ['refused', 'time is not valid'],
      ],
    );
    assert.equal((await get('/api/user?id=nobody')).status, 404);
    await post([event({ user_id: 'abc' })]);
    assert.equal(
      (await get('/api/user?id=abc')).status,
      404,
      'the id was removed before the event was refused',
    );
  });

  it('is users by a part of their id', async (t) => {
    const { get, post } = await start(t);
    await post([
      event({ user_id: HOSTILE }),
      event({ user_id: 'user_2' }),
      event({ user_id: undefined, device_id: 'device_1' }),
    ]);
    const find = async (text) => (await get(`/api/users?q=${encodeURIComponent(text)}`)).json;
    const idsOf = ({ users }) => users.map(({ id }) => id);
    assert.deepEqual(idsOf(await find('')), ['device_1', 'user_2', HOSTILE], 'the last one first');
    assert.deepEqual(idsOf(await find('<script>')), [HOSTILE]);
    assert.equal((await find('')).total, 3);
    await post([event({ user_id: 'user_2', device_id: 'device_1', time: 7 })]);
    await post([identify('user_2', 'f', 'a')]);
    assert.deepEqual(await get('/api/users?q=device&flag=f').then(({ json }) => json), {
      users: [{ id: 'user_2', variation: 'a', lastSeen: 1, events: 4 }],
      total: 2,
    });
  });

  it('is an analysis', async (t) => {
    const { get, post } = await start(t);
    const ask = async () =>
      (
        await get(
          `/api/analysis?flag=${encodeURIComponent(HOSTILE)}&step=Experiment%20Viewed&step=Seen&days=1`,
        )
      ).json.rows;
    assert.deepEqual(await ask(), []);
    await post([identify('user_1', HOSTILE, 'a'), exposure('user_1', HOSTILE, 'a'), event()]);
    assert.deepEqual(
      (await ask()).map(({ variation, funnel }) => [variation, funnel]),
      [['a', [1, 1]]],
    );
    assert.deepEqual((await get('/api/summary')).json.flags, [
      {
        flag: HOSTILE,
        users: 1,
        rules: [{ rule: 'rule', variations: [{ variation: 'a', users: 1 }] }],
      },
    ]);
    for (const query of [
      '',
      '?days=1',
      '?flag=a&days=x',
      '?flag=a&days=-1',
      '?flag=a&from=2&to=1',
    ]) {
      assert.equal((await get(`/api/analysis${query}`)).status, 400, query);
    }
  });
});

describe('the switch', () => {
  it('makes requests fail, and not for good', async (t) => {
    const { post, put, collector } = await start(t);
    for (const mode of ['503', '429', '413']) {
      assert.deepEqual((await put(mode)).json, { mode });
      assert.equal((await post(Array.from({ length: 11 }, () => event()))).status, Number(mode));
    }
    assert.equal((await post([event()])).status, 200, '413 is for more than ten');
    await put('normal');
    assert.equal((await post([event()])).status, 200);
    assert.equal(collector.store.events().length, 2);
    for (const wrong of ['', '500', 'toString', 'x'.repeat(1000)]) {
      assert.equal((await put(wrong)).status, 400, wrong);
    }
  });

  it('makes the collector silent until it is switched back', async (t) => {
    const { post, put, collector } = await start(t);
    await put('silent');
    const ignored = assert.rejects(post([event()]), { code: 'ECONNRESET' });
    while (collector.store.stats().requests.total === 0) {
      await put('normal'); // cuts the connections that wait
      await put('silent');
    }
    await ignored;
    await put('normal');
    assert.equal((await post([event()])).status, 200);
  });
});

describe('forwarding', () => {
  it('passes requests on as they are, and the answers back', async (t) => {
    const amplitude = await startAmplitude({ apiKeys: ['key'] });
    t.after(() => amplitude.close());
    const { collector, url } = await start(t, { forward: amplitude.url });
    const raw = zlib.gzipSync(
      JSON.stringify({ api_key: 'key', events: [event(), identify('user_1', 'flag', 'a')] }),
    );
    const answer = await request(`${url}/batch?x=1`, {
      body: raw,
      headers: { 'Content-Encoding': 'gzip' },
    });
    assert.deepEqual([answer.status, answer.json.events_ingested], [200, 2]);
    const [forwarded] = amplitude.requests;
    assert.deepEqual(
      [forwarded.url, forwarded.headers['content-encoding'], forwarded.headers.host],
      ['/batch?x=1', 'gzip', new URL(amplitude.url).host],
    );
    assert.ok(forwarded.rawBytes.equals(raw));
    assert.equal(collector.store.user('user_1').user_properties['[Optimizely] flag'], 'a');
  });

  it('stores what Amplitude accepted, and reports what it refused', async (t) => {
    const amplitude = await startAmplitude({ apiKeys: ['key'] });
    t.after(() => amplitude.close());
    const { collector, post, url } = await start(t, { forward: amplitude.url });
    assert.deepEqual(
      (await request(`${url}/2/httpapi`, { body: { api_key: 'other', events: [event()] } })).json,
      { code: 400, error: 'Invalid API key: other' },
    );
    assert.equal((await post([event({ time: 'x' })])).status, 400);
    assert.deepEqual(
      collector.store.refusals().map(({ reason }) => reason),
      ['time is not valid'],
    );
    assert.equal(collector.store.events().length, 0);
    amplitude.setFault(amplitude.faults.retryAfter(7), 1);
    const later = await post([event()]);
    assert.deepEqual([later.status, later.headers['retry-after']], [503, '7']);
    await amplitude.stop();
    assert.equal((await post([event()])).status, 502);
  });

  it('knows the zones', () => {
    assert.equal(parseForward('us'), 'https://api2.amplitude.com');
    assert.equal(parseForward('EU'), 'https://api.eu.amplitude.com');
    assert.equal(parseForward('http://127.0.0.1:1/2/httpapi'), 'http://127.0.0.1:1');
    assert.equal(parseForward('https://x.example/amplitude/'), 'https://x.example/amplitude');
    assert.equal(parseForward('https://x.example/a/batch'), 'https://x.example/a');
    for (const wrong of ['', 'UK', 'ftp://x', 'https://user:password@x', 'https://x/?key=1']) {
      assert.equal(parseForward(wrong), null, wrong);
    }
  });
});

describe('memory', () => {
  it('is bounded by the size of what is kept', async (t) => {
    const { collector, post } = await start(t, { maxBytes: 100_000 });
    const big = () =>
      event({
        event_properties: Object.fromEntries(
          Array.from({ length: 40 }, (item, n) => [`p${n}`, 'x'.repeat(1000)]),
        ),
      });
    for (let i = 0; i < 5; i++) {
      assert.equal((await post([big()])).status, 200);
    }
    assert.equal(collector.store.events().length, 2);
    assert.equal(collector.store.user('user_1').events.length, 2);
    const same = big();
    await post([same]);
    await post([same]);
    assert.equal(
      collector.store.duplicates().length,
      0,
      'one that is larger than the whole bound is not kept',
    );
  });
});
