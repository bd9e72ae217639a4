import type { Dispatcher } from './index.js';

export interface WithFlushOptions {
  /**
   * The longest time that a flush adds to an invocation, in ms, from 0. Default: 1500, or the dispatcher's
   * `flushTimeoutMillis` where that is less.
   */
  timeoutMillis?: number | undefined;

  /** How long before the end of the function's time the flush ends, in ms, from 0. Default: 500. */
  marginMillis?: number | undefined;
}

/** A dispatcher, or a function that returns the one there is: called for each flush. */
export type DispatcherSource =
  Dispatcher | (() => Dispatcher | null | undefined | PromiseLike<Dispatcher | null | undefined>);

/**
 * Wrap a Lambda handler (async, with a callback, or streaming) so that the decisions of an invocation are
 * delivered before its result is returned, also when it throws, and when it is about to run out of time.
 *
 * The wrapper has the type and the properties of the handler, and always returns a promise. With nothing pending it
 * waits for nothing. The flush takes `timeoutMillis` at most, and ends `marginMillis` before
 * `context.getRemainingTimeInMillis()` is over; what is pending then stays queued for the next invocation. After a
 * flush that met a failing server, an invocation tries once, for 500 ms at most, until a try succeeds; each five
 * minutes a try takes the whole time. Delivery never fails an invocation.
 *
 * Throws a TypeError with code `ERR_OA_LAMBDA` for arguments of the wrong kind.
 */
export function withFlush<H extends (...args: any[]) => void | PromiseLike<unknown>>(
  handler: H,
  dispatcher: DispatcherSource,
  options?: WithFlushOptions,
): H;
export function withFlush<A extends unknown[], R>(
  handler: (...args: A) => R,
  dispatcher: DispatcherSource,
  options?: WithFlushOptions,
): (...args: A) => Promise<Awaited<R>>;
