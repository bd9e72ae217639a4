/** The entry for edge runtimes. */

import { createDispatcher, info } from 'optimizely-amplitude/edge';
import type { EdgeOptions } from 'optimizely-amplitude/edge';
import type { Dispatcher } from 'optimizely-amplitude';

const options: EdgeOptions = { apiKey: 'a-key', waitUntil: (promise) => void promise };
const dispatcher: Dispatcher = createDispatcher(options);
const { engine, engineReason } = info();
const wasm: 'wasm' = engine;
void [dispatcher, wasm, engineReason];

// @ts-expect-error fetch leaves no choice
createDispatcher({ apiKey: 'a-key', proxy: 'http://proxy.example' });
// @ts-expect-error a promise is passed
createDispatcher({ apiKey: 'a-key', waitUntil: (promise: string) => promise });
