'use strict';

/** `optimizely-amplitude spool`: what processes left in a spool is shown, and delivered without an application. */

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, it } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');

const { addonFor } = require('../../lib/engine.js');
const { runDoctor } = require('../../lib/cli/doctor/index.js');
const { lookAt } = require('../../lib/cli/spool/look.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { runChild, startChild } = require('../support/process/child.js');
const { seededRandom } = require('../support/util/random.js');

const CLI = require.resolve('../../lib/cli/main.js');
const SPOOLER = require.resolve('../support/process/spooler.js');
const LEAVER = require.resolve('../support/process/leaver.js');
const API_KEY = 'spool-command-key-0123456789';
const OTHER_KEY = 'another-key-9876543210';
const MODES = { mapped: {}, copied: { OA_SPOOL_APPENDS: '1' } };
/** Nothing listens there. */
const DOWN = 'http://127.0.0.1:9/2/httpapi';

function makeDirectory(t, beforeRemoval = () => {}) {
  const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-spool-command-'));
  t.after(() => {
    beforeRemoval();
    fs.rmSync(parent, { recursive: true, force: true });
  });
  return path.join(parent, 'spool');
}

async function serve(t) {
  const amplitude = await startAmplitude();
  t.after(() => amplitude.close());
  return amplitude;
}

/** The events that a server has, by insert_id; fails when one came twice. */
function eventsOf(amplitude) {
  const events = amplitude.requests.flatMap(({ body }) => body.events);
  assert.equal(new Set(events.map((event) => event.insert_id)).size, events.length, 'sent once');
  return events;
}

const usersOf = (amplitude, type = 'Experiment Viewed') =>
  eventsOf(amplitude)
    .filter((event) => event.event_type === type)
    .map((event) => event.user_id)
    .sort();

const DECISIONS = [
  ['user_1', 'checkout', 'one_page', true],
  ['user_2', 'checkout', 'one_page', true],
  ['user_1', 'checkout', 'control', false],
  ['user_1', 'search', null, false],
];
const TRACKED = [
  ['Purchase', { amount: 5 }, { user_id: 'user_1' }],
  [{ event_type: '$identify', user_id: 'user_3', user_properties: { $set: { plan: 'pro' } } }],
];

/** Start a process that has given this to a spool. */
async function start(t, directory, { env, apiKey = API_KEY, serverUrl = DOWN, ...given } = {}) {
  const part = {
    decisions: DECISIONS,
    ...given,
    options: { apiKey, serverUrl, spool: { directory } },
  };
  const child = startChild(t, [LEAVER, JSON.stringify(part)], { env });
  await child.printed('ready');
  return child;
}

/** The same, and it is killed. */
async function leave(...args) {
  const child = await start(...args);
  child.kill('SIGKILL');
  await child.ended;
}

const quiet = { AMPLITUDE_API_KEY: '', AMPLITUDE_SERVER_URL: '' };

const run = (t, args, env) => runChild(t, [CLI, 'spool', ...args], { env: { ...quiet, ...env } });

async function runJson(t, args, env) {
  const result = await run(t, [...args, '--json'], env);
  return { ...result, report: JSON.parse(result.stdout) };
}

const deliver = (t, directory, serverUrl, more = [], env) =>
  runJson(t, [directory, '--deliver', ...more], {
    AMPLITUDE_API_KEY: API_KEY,
    AMPLITUDE_SERVER_URL: serverUrl,
    ...env,
  });

/** All that could show that a directory was touched. */
function fingerprint(directory) {
  return fs
    .readdirSync(directory)
    .sort()
    .map((name) => {
      const file = path.join(directory, name);
      const { ino, size, mtimeMs, ctimeMs } = fs.statSync(file);
      const hash = createHash('sha256').update(fs.readFileSync(file)).digest('hex');
      return [name, ino, size, mtimeMs, ctimeMs, hash];
    });
}

const journalFile = (directory, at = 0) =>
  path.join(directory, fs.readdirSync(directory).filter((name) => /journal$/.test(name))[at]);

describe('the command spool', () => {
  it('shows what a process left that was killed, and changes nothing', async (t) => {
    const directory = makeDirectory(t);
    const begin = Date.now();
    await leave(t, directory, { tracked: TRACKED });
    const before = fingerprint(directory);
    const { code, stderr, report } = await runJson(t, [directory, '--flag', 'checkout']);
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual(fingerprint(directory), before);

    const { time, oldest, newest, journals, users, ...rest } = report;
    for (const [earlier, later] of [
      [new Date(begin).toISOString(), oldest],
      [oldest, newest],
      [newest, time],
    ]) {
      assert.ok(earlier <= later, `${earlier} ${later}`);
    }
    assert.deepEqual(rest, {
      directory,
      pending: { decisions: 4, tracked: 2, repeats: 0 },
      settled: 0,
      missing: 0,
      flags: [
        {
          key: 'checkout',
          decisions: 3,
          users: 2,
          variations: [
            { key: 'one_page', enabled: true, decisions: 2 },
            { key: 'control', enabled: false, decisions: 1 },
          ],
        },
        {
          key: 'search',
          decisions: 1,
          users: 1,
          variations: [{ key: null, enabled: false, decisions: 1 }],
        },
      ],
      events: [
        { type: 'Purchase', events: 1, users: 1 },
        { type: '$identify', events: 1, users: 1 },
      ],
      unlisted: 0,
      usersAreExact: true,
    });
    assert.equal(users.flag, 'checkout');
    assert.equal(users.total, 2);
    assert.deepEqual(
      users.listed.map(({ time: latest, ...user }) => {
        assert.ok(latest >= oldest && latest <= newest);
        return user;
      }),
      [
        { userId: 'user_1', deviceId: null, variation: 'control', enabled: false, decisions: 2 },
        { userId: 'user_2', deviceId: null, variation: 'one_page', enabled: true, decisions: 1 },
      ],
    );
    const [{ id, apiKeyMark, files, bytes, ...journal }, ...others] = journals;
    assert.deepEqual(others, []);
    assert.match(id, /^[0-9a-f]{32}$/);
    assert.match(apiKeyMark, /^[0-9a-f]{16}$/);
    assert.ok(files >= 1 && bytes >= files * 1024 * 1024);
    assert.deepEqual(journal, {
      isOwnKey: null,
      state: 'orphan',
      pids: [],
      pending: rest.pending,
      settled: 0,
      missing: 0,
      oldest,
      newest,
      leftAlone: [],
    });
  });

  it('shows the same as text, without what could control a terminal', async (t) => {
    const directory = makeDirectory(t);
    const decisions = [...DECISIONS, ['user\x1b[31m_4', 'check\u202eout', 'x\x07', true]];
    await leave(t, directory, { decisions, tracked: TRACKED });
    const { code, stdout } = await run(t, [directory, '--flag', 'checkout', '--limit', '1'], {
      AMPLITUDE_API_KEY: API_KEY,
    });
    assert.equal(code, 0);
    for (const expected of [
      /journal +state +API key +files +MiB +pending +settled +damaged\n +[0-9a-f]{8} +orphan +this one /,
      /pending +5 decisions, 2 events\noldest +20\S+Z, \d+ s ago\n/,
      /checkout +3 +2 +one_page 2, control \(off\) 1\n/,
      /search +1 +1 +none \(off\) 1\n/,
      /check out +1 +1 +x +1\n/,
      /\$identify +1 +1\n/,
      /1 of 2 users of checkout; more with --limit\n/,
      /user_1 +control \(off\) +2 +20\S+Z\n/,
      /\n\nThe next process .* delivers an orphan; --deliver does so now\.\n$/,
    ]) {
      assert.match(stdout, expected);
    }
    // eslint-disable-next-line no-control-regex
    assert.doesNotMatch(stdout, /[\x00-\x09\x0b-\x1f\u202e]/);
    assert.ok(!stdout.includes(API_KEY));
  });

  for (const [mode, env] of Object.entries(MODES)) {
    it(`delivers it, each decision once (${mode})`, async (t) => {
      const directory = makeDirectory(t);
      const amplitude = await serve(t);
      await leave(t, directory, { tracked: TRACKED, env });
      await leave(t, directory, { env });
      const { code, stderr, report } = await deliver(t, directory, amplitude.httpapi, [], env);
      assert.deepEqual([code, stderr], [0, '']);
      const { durationMillis, ...delivery } = report.delivery;
      assert.ok(durationMillis >= 0);
      assert.deepEqual(delivery, {
        delivered: 10,
        dropped: { total: 0 },
        left: { ownKey: 0, otherKeys: 0, withoutLock: 0, files: 0 },
        lastError: null,
      });
      assert.equal(usersOf(amplitude).length, 8);
      assert.deepEqual(usersOf(amplitude, 'Purchase'), ['user_1']);
      assert.deepEqual(fs.readdirSync(directory), []);
      const { report: after } = await runJson(t, [directory]);
      assert.deepEqual([after.pending.decisions, after.journals], [0, []]);
    });
  }

  it('leaves alone what a process has that is running', async (t) => {
    const directory = makeDirectory(t);
    const amplitude = await serve(t);
    const orphan = (name) => [[name, 'checkout', 'one_page', true]];
    amplitude.setFault(() => ({ status: 503 }));
    await leave(t, directory, { decisions: orphan('orphan_1') });
    const live = await start(t, directory, { serverUrl: amplitude.httpapi });
    // It takes over the one that is there at its start, and looks for others after a minute.
    const Survey = addonFor('the test').SpoolSurvey;
    while (lookAt(Survey, directory, {}).journals.some(({ state }) => state === 'orphan')) {
      await wait(5);
    }
    await leave(t, directory, { decisions: orphan('orphan_2') });
    const { report } = await runJson(t, [directory]);
    assert.deepEqual(report.journals.map(({ state, pids }) => [state, pids]).sort(), [
      ...Array(2).fill(['in use', [live.pid]]),
      ['orphan', []],
    ]);
    const other = await serve(t);
    const { code, report: delivered } = await deliver(t, directory, other.httpapi);
    assert.equal(code, 0);
    assert.equal(delivered.delivery.delivered, 1);
    assert.deepEqual(usersOf(other), ['orphan_2']);
    amplitude.setFault(null);
    const { pending } = await live.ask('deliver');
    assert.equal(pending, 0);
    const accepted = amplitude.requests.filter(({ status }) => status === 200);
    assert.deepEqual(
      usersOf({ requests: accepted }),
      ['orphan_1', ...DECISIONS.map(([user]) => user)].sort(),
    );
  });

  it('tells what belongs to another API key, and leaves it', async (t) => {
    const directory = makeDirectory(t);
    const amplitude = await serve(t);
    await leave(t, directory);
    await leave(t, directory, { apiKey: OTHER_KEY });
    const { code, stderr, report } = await deliver(t, directory, amplitude.httpapi);
    assert.equal(code, 1);
    assert.match(stderr, /^optimizely-amplitude: 4 pending of another API key: .*that key, too\n$/);
    assert.deepEqual(report.journals.map(({ isOwnKey }) => isOwnKey).sort(), [false, true]);
    assert.equal(report.delivery.delivered, 4);
    assert.equal(report.delivery.left.otherKeys, 4);
    const again = await deliver(t, directory, amplitude.httpapi, ['--api-key', OTHER_KEY]);
    assert.equal(again.code, 0);
    assert.deepEqual(fs.readdirSync(directory), []);
    assert.equal(usersOf(amplitude).length, 8);
  });

  it('loses nothing when the server is down, and gives up at once when it refuses', async (t) => {
    const directory = makeDirectory(t);
    const amplitude = await serve(t);
    await leave(t, directory);
    const down = await deliver(t, directory, DOWN, ['--timeout', '1']);
    assert.equal(down.code, 1);
    assert.match(down.stderr, /: 4 still pending: no answer: .*connect/);
    assert.deepEqual(down.report.delivery.left.ownKey, 4);
    amplitude.setFault('invalidApiKey');
    const begin = performance.now();
    const refused = await deliver(t, directory, amplitude.httpapi, ['--timeout', '3600']);
    assert.ok(performance.now() - begin < 30_000);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /: 4 still pending: 400: Invalid or missing API key\n$/);
    assert.ok(!(refused.stderr + refused.stdout + down.stderr + down.stdout).includes(API_KEY));
    amplitude.requests.length = 0;
    amplitude.setFault(null);
    const { code } = await deliver(t, directory, amplitude.httpapi);
    assert.equal(code, 0);
    assert.equal(usersOf(amplitude).length, 4);
  });

  it('delivers what is on a disk that is full', async (t) => {
    const mounted = [];
    const directory = makeDirectory(t, () =>
      mounted.forEach((each) => execFileSync('umount', ['-l', each])),
    );
    const amplitude = await serve(t);
    fs.mkdirSync(directory);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m,mode=700', 'tmpfs', directory], {
        stdio: 'ignore',
      });
    } catch {
      t.skip('nothing can be mounted here');
      return;
    }
    mounted.push(directory);
    const options = { apiKey: API_KEY, serverUrl: DOWN, spool: { directory } };
    const child = startChild(t, [SPOOLER, JSON.stringify({ options, life: 0, count: 60_000 })]);
    await child.printed('ready');
    const { spool } = await child.ask({ do: 'stats' });
    assert.match(spool.error, /5 % of the disk|No space left/);
    child.kill('SIGKILL');
    await child.ended;
    const { code, report } = await deliver(t, directory, amplitude.httpapi);
    assert.equal(code, 0);
    assert.ok(report.pending.decisions >= 30_000);
    assert.equal(report.delivery.delivered, report.pending.decisions);
    assert.equal(usersOf(amplitude).length, report.pending.decisions);
    assert.deepEqual(fs.readdirSync(directory), []);
  });

  it("takes the application's own options", async (t) => {
    const directory = makeDirectory(t);
    const amplitude = await serve(t);
    await leave(t, directory, { decisions: DECISIONS.slice(0, 1) });
    const config = path.join(path.dirname(directory), 'options.mjs');
    fs.writeFileSync(
      config,
      `export default () => ({
         apiKey: '${API_KEY}', serverUrl: '${amplitude.httpapi}', eventType: 'Seen',
         spool: { directory: '/nowhere' } });`,
    );
    const { code } = await run(t, [directory, '--deliver', '--config', config]);
    assert.equal(code, 0);
    assert.deepEqual(usersOf(amplitude, 'Seen'), ['user_1']);
  });

  it('loses nothing when it is killed itself', async (t) => {
    const directory = makeDirectory(t);
    const amplitude = await serve(t);
    await leave(t, directory);
    amplitude.setFault(() => ({ status: 503 }));
    const killed = startChild(t, [CLI, 'spool', directory, '--deliver'], {
      env: { AMPLITUDE_API_KEY: API_KEY, AMPLITUDE_SERVER_URL: amplitude.httpapi },
    });
    await amplitude.waitFor(() => amplitude.requests.some(({ status }) => status === 503));
    killed.kill('SIGKILL');
    await killed.ended;
    amplitude.requests.length = 0;
    amplitude.setFault(null);
    const { code, report } = await deliver(t, directory, amplitude.httpapi);
    assert.deepEqual([code, report.delivery.delivered], [0, 4]);
    assert.equal(usersOf(amplitude).length, 4);
    assert.deepEqual(fs.readdirSync(directory), []);
  });

  it('is what the doctor names when something is left', async (t) => {
    const directory = makeDirectory(t);
    const settings = {
      apiKey: API_KEY,
      serverUrl: DOWN,
      proxy: '',
      config: { spool: { directory } },
    };
    const examine = async () =>
      (await runDoctor(settings)).checks.find(({ name }) => name === 'spool');
    assert.equal((await examine()).status, 'skip');
    const live = await start(t, directory);
    const { status, message } = await examine();
    assert.deepEqual(
      [status, message],
      ['pass', `4 pending in ${directory}, all of processes that run`],
    );
    live.kill('SIGKILL');
    await live.ended;
    const before = fingerprint(directory);
    const warning = await examine();
    assert.equal(warning.status, 'warn');
    assert.match(warning.message, /^4 pending in .* of processes that have ended$/);
    assert.match(warning.remedy, /optimizely-amplitude spool/);
    assert.deepEqual(fingerprint(directory), before);
    fs.writeFileSync(path.join(path.dirname(directory), 'file'), '');
    settings.config.spool.directory = path.dirname(directory);
    assert.match((await examine()).message, /is not a spool/);
  });

  it('tells files that it cannot read, and leaves them alone', async (t) => {
    const directory = makeDirectory(t);
    const amplitude = await serve(t);
    const changes = {
      'another version of this package wrote it': (file) => file.writeUInt32LE(9, 12),
      'a machine with another byte order wrote it': (file) => file.subarray(8, 12).reverse(),
      'its first bytes are damaged': (file) => file.writeUInt32LE(9, 40),
    };
    for (let i = 0; i < 4; i++) {
      await leave(t, directory);
    }
    const files = fs.readdirSync(directory).filter((name) => /0001\.journal$/.test(name));
    Object.values(changes).forEach((change, at) => {
      const file = path.join(directory, files[at]);
      const bytes = fs.readFileSync(file);
      change(bytes);
      fs.writeFileSync(file, bytes);
    });
    // A pipe and a link are none of its files, and nobody waits for them.
    const large = files[0].replace('00001.journal', '00099.journal');
    fs.writeFileSync(path.join(directory, large), '');
    fs.truncateSync(path.join(directory, large), 32 * 1024 * 1024 + 1);
    fs.symlinkSync('/etc/passwd', path.join(directory, large.replace('99', '98')));
    const { code, report } = await runJson(t, [directory]);
    assert.equal(code, 0);
    assert.deepEqual(
      report.journals
        .flatMap(({ leftAlone }) => leftAlone)
        .map(({ reason }) => reason.replace(/^ELOOP.*/, 'ELOOP'))
        .sort(),
      [...Object.keys(changes), 'ELOOP', 'File too large'].sort(),
    );
    assert.equal(report.pending.decisions, 4);
    const before = files.slice(0, 3).map((name) => fs.readFileSync(path.join(directory, name)));
    const {
      code: delivers,
      stderr,
      report: after,
    } = await deliver(t, directory, amplitude.httpapi);
    assert.equal(delivers, 1);
    // The large one has nothing in it: who takes over its journal deletes it.
    assert.match(stderr, /4 files left alone\n$/);
    assert.equal(after.delivery.delivered, 4);
    files
      .slice(0, 3)
      .forEach((name, at) =>
        assert.ok(fs.readFileSync(path.join(directory, name)).equals(before[at])),
      );
  });

  it('survives files that are damaged anywhere, and says how much is', async (t) => {
    const directory = makeDirectory(t);
    await leave(t, directory, {
      decisions: Array.from({ length: 300 }, (_, i) => [`user_${i}`, 'checkout', 'on', true]),
    });
    const Survey = addonFor('the test').SpoolSurvey;
    const file = journalFile(directory);
    const whole = fs.readFileSync(file);
    const random = seededRandom(1);
    let damaged = 0;
    for (let i = 0; i < 200; i++) {
      const bytes = Buffer.from(whole);
      for (let n = 0; n < 1 + random(20); n++) {
        bytes[random(40_000)] ^= 1 << random(8);
      }
      fs.writeFileSync(file, random(4) === 0 ? bytes.subarray(0, random(50_000)) : bytes);
      const { pending, missing } = lookAt(Survey, directory, { flag: 'checkout', limit: 10 });
      assert.ok(pending.decisions <= 300);
      damaged += missing > 0;
    }
    assert.ok(damaged > 50);
    const bytes = Buffer.from(whole);
    bytes[8192 + 200] ^= 1;
    fs.writeFileSync(file, bytes);
    const { code, stdout } = await run(t, [directory]);
    assert.equal(code, 0);
    assert.match(stdout, /pending +299 decisions\n/);
    assert.match(stdout, /damaged +1, which are lost/);
  });

  it('tells journals whose lock is gone: nobody takes them over', async (t) => {
    const directory = makeDirectory(t);
    const amplitude = await serve(t);
    await leave(t, directory);
    const lock = fs.readdirSync(directory).find((name) => /lock$/.test(name));
    fs.unlinkSync(path.join(directory, lock));
    const { code, stderr, report } = await deliver(t, directory, amplitude.httpapi);
    assert.equal(code, 1);
    assert.equal(report.journals[0].state, 'without a lock');
    assert.match(stderr, /4 pending in journals whose \.lock file is gone/);
    fs.writeFileSync(path.join(directory, lock), '', { mode: 0o600 });
    assert.equal((await deliver(t, directory, amplitude.httpapi)).code, 0);
    assert.equal(usersOf(amplitude).length, 4);
  });

  describe('says what is wrong', () => {
    const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-spool-command-'));
    process.on('exit', () => fs.rmSync(parent, { recursive: true, force: true }));
    const empty = path.join(parent, 'empty');
    fs.mkdirSync(empty);
    fs.writeFileSync(path.join(parent, 'file'), '');
    const cases = [
      [[path.join(parent, 'none')], 1, /none cannot be read: it does not exist\n$/],
      [[path.join(parent, 'file')], 1, /file cannot be read: it is not a directory\n$/],
      [[parent], 1, /is not a spool: none of the files in it is a journal\n$/],
      [[], 2, /the directory is missing\n/],
      [[empty, 'more'], 2, /unexpected argument 'more'\n/],
      [[empty, '--deliver'], 2, /--api-key is missing, and AMPLITUDE_API_KEY/],
      [[empty, '--limit', '5'], 2, /--limit is for --flag\n/],
      [[empty, '--timeout', '5'], 2, /--timeout is for --deliver\n/],
      [[empty, '--flag', 'a', '--limit', '0'], 2, /--limit must be a whole number from 1 to /],
      [[empty, '--config', path.join(parent, 'none.js')], 2, /--config .*none\.js/],
    ];
    for (const [args, expected, message] of cases) {
      it(args.map((arg) => path.basename(arg)).join(' ') || 'nothing', async (t) => {
        const { code, stdout, stderr } = await run(t, args);
        assert.deepEqual([code, stdout], [expected, '']);
        assert.match(stderr, message);
      });
    }

    it('and of an empty spool that nothing is pending', async (t) => {
      const { code, stdout } = await run(t, [empty]);
      assert.deepEqual([code, stdout], [0, `${empty} is empty: nothing is pending\n`]);
      assert.equal((await deliver(t, empty, DOWN)).code, 0);
      assert.deepEqual(fs.readdirSync(empty), []);
    });

    it('and of a directory that may not be read', { skip: process.getuid() !== 0 }, async (t) => {
      const directory = makeDirectory(t);
      await leave(t, directory);
      fs.chmodSync(path.dirname(directory), 0o755);
      const script = `process.setuid(65534); process.argv.splice(1, 0, '${CLI}'); require('${CLI}');`;
      const { code, stderr } = await runChild(t, ['-e', script, 'spool', directory]);
      assert.equal(code, 1);
      assert.match(stderr, /permission denied; run this as the user of the application/);
    });

    it('and without the addon', async (t) => {
      const { code, stderr } = await run(t, [empty], { OA_ENGINE: 'wasm' });
      assert.equal(code, 1);
      assert.match(stderr, /needs the native addon: WebAssembly reads no files/);
    });
  });
});
