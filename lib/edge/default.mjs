import { brotliDecompressSync } from 'node:zlib';

import core from '../../prebuilds/wasm32/core.js';
import { createEdge } from './dispatcher.js';

/** The same for Node.js, Deno and Bun, such as in tests of code for the edge. */
export const { closeOnSignal, createDispatcher, info } = createEdge(
  new WebAssembly.Module(brotliDecompressSync(Buffer.from(core, 'base64'))),
);
