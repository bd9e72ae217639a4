'use strict';

/** Which engine runs: what is chosen on other platforms and runtimes, and what is asked for. */

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');
const { promisify } = require('node:util');

const { startAmplitude } = require('../support/amplitude/server.js');
const { nodes, refused } = require('../support/setup/runtimes.js');
const { wasmNotTestable } = require('../support/setup/prebuilds.js');

const ROOT = path.join(__dirname, '..', '..');
const run = promisify(execFile);

/** Pretends to be elsewhere, decides once, and prints what became of it. */
const PROGRAM = `
  const { fake, options } = JSON.parse(process.argv[2]);
  for (const [name, value] of Object.entries(fake)) {
    if (name === 'linker') {
      const fs = require('node:fs');
      const exists = fs.existsSync;
      fs.existsSync = (file) => file === value || exists(file);
    } else {
      Object.defineProperty(process, name, {
        value: name === 'versions' ? { ...process.versions, ...value } : value,
      });
    }
  }
  const before = process.dlopen;
  let opened = 0;
  process.dlopen = (...values) => {
    opened += require('node:fs').existsSync(values[1]);
    return before.apply(process, values);
  };
  const { createDispatcher, info } = require('./lib/index.js');
  const openedAtImport = opened;
  const lines = [];
  const log = (line) => lines.push(line);
  try {
    const told = info();
    const logger = { debug: log, info: log, warn: log, error: log };
    const dispatcher = createDispatcher({ apiKey: 'a-test-key', logger, logLevel: 'debug', ...options });
    createDispatcher({ apiKey: 'a-test-key', logger, logLevel: 'debug', ...options }).close();
    dispatcher.onDecision({
      type: 'flag',
      userId: 'user-1',
      attributes: {},
      decisionInfo: { flagKey: 'flag', variationKey: 'on', ruleKey: 'rule', enabled: true },
    });
    dispatcher.close().then(({ delivered }) => {
      const said = lines.filter((line) => line.startsWith('WebAssembly'));
      console.log(JSON.stringify({ ...told, delivered, openedAtImport, opened, said }));
    });
  } catch ({ code, message }) {
    console.log(JSON.stringify({ code, message }));
  }
`;

