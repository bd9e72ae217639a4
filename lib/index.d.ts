/**
 * Delivers the decisions of the Optimizely Feature Experimentation SDK to Amplitude.
 *
 * Durations and times are in milliseconds, sizes in bytes, and counts are counts of decisions unless stated otherwise.
 */

import type {
  AnyNotification,
  DecisionNotification,
  DecisionType,
  OptimizelyClient,
} from './optimizely.js';

import type { AmplitudeLogger, LogLevel, Logger } from './logger.js';
import type { SpoolOptions, SpoolStats } from './spool.js';
import type { DedupeOptions, StoreStats } from './store.js';

export * from './optimizely.js';
export type { AmplitudeLogger, LogLevel, Logger } from './logger.js';
export type { SpoolOptions, SpoolStats } from './spool.js';
export type { DedupeOptions, ExposureStore, StoreClient, StoreSend, StoreStats } from './store.js';

declare global {
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
}

/** The `code` of every error that this package throws. */
export type ErrorCode =
  /** No engine loads, or not the one that is asked for: thrown by `createDispatcher()` and `createAudiences()`. */
  | 'ERR_OA_ADDON'
  /** `attach()` of something that is not a client of the Optimizely SDK. */
  | 'ERR_OA_CLIENT'
  /** `attach()`, or `webhook()` of audiences, after `close()`. */
  | 'ERR_OA_CLOSED'
  /** `withFlush()` with an argument of the wrong kind. */
  | 'ERR_OA_LAMBDA'
  /** No memory, or no libcurl. */
  | 'ERR_OA_NATIVE'
  /** An option or argument is wrong, misspelt or missing. */
  | 'ERR_OA_OPTION';

/** Create a dispatcher. Throws a TypeError with code `ERR_OA_OPTION` that names the option that is wrong. */
export function createDispatcher<T extends DecisionType = 'flag'>(
  options: DispatcherOptions<T>,
): Dispatcher;

/**
 * Close a dispatcher when the process gets SIGTERM or SIGINT: run `before`, deliver what is left, and then let the
 * signal end the process. A second signal ends it at once.
 *
 * May be called for several dispatchers; the process ends when each is closed. Listeners of the application's own are
 * called, too, and servers that they close are waited for; while one listens, the process ends with the exit code of
 * the signal, such as 143, and not by the signal itself. Works in the main thread only.
 *
 * Returns a function that removes the listeners. Throws a TypeError with code `ERR_OA_OPTION` for arguments of the
 * wrong kind.
 */
export function closeOnSignal(dispatcher: Dispatcher, options?: CloseOnSignalOptions): () => void;

export interface CloseOnSignalOptions {
  /**
   * The application's own drain, such as `() => server.close()`. Decisions that it still makes are delivered. It may
   * take up to `flushTimeoutMillis`: until the promise that it returns is settled, or the callback that it takes is
   * called, and the servers that it closes have closed. Idle connections of such HTTP servers are closed, and all
   * connections after half of that time.
   */
  before?: ((done: (error?: Error | null) => void) => unknown) | undefined;
}

/** The version of this package, its engine and the libraries in that: for bug reports and inventories. */
export function info(): Info;

export interface Info {
  /** Of this package. */
  version: string;
  /** What runs: the native addon, or WebAssembly where none fits. */
  engine: 'native' | 'wasm';
  /** Why it is this one. */
  engineReason: string;
  /** The file of the native addon; null for WebAssembly. */
  addon: string | null;
  /** Whether the engine is one of those that came with the package. */
  prebuilt: boolean;
  /**
   * What the engine is linked with: libcurl and its own libraries (in the addon), cJSON, xxHash. Licences by their SPDX names, where
   * known.
   */
  libraries: { name: string; version: string; license: string | null }[];
}

/**
 * - `event`: a `$identify` that sets the user property, and an event;
 * - `merged`: an event that sets the user property by itself;
 * - `exposure`: Amplitude Experiment's `$exposure`, which Amplitude does not count in event volume;
 * - `identify`: the `$identify` alone.
 */
