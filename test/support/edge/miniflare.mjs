/**
 * Runs a bundled Worker in miniflare until it is told to end, and prints where it listens. miniflare asks for Node.js 22:
 *
 *   node miniflare.mjs MINIFLARE FOLDER COMPATIBILITY_DATE
 */

import { createRequire } from 'node:module';

const [, , miniflare, folder, compatibilityDate] = process.argv;
const { Log, LogLevel, Miniflare } = createRequire(import.meta.url)(miniflare);

const worker = new Miniflare({
  host: '127.0.0.1',
  log: new Log(LogLevel.WARN),
  modules: [
    { type: 'ESModule', path: `${folder}/worker.mjs` },
    { type: 'CompiledWasm', path: `${folder}/core.wasm` },
  ],
  modulesRoot: folder,
  compatibilityDate,
  cf: false, // which is asked for outside of this machine
});
console.log(`listening on ${(await worker.ready).origin}`);
process.on('SIGTERM', () => worker.dispose().then(() => process.exit()));
