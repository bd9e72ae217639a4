import type { Dispatcher } from './index.js';

export interface WithFlushOptions {
  /** How long before the end of the function's time the flush ends, in ms, from 0. Default: 500. */
  marginMillis?: number | undefined;
}

/**
 * Wrap a Lambda handler (async, with a callback, or streaming) so that the decisions of an invocation are
 * delivered before its result is returned, also when it throws.
 *
 * The flush takes 10 s at most, and ends `marginMillis` before `context.getRemainingTimeInMillis()` is
 * over; what is pending then stays queued for the next invocation. Delivery never fails an invocation.
 * Throws a TypeError with code `ERR_OA_LAMBDA` for arguments of the wrong kind.
 */
export function withFlush<A extends unknown[], R>(
  handler: (...args: A) => R,
  dispatcher: Dispatcher,
  options?: WithFlushOptions,
): (...args: A) => Promise<Awaited<R>>;