export type Format = 'event' | 'merged' | 'exposure' | 'identify';

/** `T`: the types of decisions that `decisionTypes` names, and so the types that callbacks get. */
export interface DispatcherOptions<T extends DecisionType = 'flag'> {
  /** The API key of the Amplitude project. */
  apiKey: string;

  /** Where the Amplitude project lives. Default: `'US'`. */
  serverZone?: 'US' | 'EU' | undefined;

  /**
   * Use Amplitude's Batch API (requests up to 20 MB, a throttled user waits 15 s) instead of HTTP V2
   * (1 MB, 30 s). Default: `false`.
   */
  useBatch?: boolean | undefined;

  /**
   * The whole URL to post to, with its path, and a query if it needs one; it replaces the one that `serverZone` and
   * `useBatch` imply. `useBatch`, or a path that ends in `/batch`, still sets the limits of the Batch API. Must not
   * contain user name and password.
   */
  serverUrl?: string | undefined;

  /**
   * The shortest user or device id, in characters, from 1 to 1024. Sent to Amplitude, and applied before
   * sending: a shorter id is left out, and a decision without another one is counted as `invalid`. Default: 5, as
   * Amplitude's own.
   */
  minIdLength?: number | undefined;

  /** The number of events that starts a request at once, from 1. Default: 200. */
  flushQueueSize?: number | undefined;

  /**
   * The longest wait of a decision before a request starts, in ms, from 0 to 2^31-1; up to a tenth more or less for
   * each batch. Default: 10,000.
   */
  flushIntervalMillis?: number | undefined;

  /**
   * How many failures, while others are accepted, before a decision is dropped as `retries_exhausted`; from 1 to
   * 65,535. Failures in an outage do not count. Default: 12.
   */
  flushMaxRetries?: number | undefined;

  /**
   * How many requests may be under way at the same time, from 1 to 8: more where a long round trip bounds what is
   * delivered, which is above some 6,000 decisions a second at 150 ms. They carry different users, so the order of each
   * user is kept; while the server is in trouble, there is one. Default: 1.
   */
  maxConcurrent?: number | undefined;

  /**
   * How long an undelivered decision is kept, in an outage or while the configuration is wrong, in ms, from 1 to 7
   * days. Then it is dropped as `expired`, or as `invalid_api_key`. Default: 24 hours.
   */
  maxAgeMillis?: number | undefined;

  /** The deadline of `flush()` and `close()` that have none of their own, in ms, from 0 to 2^31-1. Default: 10,000. */
  flushTimeoutMillis?: number | undefined;

  /**
   * The longest time for one HTTP request and its answer, in ms, from 1 to 2^31-1; connecting takes 4,000 of it at
   * most. Default: 10,000.
   */
  requestTimeoutMillis?: number | undefined;

  /**
   * The most memory for undelivered decisions, in bytes, 1024 or more. What does not fit is dropped
   * as `queue_full`, or waits on disk with a `spool`. Default: 64 MiB.
   */
  maxQueueBytes?: number | undefined;

  /**
   * Keep what is undelivered in a directory, so that a crash, a kill or an outage loses nothing of it. Linux, native
   * addon. Default: `false`.
   */
  spool?: false | SpoolOptions | undefined;

  /** Compress request bodies with gzip, until a server refuses that with 400 or 415. Default: `true`. */
  compression?: boolean | undefined;

  /** Send an exposure once in a window; `false` sends every decision. Default: 24 h, 1,000,000 entries. */
  dedupe?: false | DedupeOptions | undefined;

  /**
   * What a decision becomes: a format, or several that go together, such as `['exposure', 'identify']`; `'exposure'` goes
   * with each of the others. Default: `'event'`.
   */
  format?: Format | readonly Format[] | undefined;

  /**
   * The type of the event in the formats `event` and `merged`, up to 1024 characters; `false` is `format: 'identify'`.
   * Default: `'Experiment Viewed'`.
   */
  eventType?: string | false | undefined;

