/** What is remembered of exposures: the option `dedupe`, with the store that a fleet shares. */

export interface DedupeOptions {
  /** How long an exposure is not sent again, in ms, from 1 to 365 days. Default: 24 h. */
  windowMillis?: number | undefined;

  /**
   * After how long a repeat sets the user property again, without an event, in ms, from 1 to 365 days; up to a quarter
   * less for each user. Another process may have set another value meanwhile. Without effect when it is not less than
   * `windowMillis`. Default: 1 h.
   */
  refreshMillis?: number | undefined;

  /** How many exposures are remembered, from 1 to 2^31-1; the ones that are forgotten may be sent again. Default: 1,000,000. */
  maxEntries?: number | undefined;

  /**
   * A memory of exposures in Redis or Valkey that all processes of a fleet share: what one has sent, none sends again,
   * and a change anywhere is a change everywhere. A client alone, or a function `send`, is short for `{ client }` or
   * `{ send }`. Default: none; each process remembers what it sent itself.
   */
  store?: ExposureStore | StoreClient | StoreSend | undefined;
}

/** The application's own connection to Redis or Valkey: `client`, or `send` for any other client. */
export interface ExposureStore {
  /** A client of `redis`, `ioredis`, `iovalkey`, `@valkey/valkey-glide` or `@upstash/redis`, also of a cluster. */
  client?: StoreClient | undefined;

  /** Sends a command to the node that has `routingKey`, such as `['EVALSHA', ...]`, and returns its reply. */
  send?: StoreSend | undefined;

  /** What the names of keys begin with: 1 to 64 letters, digits, or any of `_.:-`. Default: `'oa'`. */
  prefix?: string | undefined;

  /** Over how many slots of a cluster the keys are spread, from 1 to 1024; the same in the whole fleet. Default: 1. */
  buckets?: number | undefined;

  /**
   * How long an answer is waited for, in ms, from 1 to 2^31-1, and the first one at least 500, since the client may still
   * connect; without an answer, decisions are sent. Default: 50.
   */
  timeoutMillis?: number | undefined;
}

export type StoreSend = (argv: string[], routingKey: string) => Promise<unknown>;

/** The method by which a client is known; the first that it has is used. */
export type StoreClient =
  | { customCommand(args: any, ...rest: any[]): Promise<unknown> }
  | { call(command: any, ...args: any[]): Promise<unknown> }
  | { sendCommand(...args: any[]): Promise<unknown> }
  | { evalsha(...args: any[]): Promise<unknown>; eval(...args: any[]): Promise<unknown> };

/** Counts and state of the store of exposures. */
export interface StoreStats {
  /** Questions that were answered, each about all exposures of a request. */
  readonly checks: number;
  /** Decisions that were taken back as repeats, by the store or while it did not answer. */
  readonly repeats: number;
  /** Properties that were set again, since another process sent another value at the same time. */
  readonly conflicts: number;
  /** Calls that failed or took too long. */
  readonly failures: number;
  /** Calls that were not made for some seconds after a failure. */
  readonly skipped: number;
  /**
   * - `ok`: it answers and can be written to, or was not needed yet;
   * - `failing`: it does not, or not all of it. Each process goes by what it sent itself, and the store is tried again.
   */
  readonly state: 'ok' | 'failing';
  /** The last failure, which stays after the next success. */
  readonly lastError: {
    /** What the client's promise rejected with, or that there was no answer in time; 400 characters at most. */
    readonly message: string;
    /** When it happened, in ms since 1970. */
    readonly time: number;
  } | null;
}
