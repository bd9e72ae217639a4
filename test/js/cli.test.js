'use strict';

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const { setTimeout } = require('node:timers/promises');
const { createCollector } = require('../../lib/cli/collector/index.js');
const { runChild } = require('../support/process/child.js');
const { request } = require('../support/network/request.js');
const { version } = require('../../package.json');

const CLI = path.join(__dirname, '../../lib/cli/main.js');

function run(t, ...args) {
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

const finish = (t, ...args) => runChild(t, [CLI, ...args]);

const exposure = (variation) => ({
  user_id: `user_of_${variation}`,
  event_type: 'Experiment Viewed',
  event_properties: {
    ...{ flag_key: 'checkout_flow', variation_key: variation, rule_key: 'checkout_ab' },
  },
});

describe('the command line', () => {
  it('explains itself', async (t) => {
    for (const args of [['--help'], ['-h'], ['collector', '--help']]) {
      const { code, stdout, stderr } = await finish(t, ...args);
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(stdout, /^Usage: optimizely-amplitude/);
      assert.match(stdout, /^Options of collector:/m);
      assert.equal(/^Options of doctor:/m.test(stdout), args[0] !== 'collector');
    }
    assert.deepEqual(await finish(t, '--version'), {
      code: 0,
      signal: null,
      stdout: `${version}\n`,
      stderr: '',
    });
  });

  const mistakes = {
    'a command is missing': [],
    "unknown command 'collect'": ['collect'],
    "unexpected argument '8787'": ['collector', '8787'],
    "Unknown option '--prot'": ['collector', '--prot', '1'],
    // A key in the wrong place, and codes that control a terminal, are not printed.
    "unexpected argument '…'": ['collector', '0123456789abcdef0123456789abcdef'],
    "unknown command '…'": ['0123456789abcdef0123456789abcdef'],
    "unknown command 'a [31mb'": ['a\x1b[31mb'],
    "--port must be a number from 0 to 65535, not 'http'": ['collector', '--port', 'http'],
    "not '65536'": ['collector', '--port', '65536'],
    '--cohort: expected a cohort such as power_users=Purchase:2/30d': [
      'collector',
      '--cohort',
      'a=b',
    ],
  };
  for (const [message, args] of Object.entries(mistakes)) {
    it(`refuses: ${args.join(' ') || 'nothing'}`, async (t) => {
      const { code, stdout, stderr } = await finish(t, ...args);
      assert.deepEqual([code, stdout], [2, '']);
      assert.ok(stderr.includes(message), stderr);
      const [usage] = /Usage: .*/.exec(stderr);
      const [, help] = /^(optimizely-amplitude .*--help) {2}shows/m.exec(stderr);
      const isCommand = args.length > 1;
      assert.equal(usage.includes(' collector '), isCommand);
      assert.equal(help.includes(' collector '), isCommand);
      assert.ok(stderr.split('\n').length < 15, 'the message is still on the screen');
    });
  }

  it('names an address of this machine for every address', async (t) => {
    const child = run(t, 'collector', '--port', '0', '--host', '0.0.0.0');
    const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const [listening, point, open] = [
      (await lines.next()).value,
      (await lines.next()).value,
      (await lines.next()).value,
    ];
    const [, port] = /^Listening on http:\/\/0\.0\.0\.0:(\d+)$/.exec(listening);
    assert.ok(point.endsWith(`'http://127.0.0.1:${port}/2/httpapi'`), point);
    assert.ok(open.startsWith(`Open http://127.0.0.1:${port} in a browser`), open);
  });

  it('says when the port is in use', async (t) => {
    const collector = createCollector();
    const { port } = await collector.listen();
    t.after(() => collector.close());
    const { code, stderr } = await finish(t, 'collector', '--port', String(port));
    assert.equal(code, 1);
    assert.equal(
      stderr,
      `optimizely-amplitude: cannot listen on 127.0.0.1:${port}: ` +
        'the port is in use; choose another one with --port\n',
    );
  });

  it('forwards without a proxy whose variable is no URL, and says so', async (t) => {
    const collector = createCollector();
    const { port } = await collector.listen();
    t.after(() => collector.close());
    const forward = ['--forward', 'http://127.0.0.1:9', '--port', String(port)]; // in use: it ends
    const { stderr } = await runChild(t, [CLI, 'collector', ...forward], {
      env: { http_proxy: 'http://' },
    });
    assert.match(stderr, /^optimizely-amplitude: environment variable http_proxy: .* left out\n/);
    assert.match(stderr, /the port is in use/);
  });

  describe('a collector in the background', () => {
    const COLLECTOR = `"${process.execPath}" "${CLI}" collector --port 0`;
    const PATIENCE = { timeout: 30_000 };
    const NPM = { npm_config_user_agent: 'npm/11.0.0 node/v22.0.0 linux x64' };

    /** Start `command` with a shell or a program; resolves when its collector listens. */
    async function startCommand(t, command, args, { env = {}, cwd } = {}) {
      const plain = { ...process.env };
      delete plain.npm_config_user_agent; // npm may run this test
      const child = spawn(command, args, {
        cwd,
        env: { ...plain, ...env },
        stdio: ['ignore', 'pipe', 'inherit'],
        detached: true,
      });
      const exit = once(child, 'exit');
      let text = '';
      for await (const chunk of child.stdout
        .setEncoding('utf8')
        .iterator({ destroyOnReturn: false })) {
        text += chunk;
        if (/^Listening on \S+$/m.test(text)) {
          break;
        }
      }
      child.stdout.resume();
      t.after(() => {
        // As long as one of its group can write, the group is there.
        if (!child.stdout.closed) {
          process.kill(-child.pid, 'SIGKILL');
        }
      });
      const [, url] = /^Listening on (\S+)$/m.exec(text);
      return { child, exit, url, gone: once(child.stdout, 'close') };
    }

    it('serves the cohorts that are given', PATIENCE, async (t) => {
      const { child, exit, url } = await startCommand(t, process.execPath, [
        ...[CLI, 'collector', '--port', '0'],
        ...['--cohort', 'power_users=Purchase:2/30d', '--cohort', 'tried=Check out:1/7d'],
      ]);
      const { cohorts } = (await request(`${url}/api/cohorts`)).json;
      assert.deepEqual(
        cohorts.map(({ id, eventType, count, days }) => [id, eventType, count, days]),
        [
          ['power_users', 'Purchase', 2, 30],
          ['tried', 'Check out', 1, 7],
        ],
      );
      const headers = { Authorization: `Basic ${Buffer.from('any:keys').toString('base64')}` };
      const { status, json } = await request(`${url}/sdk/v1/cohort/tried`, { headers });
      assert.deepEqual([status, json.memberIds], [200, []]);
      child.kill('SIGTERM');
      await exit;
    });

    it('opens its page, knows the planned split, and prints no keys', PATIENCE, async (t) => {
      const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-cli-'));
      t.after(() => fs.rmSync(directory, { recursive: true }));
      const opened = path.join(directory, 'opened');
      for (const opener of ['xdg-open', 'open']) {
        const file = path.join(directory, opener);
        fs.writeFileSync(file, `#!/bin/sh\necho "$1" > "${opened}"\n`, { mode: 0o755 });
      }
      const { child, exit, url } = await startCommand(
        t,
        process.execPath,
        [
          ...[CLI, 'collector', '--port', '0', '--open', '--property-prefix', 'x/'],
          ...['--datafile', path.join(__dirname, '../examples/datafile.json')],
        ],
        { env: { PATH: `${directory}:${process.env.PATH}` } },
      );
      while (!fs.existsSync(opened) || fs.readFileSync(opened, 'utf8') === '') {
        await setTimeout(20);
      }
      assert.equal(fs.readFileSync(opened, 'utf8').trim(), url);

      const told = once(child.stdout, 'data');
      const upload = { api_key: 'k', events: [exposure('control'), exposure('one_page')] };
      await request(`${url}/2/httpapi?token=hidden`, { body: upload });
      assert.match(String(await told), /POST {2}\/2\/httpapi\?… {2}200/);
      const { comparison } = (
        await request(`${url}/api/analysis?flag=checkout_flow&rule=checkout_ab`)
      ).json;
      assert.equal(comparison.split.isPlanned, true);
      assert.deepEqual((await request(`${url}/api/summary`)).json.prefixes[0], 'x/');
      child.kill('SIGTERM');
      await exit;
    });

    it('of npm ends when npm is stopped', PATIENCE, async (t) => {
      const cwd = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-cli-'));
      t.after(() => fs.rmSync(cwd, { recursive: true }));
      const bin = path.join(cwd, 'node_modules', '.bin');
      fs.mkdirSync(bin, { recursive: true });
      fs.writeFileSync(path.join(cwd, 'package.json'), '{"name":"application","private":true}');
      fs.symlinkSync(CLI, path.join(bin, 'optimizely-amplitude'));
      const { child, url, gone } = await startCommand(
        t,
        'npm',
        ['exec', '--', 'optimizely-amplitude', 'collector', '--port', '0'],
        { cwd },
      );
      child.kill('SIGTERM');
      await gone;
      await assert.rejects(request(`${url}/stats`), { code: 'ECONNREFUSED' });
    });

    it('of a shell of npm ends when that is killed', PATIENCE, async (t) => {
      const script = `${COLLECTOR} & wait`;
      const { child, url, gone } = await startCommand(t, 'sh', ['-c', script], { env: NPM });
      child.kill('SIGKILL');
      await gone;
      await assert.rejects(request(`${url}/stats`), { code: 'ECONNREFUSED' });
    });

    for (const [title, script, env] of [
      ['that a script of npm left behind', `${COLLECTOR} &`, NPM],
      ['of a shell without npm', `${COLLECTOR} & wait`, {}],
    ]) {
      it(`${title} goes on`, async (t) => {
        const { child, exit, url } = await startCommand(t, 'sh', ['-c', script], { env });
        child.kill('SIGKILL');
        await exit;
        await setTimeout(1500); // three times as often as it looks
        assert.equal((await request(`${url}/stats`)).status, 200);
      });
    }
  });

  for (const signal of ['SIGINT', 'SIGTERM']) {
    it(`runs a collector until ${signal}`, async (t) => {
      const child = run(t, 'collector', '--port', '0');
      const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const nextLine = async () => (await lines.next()).value;
      const [, url] = /^Listening on (http:\/\/127\.0\.0\.1:\d+)$/.exec(await nextLine());
      const serverUrl = `${url}/2/httpapi`;
      assert.ok((await nextLine()).includes(`serverUrl: '${serverUrl}'`));
      await nextLine();

      const event = { event_type: 'Seen', user_id: 'user_1', insert_id: 'a' };
      const body = JSON.stringify({ api_key: 'secret', events: [event, event] });
      assert.equal((await request(serverUrl, { body })).status, 200);
      const line = await nextLine();
      assert.match(
        line,
        new RegExp(
          `POST {2}/2/httpapi {2}200 {2}${body.length} bytes {2}2 events \\(1 duplicates\\)$`,
        ),
      );
      await request(serverUrl, { body: '{' });
      assert.match(await nextLine(), /400 {2}1 bytes {2}Invalid JSON request body$/);

      child.kill(signal);
      assert.deepEqual(await once(child, 'exit'), [0, null]);
    });
  }
});
