import core from '../../prebuilds/wasm32/core.wasm?module';
import { createEdge } from './dispatcher.js';

/** For Vercel's Edge runtime: give `waitUntil` of @vercel/functions as an option. */
export const { closeOnSignal, createDispatcher, info } = createEdge(core);