  /** What the name of the user property begins with; the flag's key follows. Default: `'[Optimizely] '`. */
  propertyPrefix?: string | undefined;

  /**
   * The user property's value when the flag is off: the word `off`, or the key of the variation, which distinguishes an
   * experiment's control arm from a flag that is off for all users. Default: `'off'`.
   */
  disabledValue?: 'off' | 'variation' | undefined;

  /** The types of notifications that are sent; others are counted as `ignored`. Default: `['flag']`. */
  decisionTypes?: readonly T[] | undefined;

  /**
   * Returns the decision's user in Amplitude, and fields of its events, or null to keep the decision out. Default: the
   * notification's `userId` is the user id. If it throws, the decision is counted as `invalid`.
   */
  resolveUser?: ((notification: DecisionNotification<T>) => AmplitudeUser | null) | undefined;

  /** Properties to add to the event's own. If it throws, or returns what is not JSON, the decision is sent without them. */
  eventProperties?: EnrichmentCallback<T> | undefined;

  /** Properties to set with the user property. If it throws, or returns what is not JSON, the decision is sent without them. */
  userProperties?: EnrichmentCallback<T> | undefined;

  /**
   * Called with each event, without `insert_id` and `event_id`, before it is queued: returns the event, changed or not, or null to keep it out. If it throws,
   * or returns anything else, the decision is not sent, and counted as `invalid`. For redaction; it costs more than all
   * the rest of a decision.
   */
  beforeSend?: ((event: AmplitudeEvent) => AmplitudeEvent | null) | undefined;

  /**
   * Which decisions are sent: all, or those of experiments and holdouts, without rollouts (targeted deliveries) and users
   * in no rule. A decision whose rule cannot be found out is sent, and the log says so once. Default: `'all'`.
   */
  send?: 'all' | 'experiments' | undefined;

  /** @deprecated The older name of `send`: `false` is `'experiments'`, `true` is `'all'`. It must not contradict `send`. */
  includeRollouts?: boolean | undefined;

  /** Amplitude's account-level groups, for every event: at most 5 types and 10 names in all. Default: none. */
  groups?: Readonly<Record<string, string | readonly string[]>> | undefined;

  /** What sends the events, for Amplitude's data management: in every event. Default: none. */
  ingestionMetadata?:
    { sourceName?: string | undefined; sourceVersion?: string | undefined } | undefined;

  /** The tracking plan that the events follow: in every event. Default: none. */
  plan?:
    | {
        branch?: string | undefined;
        source?: string | undefined;
        version?: string | undefined;
        versionId?: string | undefined;
      }
    | undefined;

  /** The id that Amplitude has given to a partner: in every event. Default: none. */
  partnerId?: string | undefined;

  /** Start without sending: decisions are counted as dropped (`opted_out`) and not stored. Default: `false`. */
  optOut?: boolean | undefined;

  /**
   * Where messages go. Warnings and errors are logged once for each cause, and then at most once a minute.
   * Default: the console.
   */
  logger?: Logger | AmplitudeLogger | undefined;

  /** A second name of `logger`, as in Amplitude's own SDK. */
  loggerProvider?: Logger | AmplitudeLogger | undefined;

  /**
   * The least important messages that are logged: `'debug'` has lines for every decision. A number is a `LogLevel` of
   * Amplitude's own SDK. Default: what the logger has enabled, if it can tell (pino, winston, log4js, bunyan), and
   * otherwise `'warn'`.
   */
  logLevel?: LogLevel | 0 | 1 | 2 | 3 | 4 | undefined;

  /** Called with decisions that will not be delivered, not more than 64 at a time. */
  onDrop?: ((drop: Drop) => void) | undefined;

  /**
   * The URL of a proxy (http, https, socks4, socks4a, socks5 or socks5h), with user name and password if
   * it needs them; `''` for none. Default: `https_proxy`, `HTTPS_PROXY`, `http_proxy` (for http only),
   * `all_proxy` or `ALL_PROXY` of the environment, read when the dispatcher is created.
   */
  proxy?: string | undefined;

