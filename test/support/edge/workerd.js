'use strict';

/** Cloudflare's runtime, workerd, with a bundled Worker: by itself, where it reaches loopback alone, and by miniflare. */

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const esbuild = require('esbuild');

const { startChild } = require('../process/child.js');
const { nodes, other, without } = require('../setup/runtimes.js');

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

const LAUNCHER = path.join(__dirname, 'miniflare.mjs');
/** The command of a Node.js that miniflare runs with, or undefined. */
const NODE_22 = nodes().find(({ major, arch }) => major >= 22 && arch === process.arch)?.command;

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

/** Bundle a Worker in a folder for one test; returns the folder. */
function createWorker(t, { entry, values }) {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oa-workerd-')));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  bundleWorker(entry, folder, values);
  return folder;
}

/** Start workerd for one test; resolves to { url, said() }. */
async function startWorkerd(t, options) {
  const { compatibilityDate } = options;
  const folder = createWorker(t, options);
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

/** Start miniflare for one test; resolves to { url, said() }. */
async function startMiniflare(t, options) {
  const folder = createWorker(t, options);
  const child = startChild(
    t,
    [...NODE_22.slice(1), LAUNCHER, other('miniflare'), folder, options.compatibilityDate],
    { program: NODE_22[0], endSignal: 'SIGTERM' }, // so that it ends its own child
  );
  await child.printed('listening on http');
  const [line, url] = /listening on (\S+)\n/.exec(child.stdout);
  return { url, said: () => child.output.replace(line, '') };
}

/** What runs a Worker: its name, why it cannot be tested or false, and how it is started. */
const WORKER_RUNTIMES = [
  {
    name: 'workerd',
    skip: !fs.existsSync(PROGRAM) && 'workerd is not installed: its package is for other systems',
    start: startWorkerd,
  },
  {
    name: 'miniflare',
    skip: without('miniflare') || (NODE_22 === undefined && 'miniflare needs Node.js 22'),
    start: startMiniflare,
  },
];

module.exports = { WORKER_RUNTIMES };
