'use strict';

/** The options of createAudiences(): what they may be, and that they are the same everywhere. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it } = require('node:test');

const { createAudiences } = require('../../lib/audiences.js');
const { resolveOptions } = require('../../lib/audiences/options.js');

const ROOT = path.join(__dirname, '..', '..');
const KEYS = { apiKey: 'an-api-key', secretKey: 'a-secret-key' };
const DAY = 24 * 60 * 60 * 1000;
const COHORTS = { amplitude_power_user: '7khm89cz' };
const VALID = { ...KEYS, cohorts: COHORTS };

const read = (file) => fs.readFileSync(path.join(ROOT, file), 'utf8');
const resolve = (options, env = {}) => resolveOptions({ ...VALID, ...options }, env);

describe('options that are left out', () => {
  it('have defaults', () => {
    assert.deepEqual(resolve({}), {
      ...KEYS,
      cohorts: [{ attribute: 'amplitude_power_user', id: '7khm89cz' }],
      source: 'amplitude',
      serverZone: 'US',
      serverUrl: 'https://cohort-v2.lab.amplitude.com',
      pollIntervalMillis: 60_000,
      staleAfterMillis: 3 * 60 * 60 * 1000,
      maxStaleMillis: null,
      maxMembers: 50_000_000,
      holdShrink: 1,
      snapshot: null,
      store: null,
      onChange: null,
      proxy: null,
      noProxy: null,
      caFile: null,
      logger: null,
      loggerProvider: null,
      logLevel: null,
      warnings: [],
    });
  });

  it('come from the environment, where a dispatcher takes them from it', () => {
    const env = { https_proxy: 'http://proxy.example:3128', no_proxy: 'localhost' };
    const { proxy, noProxy } = resolve({}, env);
    assert.deepEqual([proxy, noProxy], ['http://proxy.example:3128/', 'localhost']);
    assert.equal(resolve({ serverUrl: 'http://proxy.internal' }, env).proxy, null);
  });
});

describe('options that are given', () => {
  it('are taken', () => {
    const onChange = () => {};
    const options = resolve({
      serverZone: 'EU',
      pollIntervalMillis: 120_000,
      staleAfterMillis: 200_000,
      maxStaleMillis: 300_000,
      maxMembers: 7,
      snapshot: { directory: 'data' },
      onChange,
    });
    assert.equal(options.serverUrl, 'https://cohort-v2.lab.eu.amplitude.com');
    assert.equal(options.pollIntervalMillis, 120_000);
    assert.equal(options.onChange, onChange);
    assert.deepEqual(options.snapshot, { directory: path.resolve('data') });
    assert.equal(Object.isFrozen(options) && Object.isFrozen(options.cohorts), true);
    for (const [given, share] of [
      [true, 0.5],
      [false, 1],
      [0.1, 0.1],
    ]) {
      assert.equal(resolve({ holdShrink: given }).holdShrink, share);
    }
    const rare = resolve({ source: 'behavioral', serverZone: 'EU' });
    assert.equal(rare.serverUrl, 'https://analytics.eu.amplitude.com');
    assert.deepEqual([rare.pollIntervalMillis, rare.staleAfterMillis], [DAY, 3 * DAY]);
    const cohorts = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`a${i}`, `c${i}`]));
    const many = resolve({ source: 'behavioral', cohorts });
    assert.deepEqual([many.pollIntervalMillis, many.staleAfterMillis], [1.25 * DAY, 3.75 * DAY]);
    const [{ format, exports, id }] = resolve({
      source: 'file',
      cohorts: { power: 'data/*_7khm89cz_*.csv.gz' },
    }).cohorts;
    assert.deepEqual(
      [format, exports],
      ['csv', { directory: path.resolve('data'), cohortId: '7khm89cz' }],
    );
    assert.equal(id, path.resolve('data/*_7khm89cz_*.csv.gz'));
    for (const url of ['http://localhost:3546', 'http://localhost:3546/']) {
      assert.equal(resolve({ serverUrl: url }).serverUrl, 'http://localhost:3546');
    }
    assert.equal(
      resolve({ serverUrl: 'https://a.example/b/c/' }).serverUrl,
      'https://a.example/b/c',
    );
    assert.equal(
      resolve({ serverUrl: 'http://localhost:3546', pollIntervalMillis: 5 }).pollIntervalMillis,
      5,
    );
  });

  it('may be a store, as a client or a function', () => {
    const client = { call: async () => null };
    const send = async () => null;
    assert.deepEqual(resolve({ store: client }).store, { client, send: null, prefix: 'oa' });
    assert.deepEqual(resolve({ store: { client, prefix: 'mine' } }).store.prefix, 'mine');
    assert.equal(resolve({ store: send }).store.send, send);
  });

  it('may be files', () => {
    const { cohorts, serverUrl } = resolveOptions(
      { source: 'file', cohorts: { a: '/data/a.csv.gz', b: 'b.json', c: 'c.d/c.txt' } },
      {},
    );
    assert.equal(serverUrl, null);
    assert.deepEqual(cohorts, [
      { attribute: 'a', id: '/data/a.csv.gz', format: 'csv' },
      { attribute: 'b', id: path.resolve('b.json'), format: 'json' },
      { attribute: 'c', id: path.resolve('c.d/c.txt'), format: 'lines' },
    ]);
  });
});

describe('a wrong option', () => {
  const many = Object.fromEntries(
    Array.from({ length: 101 }, (_, index) => [`a${index}`, `c${index}`]),
  );
  for (const [options, message] of [
    [{ cohorts: undefined }, /^option 'cohorts': expected an object \{ attribute: cohort \}/],
    [{ cohorts: {} }, /^option 'cohorts': expected/],
    [{ cohorts: ['7khm89cz'] }, /got an array of 1$/],
    [{ cohorts: { a: 5 } }, /got 5 \(a number\) for 'a'$/],
    [{ cohorts: { a: 'x y' } }, /expected the id of a cohort for 'a', .* got "x y"/],
    [{ cohorts: { a: '' } }, /expected the id of a cohort for 'a'/],
    [{ cohorts: { a: 'same', b: 'same' } }, /got the same for 'a' and 'b'$/],
    [
      { source: 'file', cohorts: { a: '/data/a.csv', b: '/data/x/../a.csv' } },
      /got the same for 'a' and 'b'$/,
    ],
    [{ cohorts: { ['__proto__']: 'x' } }, /^option 'cohorts': expected keys of attributes/],
    [{ cohorts: { $opt_bot: 'x' } }, /keys of attributes of Optimizely .* got "\$opt_bot"/],
    [{ cohorts: { '': 'x' } }, /keys of attributes/],
    [{ cohorts: many }, /at most 100 attributes, got 101 of them$/],
    [{ apiKey: undefined }, /^option 'apiKey': .*is its environment variable set\?$/],
    [{ secretKey: undefined }, /^option 'secretKey': .*is its environment variable set\?$/],
    [{ secretKey: 'se cret' }, /^option 'secretKey': .* with spaces/],
    [{ serverZone: 'DE' }, /^option 'serverZone': expected one of 'US', 'EU'/],
    [{ serverUrl: 'ftp://a.example' }, /^option 'serverUrl': expected the http or https URL/],
    [{ serverUrl: 'https://u:secret@a.example' }, /without user name, password and query/],
    [{ serverUrl: 'https://a.example?key=secret' }, /without user name, password and query/],
    [{ source: 'redis' }, /^option 'source': expected one of 'amplitude', 'behavioral', 'file'/],
    [{ pollIntervalMillis: 59_999 }, /at least 60000 on Amplitude's own hosts, got 59999$/],
    [
      { source: 'behavioral', pollIntervalMillis: 60_000 },
      /at least 5400000 on Amplitude's own hosts, 90 minutes for each cohort, got 60000$/,
    ],
    [
      { source: 'file', cohorts: { a: '/data/*_*_*' } },
      /or that of exports in a directory, such as/,
    ],
    [{ staleAfterMillis: 60_000 }, /^option 'staleAfterMillis': expected more than pollInterval/],
    [{ maxStaleMillis: 1 }, /^option 'maxStaleMillis': expected more than pollIntervalMillis/],
    [{ maxMembers: 0 }, /^option 'maxMembers'/],
    [{ holdShrink: 1 }, /^option 'holdShrink': expected true, false, or a share/],
    [{ holdShrink: 'half' }, /^option 'holdShrink'/],
    [{ snapshot: '/data' }, /^option 'snapshot': expected an object \{ directory \}/],
    [{ snapshot: {} }, /^option 'snapshot\.directory': expected the path of a directory/],
    [{ snapshot: { folder: '/data' } }, /^unknown option 'snapshot\.folder'/],
    [{ store: {} }, /^option 'store': expected an object with the application's client/],
    [{ store: { client: {} } }, /^option 'store\.client': expected a client of redis, ioredis/],
    [{ store: { send() {}, buckets: 4 } }, /^unknown option 'store\.buckets'/],
    [{ store: { send() {}, prefix: 'a b' } }, /^option 'store\.prefix': expected 1 to 64 letters/],
    [
      { source: 'file', cohorts: { a: 'a.csv' }, secretKey: undefined, store() {} },
      /^option 'secretKey': expected a text that all processes share/,
    ],
    [{ onChange: {} }, /^option 'onChange': expected a function/],
    [{ logger: {} }, /^option 'logger'/],
    [{ proxy: 'ftp://x' }, /^option 'proxy'/],
    [{ caFile: '/no/such/file' }, /^option 'caFile'/],
    [{ cohort: COHORTS }, /^unknown option 'cohort': did you mean 'cohorts'\?$/],
    [{ flushQueueSize: 5 }, /^unknown option 'flushQueueSize'/],
    [
      { source: 'file', cohorts: { a: 'members' } },
      /path of a file for 'a' that ends with '\.json'/,
    ],
  ]) {
    it(`(${JSON.stringify(options).slice(0, 60)}) is named`, () => {
      assert.throws(
        () => resolve(options),
        (error) => {
          assert.equal(error.name, 'TypeError');
          assert.equal(error.code, 'ERR_OA_OPTION');
          assert.match(error.message, message);
          assert.ok(!error.message.includes('secret@') && !error.message.includes('=secret'));
          assert.ok(!error.message.includes(KEYS.secretKey));
          return true;
        },
      );
    });
  }

  it('may be all of them', () => {
    for (const options of [undefined, null, 'a-secret-key', []]) {
      assert.throws(() => createAudiences(options), {
        code: 'ERR_OA_OPTION',
        message: /createAudiences\(\) expects its options/,
      });
    }
  });
});

describe('the options', () => {
  const names = Object.keys(resolve({}))
    .filter((name) => name !== 'warnings')
    .sort();

  it('are those of the declarations', () => {
    const [, body] = /^export interface AudiencesOptions\b[^{]*\{\n(.*?)^\}/ms.exec(
      read('lib/audiences.d.ts'),
    );
    assert.deepEqual([...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, name]) => name).sort(), names);
  });

  it('are those of the page', () => {
    const [table] = /^\| `cohorts` .*\n(?:\|.*\n)*/m.exec(read('docs/audiences.md'));
    const listed = table
      .trimEnd()
      .split('\n')
      .flatMap((row) => [...row.split('|')[1].matchAll(/`(\w+)`/g)].map(([, name]) => name));
    assert.deepEqual(listed.sort(), names);
  });

  it('have states that the page and the declarations explain', () => {
    const [, union] = /^export type CohortState = (.*);$/m.exec(read('lib/audiences.d.ts'));
    const states = union.match(/\w+/g);
    for (const state of states) {
      assert.match(read('docs/audiences.md'), new RegExp(`^\\| \`${state}\` `, 'm'));
    }
    const { Cohort } = require('../../lib/audiences/cohort.js');
    assert.ok(states.includes(new Cohort({ attribute: 'a', id: 'b' }, 0, {}).stateAt(0)));
  });
});