  /**
   * Hosts to reach without the proxy, separated by commas: `example.com` and all below it, `*.example.com`, `127.*`,
   * `10.0.0.0/8`, any of these with a port, or `*` for all. Default: `no_proxy` or `NO_PROXY` of the environment.
   */
  noProxy?: string | undefined;

  /**
   * The path of a file of CA certificates (PEM) to trust. Default: what Node.js trusts when the first request is sent.
   * `NODE_TLS_REJECT_UNAUTHORIZED=0` is not obeyed.
   */
  caFile?: string | undefined;

  /**
   * What runs the dispatcher. Default: `OA_ENGINE` of the environment, or the native addon where one fits, and
   * WebAssembly elsewhere. `'native'` throws where none does.
   */
  engine?: 'native' | 'wasm' | undefined;
}

/**
 * A user in Amplitude: at least one of the two ids, of `minIdLength` to 1024 characters; null and `''` are none. An id
 * that Amplitude would refuse is left out beside a good one.
 */
export interface AmplitudeUser {
  userId?: string | null | undefined;
  deviceId?: string | null | undefined;

  // Fields of the decision's events. Null and `''` are none; one that is wrong is left out, counted and logged.

  /** The start of the user's session in ms, as the browser or app has it; -1: none. Without it the events are in none. */
  sessionId?: number | null | undefined;
  appVersion?: string | null | undefined;
  platform?: string | null | undefined;
  country?: string | null | undefined;
  language?: string | null | undefined;
  /** The user's IPv4 or IPv6 address, from which Amplitude finds out the place. */
  ip?: string | null | undefined;
  /** In place of those of the option `groups`. */
  groups?: Readonly<Record<string, string | readonly string[]>> | null | undefined;
}

/** The user of an event, and its fields, under the names of Amplitude's HTTP API. */
export interface EventOptions {
  user_id?: string | null | undefined;
  device_id?: string | null | undefined;
  /** In ms since 1970. */
  time?: number | undefined;
  session_id?: number | undefined;
  /** Amplitude counts an event that it has seen in the last 7 days once. Default: unique. */
  insert_id?: string | undefined;
  [field: string]: any;
}

export interface AmplitudeEvent extends EventOptions {
  event_type: string;
  event_properties?: Record<string, any> | undefined;
  user_properties?: Record<string, any> | undefined;
}

export type EnrichmentCallback<T extends DecisionType = 'flag'> = (
  notification: DecisionNotification<T>,
  rule: DecisionRule,
) => Record<string, unknown> | undefined;

/** The rule that decided, which is not in a notification. */
export interface DecisionRule {
  /**
   * Null: no rule (a forced decision, a user in no rule), or a rule whose kind is unknown: one that is not in the
   * datafile, or of a listener that was registered by hand.
   */
  readonly ruleType: RuleType | null;
}

export type RuleType = 'experiment' | 'rollout' | 'holdout';

export interface Dispatcher {
  /**
   * Listen to the decisions of a client of the Optimizely SDK v4, v5 or v6, before or after it is ready. A
   * client that is attached already is not attached again, but its listeners are, if they were cleared. The client is
   * not kept in memory.
   *
   * Returns a function that stops listening. Throws a TypeError with code `ERR_OA_CLIENT` for anything else, and
   * an Error with code `ERR_OA_CLOSED` after `close()`.
   */
  attach(optimizelyClient: OptimizelyClient): () => void;

  /**
   * The listener itself, if you register it yourself. Needs no `this`; never throws. It does not know the client, and so
   * neither the kind of rule that decided on a flag; `attach()` does.
   */
  onDecision(this: void, notification: AnyNotification): void;

  /**
   * Send what is waiting at once. Resolves when every decision that was accepted before the call is settled, at the
   * deadline, or as soon as nothing more can happen before it; what is pending then stays queued, and is tried again.
   *
   * A server that is down is tried at most once a second, or once in an eighth of the back-off, and a `Retry-After` is
   * respected. Drops nothing, and never rejects.
   */
  flush(options?: FlushOptions): Promise<FlushReport>;