describe('the engine', { skip: wasmNotTestable(), concurrency: 2 }, () => {
  let folder;
  let amplitude;

  before(async () => {
    amplitude = await startAmplitude();
    folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-engine-')));
    for (const file of ['package.json', 'lib', 'prebuilds/wasm32']) {
      fs.cpSync(path.join(ROOT, file), path.join(folder, file), { recursive: true });
    }
    // A prebuilt addon that loads here, and must not be opened where it does not fit.
    const addon = path.join(folder, 'prebuilds', `${process.platform}-${process.arch}`);
    fs.mkdirSync(addon);
    fs.copyFileSync(
      path.join(ROOT, 'build', 'Release', 'optimizely_amplitude.node'),
      path.join(addon, 'optimizely-amplitude.node'),
    );
    fs.mkdirSync(path.join(folder, 'prebuilds', 'linux-riscv64'));
    fs.writeFileSync(
      path.join(folder, 'prebuilds/linux-riscv64/optimizely-amplitude.node'),
      'no ELF',
    );
    fs.writeFileSync(path.join(folder, 'program.cjs'), PROGRAM);
  });

  after(async () => {
    await amplitude.close();
    fs.rmSync(folder, { recursive: true });
  });

  async function start(fake, { env = {}, options = {}, command = [process.execPath] } = {}) {
    const [program, ...args] = command;
    const given = { fake, options: { serverUrl: amplitude.httpapi, ...options } };
    const { stdout } = await run(
      program,
      [...args, path.join(folder, 'program.cjs'), JSON.stringify(given)],
      { env: { ...process.env, OPTIMIZELY_AMPLITUDE_BINDING: '', OA_ENGINE: '', ...env } },
    );
    return JSON.parse(stdout);
  }

  it('is the native addon where it fits, which is not opened by an import', async () => {
    const told = await start({});
    assert.deepEqual(
      [told.engine, told.engineReason, told.openedAtImport, told.opened, told.delivered],
      ['native', 'the addon loads', 0, 1, 1],
    );
    assert.deepEqual(told.said, []);
  });

  const ELSEWHERE = {
    'macOS on arm64': [{ platform: 'darwin', arch: 'arm64' }, /^there is no addon for /],
    'macOS on x64': [{ platform: 'darwin', arch: 'x64' }, /^there is no addon for /],
    Windows: [{ platform: 'win32' }, /^there is none for Windows$/],
    FreeBSD: [{ platform: 'freebsd' }, /^there is no addon for /],
    'a processor without an addon': [{ arch: 's390x' }, /^there is no addon for /],
    'OpenSSL 4': [{ versions: { openssl: '4.0.0' } }, /has OpenSSL 4\.0\.0/],
    Bun: [{ versions: { bun: '1.2.3' } }, /^Bun 1\.2\.3 cannot run it$/],
    Deno: [{ versions: { deno: '2.3.4' } }, /^Deno 2\.3\.4 cannot run it$/],
  };
  for (const [name, [fake, reason]] of Object.entries(ELSEWHERE)) {
    it(`is WebAssembly on ${name}: nothing is opened, it delivers, and says so once`, async () => {
      const told = await start(fake);
      assert.deepEqual([told.engine, told.opened, told.delivered], ['wasm', 0, 1]);
      assert.match(told.engineReason, reason);
      assert.equal(told.addon, null);
      assert.equal(told.said.length, 1);
    });
  }

  const musl = nodes().find(({ target }) => target === `linux-${process.arch}-musl`);
  it(
    'is WebAssembly in a real Node with musl, where there is only the addon for glibc',
    {
      skip: musl === undefined && 'there is none; `node test/support/setup/runtimes.js` fetches it',
    },
    async () => {
      const told = await start({}, { command: musl.command });
      assert.deepEqual([told.engine, told.opened, told.delivered], ['wasm', 0, 1]);
      assert.equal(told.engineReason, `there is no addon for ${musl.target} here`);
      assert.equal(told.said.length, 1);
    },
  );

  it('is WebAssembly where the addon cannot be opened', async () => {
    const told = await start({ arch: 'riscv64' });
    assert.deepEqual([told.engine, told.opened, told.delivered], ['wasm', 1, 1]);
    const forbidden = await start({}, { command: [process.execPath, '--no-addons'] });
    assert.deepEqual([forbidden.engine, forbidden.delivered], ['wasm', 1]);
    assert.match(forbidden.engineReason, /loading addons is disabled/);
  });

  it('is the one that is asked for, by the environment or by the option', async () => {
    const wasm = { OA_ENGINE: 'wasm' };
    const byVariable = await start({}, { env: wasm });
    assert.deepEqual([byVariable.engine, byVariable.opened], ['wasm', 0]);
    assert.match(byVariable.engineReason, /OA_ENGINE/);
    const byOption = await start({}, { env: wasm, options: { engine: 'native' } });
    assert.deepEqual([byOption.opened, byOption.delivered], [1, 1]);
    const other = await start({}, { options: { engine: 'wasm' } });
    assert.deepEqual([other.delivered, other.said.length], [1, 1]);
  });

  it('is refused when there is none of the kind that is asked for', async () => {
    const { code, message } = await start({ platform: 'win32' }, { options: { engine: 'native' } });
    assert.equal(code, 'ERR_OA_ADDON');
    assert.match(message, /Windows/);
    const wrong = await start({}, { env: { OA_ENGINE: 'quick' } });
    assert.equal(wrong.code, 'ERR_OA_OPTION');
    assert.match(wrong.message, /OA_ENGINE: expected native or wasm, got 'quick'/);
    const socks = { engine: 'wasm', proxy: 'socks5://user:secret@127.0.0.1:9' };
    const refusal = await start({}, { options: socks });
    assert.equal(refusal.code, 'ERR_OA_OPTION');
    assert.match(refusal.message, /^option 'proxy': .*socks/);
    assert.doesNotMatch(refusal.message, /secret/);
  });

  it('has no audiences where it is WebAssembly: they are imported, and refused clearly when they are made', async () => {
    const program = `
      Object.defineProperty(process, 'platform', { value: process.argv[1] });
      const { createAudiences } = require('./lib/audiences.js');
      try {
        createAudiences({ source: 'file', cohorts: { vip: '/no-such/vip.csv' } });
      } catch ({ code, message }) {
        console.log(JSON.stringify({ code, message }));
      }
    `;
    const refusal = async (platform, env) => {
      const { stdout } = await run(process.execPath, ['-e', program, platform], {
        cwd: folder,
        env: { ...process.env, OPTIMIZELY_AMPLITUDE_BINDING: '', OA_ENGINE: '', ...env },
      });
      const { code, message } = JSON.parse(stdout);
      assert.equal(code, 'ERR_OA_ADDON');
      return message;
    };
    const what = 'createAudiences\\(\\) needs the native addon: WebAssembly has no cohorts';
    assert.match(
      await refusal('win32', {}),
      new RegExp(`^${what}\\. .* none for Windows\\. .*WSL`),
    );
    assert.match(
      await refusal(process.platform, { OA_ENGINE: 'wasm' }),
      new RegExp(`^${what}\\. OA_ENGINE=wasm`),
    );
  });

  const deno = refused().find(({ name }) => name === 'Deno');
  it(
    'delivers in a Deno that may not look at the environment',
    {
      skip: deno === undefined && 'there is none; `node test/support/setup/runtimes.js` fetches it',
    },
    async () => {
      const [program] = deno.command;
      const command = [program, 'run', '--no-prompt', '--allow-read', '--allow-net'];
      const told = await start({}, { command });
      assert.deepEqual([told.engine, told.delivered], ['wasm', 1]);
    },
  );

  for (const { name, command } of refused().filter((each) => /Bun|Deno/.test(each.name))) {
    it(`delivers in the real ${name}`, async () => {
      const told = await start({}, { command });
      assert.deepEqual([told.engine, told.opened, told.delivered], ['wasm', 0, 1]);
    });
  }
});
