import * as workers from 'cloudflare:workers';

import core from '../../prebuilds/wasm32/core.wasm';
import { createEdge } from './dispatcher.js';

/** For Cloudflare Workers: a decision is delivered by the request that made it, after its response. */
export const { closeOnSignal, createDispatcher, info } = createEdge(core, workers.waitUntil);