  /**
   * Detach from all clients, flush, and free everything; what is pending when the flush is over is dropped as
   * `closed`, or stays in the `spool`. Calls after the first return the same promise. Never rejects.
   */
  close(options?: CloseOptions): Promise<FlushReport>;

  /** As `close()`, for `await using`. Exists where Node.js has the symbol: not before 18.18. */
  [Symbol.asyncDispose](): Promise<void>;

  /**
   * Send an event of the application's own: in the same queue as decisions, with the same guarantees, and in their order
   * for each user. Takes what `track()` of Amplitude's SDK for Node.js takes. Never throws: an event that is wrong is
   * counted in `stats().tracked.invalid`, and logged.
   */
  track(
    eventType: string,
    eventProperties?: Record<string, any> | null,
    eventOptions?: EventOptions | null,
  ): void;
  track(
    event: AmplitudeEvent,
    eventProperties?: Record<string, any> | null,
    eventOptions?: EventOptions | null,
  ): void;

  /**
   * Set properties of a user: an object of properties, an object of operations such as `{ $setOnce: { ... } }`, or an
   * `Identify` of Amplitude's SDK. As `track()` otherwise.
   */
  identify(
    userProperties: Record<string, any> | { getUserProperties(): Record<string, any> },
    eventOptions?: EventOptions | null,
  ): void;

  /** Counts since the dispatcher was created. Works after `close()` too. */
  stats(): Stats;

  /**
   * Stop or start sending, according to the user's consent. Decisions that are queued already are sent; `purge` deletes
   * them instead, those of a spool too, as `opted_out`.
   */
  setOptOut(optOut: boolean, options?: { purge?: boolean | undefined }): void;
}

export interface CloseOptions {
  /** The deadline in ms, from 0 to 2^31-1. Default: the option `flushTimeoutMillis`. */
  timeoutMillis?: number | undefined;
}

export interface FlushOptions extends CloseOptions {
  /**
   * Abort the request that is in flight at the deadline, and put its decisions back, which is no failure: for a
   * process that is about to be frozen. Default: `false`.
   */
  abort?: boolean | undefined;
}

/**
 * The outcome of the decisions, and events of `track()`, that were undelivered when `flush()` or `close()` was called. A
 * decision that a store knows as a repeat is in none of the three.
 */
export interface FlushReport {
  readonly delivered: number;
  readonly dropped: number;
  readonly pending: number;
  readonly durationMillis: number;
}

/**
 * Counts of decisions add up at every moment: `seen = ignored + invalid + deduplicated + accepted` and
 * `accepted = delivered + dropped.total + pending`.
 */
