'use strict';

/** Cloudflare's runtime, workerd, with a bundled Worker. It reaches loopback alone. */

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const esbuild = require('esbuild');

const ROOT = path.join(__dirname, '..', '..', '..');
const EDGE = path.join(ROOT, 'build', 'edge');
const PLATFORM = process.arch === 'arm64' ? 'linux-arm64' : 'linux-64';
const PROGRAM = path.join(
  ROOT,
  'node_modules',
  '@cloudflare',
  `workerd-${PLATFORM}`,
  'bin',
  'workerd',
);

/** A port of its own, so that no sleep is needed: workerd tells it on a descriptor. */
const CONTROL = 3;

/** Bundle a Worker as wrangler does; `values` are names and values that stand in for it. */
function bundleWorker(entry, folder, values) {
  esbuild.buildSync({
    entryPoints: [entry],
    outfile: path.join(folder, 'worker.mjs'),
    bundle: true,
    format: 'esm',
    target: 'es2022',
    conditions: ['workerd', 'worker', 'browser'],
    alias: { 'optimizely-amplitude/edge': path.join(EDGE, 'workerd.mjs') },
    define: Object.fromEntries(
      Object.entries(values).map(([name, value]) => [`globalThis.${name}`, JSON.stringify(value)]),
    ),
    external: ['*.wasm', 'cloudflare:workers'],
    logLevel: 'error',
  });
  fs.copyFileSync(path.join(EDGE, 'core.wasm'), path.join(folder, 'core.wasm'));
}

/** Start workerd for one test; resolves to { url, said() }. */
async function startWorkerd(t, { entry, compatibilityDate, values }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-workerd-'));
  bundleWorker(entry, folder, values);
  fs.writeFileSync(
    path.join(folder, 'config.capnp'),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .w),
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const w :Workerd.Worker = (
  modules = [
    (name = "worker.mjs", esModule = embed "worker.mjs"),
    (name = "core.wasm", wasm = embed "core.wasm"),
  ],
  compatibilityDate = "${compatibilityDate}",
);
`,
  );
  const child = spawn(PROGRAM, ['serve', `--control-fd=${CONTROL}`, 'config.capnp'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      said += text;
    });
  }
  const ended = new Promise((resolve) => child.on('close', resolve));
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
    fs.rmSync(folder, { recursive: true });
  });
  const port = await new Promise((resolve, reject) => {
    let text = '';
    child.stdio[CONTROL].setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      const [, found] = /"port":(\d+)/.exec(text) ?? [];
      if (found !== undefined) {
        resolve(found);
      }
    });
    ended.then((code) => reject(new Error(`workerd ended (${code}): ${said}`)));
  });
  return { url: `http://127.0.0.1:${port}`, said: () => said };
}

/** Why there is no workerd here, or false. */
const noWorkerd = () =>
  !fs.existsSync(PROGRAM) && 'workerd is not installed: its package is for other systems';

module.exports = { noWorkerd, startWorkerd };
