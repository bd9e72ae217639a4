import type { DecisionType, Dispatcher, DispatcherOptions } from '../index.js';

/**
 * The options of a dispatcher on an edge runtime. What concerns its connections is the runtime's, and a store of exposures
 * is not available. Other defaults: `flushIntervalMillis` 1 second, `maxQueueBytes` 4 MiB, and 100,000 entries of `dedupe`.
 */
export interface EdgeOptions<T extends DecisionType = 'flag'> extends Omit<
  DispatcherOptions<T>,
  'proxy' | 'noProxy' | 'caFile' | 'engine' | 'spool'
> {
  /**
   * Has the request that decides stay for the delivery, such as `waitUntil` of `@vercel/functions`. Default: that of
   * `cloudflare:workers` on Cloudflare; elsewhere timers outlive a request, and nothing has to stay.
   */
  waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
}

/**
 * Create a dispatcher; at module scope, once for all requests of an isolate. Throws a TypeError with code `ERR_OA_OPTION`
 * that names the option that is wrong.
 */
export function createDispatcher<T extends DecisionType = 'flag'>(
  options: EdgeOptions<T>,
): Dispatcher;

/** Does nothing: an isolate gets no signals. Returns a function that does nothing. */
export function closeOnSignal(dispatcher: Dispatcher, options?: object): () => void;

/** The version of this package, and what runs it. */
export function info(): { version: string; engine: 'wasm'; engineReason: string };