export interface Stats {
  readonly decisions: {
    /** Notifications that came in. */
    readonly seen: number;
    /** Of a type that is not in `decisionTypes`, or kept out by `resolveUser`, `beforeSend` or `send`. */
    readonly ignored: number;
    /** Without what is needed, or with ids that Amplitude refuses only. */
    readonly invalid: number;
    /** Sent in this window already. */
    readonly deduplicated: number;
    /** With a store it decreases by what turns out to be a repeat, as `deduplicated` grows. */
    readonly accepted: number;
    readonly delivered: number;
    /** Waiting, in flight, or to be tried again. */
    readonly pending: number;
    readonly dropped: { readonly total: number } & { readonly [reason in DropReason]: number };
  };
  /** Events of `track()` and `identify()`: `seen = ignored + invalid + accepted`, and accepted as for decisions. */
  readonly tracked: {
    readonly seen: number;
    /** Kept out by `beforeSend`. */
    readonly ignored: number;
    /** Not an event, or with ids that Amplitude refuses only. */
    readonly invalid: number;
    readonly accepted: number;
    readonly delivered: number;
    readonly pending: number;
    readonly dropped: { readonly total: number } & { readonly [reason in DropReason]: number };
  };
  /** What was left out of decisions, and of events of `track()`, because Amplitude would refuse it. */
  readonly leftOut: {
    /** Ids, beside a good one. */
    readonly ids: number;
    /** Event fields that `resolveUser` returned, or that were given to `track()` and `identify()`. */
    readonly fields: number;
    /** What `eventProperties` and `userProperties` returned, each as a whole. */
    readonly properties: number;
    /** Events that `beforeSend` kept out of decisions that were sent otherwise. */
    readonly events: number;
  };
  readonly requests: {
    readonly sent: number;
    /** Of these, with decisions that an earlier request carried. */
    readonly retried: number;
    /** Of these, not accepted, or not answered. */
    readonly failed: number;
    /** The bodies, as sent. */
    readonly bytes: number;
  };
  readonly events: {
    /** In requests that were accepted: answered with 2xx, and on Amplitude's own hosts with `"code":200`. */
    readonly sent: number;
  };
  /** The store of exposures; null without one. */
  readonly store: StoreStats | null;
  /** The spool; null without one. */
  readonly spool: SpoolStats | null;
  readonly queue: {
    readonly bytes: number;
    /** The peak of `bytes`. */
    readonly highWaterBytes: number;
  };
  /** The last failure, which stays after the next success. */
  readonly lastError: {
    readonly message: string;
    /** Of the answer; 0 if there was none. */
    readonly statusCode: number;
    /** When it happened, in ms since 1970. */
    readonly time: number;
  } | null;
  /**
   * The state of the server; in each of them decisions are kept for `maxAgeMillis`.
   * - `ok`: it accepts requests, or there was none;
   * - `retrying`: it is down, and is tried again;
   * - `configuration`: it refuses every request, for something that has to be fixed: the URL, the API key, a firewall.
   */
  readonly health: 'ok' | 'retrying' | 'configuration';
  /** Failures of the server since the last success. */
  readonly failuresInARow: number;
  /** When the first of them failed, in ms since 1970; null without any. */
  readonly failingSince: number | null;
  /** The age of the oldest pending decision, in ms; 0 when none is pending. */
  readonly oldestPendingMillis: number;
}

/**
 * Why a decision is not delivered:
 * - `invalid_event`: Amplitude refused it;
 * - `invalid_api_key`: it became older than `maxAgeMillis` while Amplitude did not accept the API key;
 * - `payload_too_large`: it alone is too large for a request;
 * - `quota_exceeded`: its user or device is over Amplitude's quota of a day;
 * - `retries_exhausted`: it failed `flushMaxRetries` times, while others were accepted;
 * - `expired`: it became older than `maxAgeMillis`, in an outage, or with a user who is throttled all the time;
 * - `queue_full`: more than `maxQueueBytes` are undelivered;
 * - `opted_out`: `optOut` or `setOptOut()`;
 * - `closed`: it came after `close()`, or was still pending when `close()` was over, without a spool.
 */
export type DropReason =
  | 'invalid_event'
  | 'invalid_api_key'
  | 'payload_too_large'
  | 'quota_exceeded'
  | 'retries_exhausted'
  | 'expired'
  | 'queue_full'
  | 'opted_out'
  | 'closed';

export interface Drop {
  readonly reason: DropReason;
  /** The reason in words, with the server's error text. */
  readonly message: string;
  /** Of the answer; 0 if there was none. */
  readonly statusCode: number;
  readonly decisions: DroppedDecision[];
  /** Events of `track()` and `identify()`, as they were to be sent. */
  readonly events: DroppedEvent[];
}

export interface DroppedEvent extends AmplitudeEvent {
  readonly insert_id: string;
  readonly time: number;
}

export interface DroppedDecision {
  readonly userId?: string;
  readonly deviceId?: string;
  readonly flagKey: string;
  readonly variationKey: string | null;
  readonly ruleKey: string | null;
  readonly enabled: boolean;
  /** When it was made, in ms since 1970. */
  readonly time: number;
  /** `''` for a decision that was refused before it had one: `opted_out`, or made after `close()`. */
  readonly insertId: string;
}
