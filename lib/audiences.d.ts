import type { DispatcherOptions } from './index.js';
import type { StoreClient, StoreSend } from './store.js';

/** A client of the Optimizely SDK v4, v5 or v6: the member that is used here. */
export interface UserContextClient {
  createUserContext(userId: never, attributes?: never): unknown;
}

export interface AudiencesOptions<Name extends string = string> {
  /**
   * Which cohort becomes which attribute: `{ attribute: cohort }`, at most 100. With the source `amplitude` a cohort is
   * the id that is in the address of its page, such as `7khm89cz`; with `file` it is the path of a file, or of the
   * exports of one cohort in a directory, such as `/data/*_7khm89cz_*`.
   */
  cohorts: Record<Name, string>;

  /**
   * Where the members come from. `amplitude` (the default) downloads them from Amplitude, or from an Evaluation Proxy.
   * `behavioral` uses Amplitude's Behavioral Cohorts API, which allows 500 downloads a month: for a first list, and
   * repair, while a webhook tells the changes.
   * `file` reads files that something else replaces: `.json` as Amplitude's API sends it or an array of ids, `.csv` with
   * a column `user_id`, `.txt` with an id on each line; each may be compressed, as `.csv.gz`. It also reads a directory
   * into which a job copies Amplitude's cohort exports to S3.
   */
  source?: 'amplitude' | 'behavioral' | 'file' | undefined;

  /** The API key of the Amplitude project. Required, but for the source `file`. */
  apiKey?: string | undefined;

  /**
   * The secret key of the same project. Required, but for the source `file`; there, with a `store`, any text that
   * all processes share and nobody else knows.
   */
  secretKey?: string | undefined;

  /** Where the project is: `US` (the default) or `EU`. */
  serverZone?: 'US' | 'EU' | undefined;

  /** The URL of an Evaluation Proxy, or of another server with this API: `/sdk/v1/cohort/` is added to it. */
  serverUrl?: string | undefined;

  /**
   * How often each cohort is asked for, in ms. Default: 60000, which is the least on Amplitude's own hosts; for the source
   * `behavioral` a day, and at least 90 minutes for each cohort. What has not changed is not downloaded again.
   */
  pollIntervalMillis?: number | undefined;

  /** Members are `stale` when they were not confirmed for so long, in ms; they are still used. Default: 3 hours; for `behavioral` 3 days. */
  staleAfterMillis?: number | undefined;

  /** Members are not used any more when they were not confirmed for so long, in ms. Default: they always are. */
  maxStaleMillis?: number | undefined;

  /** A cohort with more members is refused. Default: 50 million; each takes about 6 bytes of memory. */
  maxMembers?: number | undefined;

  /**
   * Keep the members of a cohort that loses more than this share of them at once: true for half. They are kept until
   * the cohort has more again, but no longer than `staleAfterMillis`. Default: false.
   */
  holdShrink?: boolean | number | undefined;

  /**
   * Keep the members in a file of this directory, so that the next process has them at once, also while Amplitude
   * does not answer. The directory is made; it belongs to one application. Default: none.
   */
  snapshot?: { directory: string } | undefined;

  /**
   * Share the members of a fleet through Redis or Valkey: one process asks the source, and the others read what it
   * wrote; a message of the webhook reaches all of them. A client alone, or a function `send`, is short for
   * `{ client }` or `{ send }`. Hashes of user ids are written there, made with `secretKey`, and no ids. Default:
   * none; each process asks the source itself.
   */
  store?: CohortStore | StoreClient | StoreSend | undefined;

  /** Called when a cohort has other members, or is in another state. */
  onChange?: ((change: CohortChange<Name>) => void) | undefined;

  /** The URL of a proxy, or `''` for none. Default: the usual environment variables. */
  proxy?: string | undefined;

  /** Hosts that are reached without the proxy, separated by commas. Default: the usual environment variables. */
  noProxy?: string | undefined;

  /** A file of CA certificates (PEM) to trust instead of those that Node.js trusts. */
  caFile?: string | undefined;

  /** Where the log goes. Default: warnings and errors go to the console. */
  logger?: DispatcherOptions['logger'];

  /** A second name of `logger`. */
  loggerProvider?: DispatcherOptions['loggerProvider'];

  /** The least that is logged. Default: what the logger is set to, or `warn`. */
  logLevel?: DispatcherOptions['logLevel'];
}

/** The application's own connection to Redis or Valkey: `client`, or `send` for any other client. */
export interface CohortStore {
  /** A client of `redis`, `ioredis`, `iovalkey`, `@valkey/valkey-glide` or `@upstash/redis`, also of a cluster. */
  client?: StoreClient | undefined;

  /** Sends a command to the node that has `routingKey`, such as `['EVALSHA', ...]`, and returns its reply. */
  send?: StoreSend | undefined;

  /** What the names of keys begin with: 1 to 64 letters, digits, or any of `_.:-`. Default: `'oa'`. */
  prefix?: string | undefined;
}

/**
 * - `loading`: nothing is known yet; the attribute is left out.
 * - `refused`: nothing is known, and the source has said why; the attribute is left out.
 * - `fresh`: the members are those of the source.
 * - `stale`: they were not confirmed for `staleAfterMillis`; they are used.
 * - `held`: the source has so many fewer that the previous ones are kept; see `holdShrink`.
 * - `expired`: they were not confirmed for `maxStaleMillis`; the attribute is left out.
 */
export type CohortState = 'loading' | 'refused' | 'fresh' | 'stale' | 'held' | 'expired';

export interface CohortStatus {
  cohortId: string;
  state: CohortState;
  /** The number of members; null before they are loaded. */
  size: number | null;
  /** When the source says that the cohort has changed, in ms since the epoch; null when it did not say. */
  lastModified: number | null;
  /** How long ago the source had these members; null before they are loaded. */
  ageMillis: number | null;
  /**
   * Where the members come from; `store` when another process of the fleet asked the source; `snapshot` when another
   * process of the machine did, or one before this.
   */
  source: 'amplitude' | 'behavioral' | 'file' | 'store' | 'snapshot';
  /** The bytes of the last download, as they came. */
  bytes: number;
  /** Why the last refresh failed; null when it did not. `statusCode` is 0 without an answer, and for a file. */
  lastError: { message: string; statusCode: number; time: number } | null;
}

export interface AudiencesStatus<Name extends string = string> {
  cohorts: Record<Name, CohortStatus>;
  /** The users that are in at least one of the cohorts, without what messages have changed since the last merge. */
  users: number;
  /** The memory of all members. */
  bytes: number;
  /** What the webhook got; null without one. */
  webhook: WebhookStatus | null;
  /** The downloads of this month (UTC) of the source `behavioral`; null for others. */
  downloads: { month: string; used: number; limit: number } | null;
  /** The store that a fleet shares; null without one. */
  store: CohortStoreStatus | null;
}

export interface CohortStoreStatus {
  /** `failing`: it does not answer, or not to all; this process keeps the members that it has. */
  state: 'ok' | 'failing';
  /** Whether this process asks the source for all. */
  isLeader: boolean;
  /** Messages of the webhook, of whatever process, that were applied here. */
  messages: number;
  /** The last failure, which stays after the next success; 400 characters of its message at most. */
  lastError: { message: string; time: number } | null;
}

export interface WebhookStatus {
  /** Messages that were applied. */
  messages: number;
  /** Messages that came again, by their `message_id`. */
  repeats: number;
  /** Users in messages, for whom a later change was known. */
  late: number;
  /** Messages of cohorts that no attribute has; they are answered with 200. */
  otherCohorts: number;
  /** Requests that were answered with something else than 200. */
  refused: number;
  /** Changes that are not merged into the members yet. */
  changes: number;
}

export interface WebhookOptions<Name extends string = string> {
  /**
   * What the header has to be: at least 16 visible ASCII characters, the same as in Amplitude. Several while one is
   * replaced by another.
   */
  secret: string | readonly string[];

  /** The name of the header. Default: `x-webhook-secret`. */
  header?: string | undefined;

  /**
   * Amplitude's id of each cohort, as its messages have it. Required for the source `file`; default: the `cohorts` of
   * `createAudiences()`.
   */
  cohorts?: Partial<Record<Name, string>> | undefined;
}

/** A request of Node.js, or of Express: the members that are used. */
export interface WebhookRequest {
  method?: string | undefined;
  headers: Record<string, string | string[] | undefined>;
  on(event: string, listener: (...args: any[]) => void): unknown;
}

/** A response of Node.js, or of Express: the members that are used. */
export interface WebhookResponse {
  writeHead(status: number, headers?: Record<string, string | number>): unknown;
  end(body?: string): unknown;
}

/** A request of Fastify: the members that are used. */
export interface WebhookFastifyRequest {
  raw: WebhookRequest;
  headers: Record<string, string | string[] | undefined>;
  body?: unknown;
}

/** A reply of Fastify: the members that are used. */
export interface WebhookFastifyReply {
  raw: WebhookResponse;
  sent: boolean;
  code(status: number): { headers(values: any): unknown };
  send(body?: any): unknown;
}

/** An event of AWS Lambda, of API Gateway (payload 1.0 or 2.0), a function URL, or a load balancer: what is used of it. */
export interface WebhookEvent {
  requestContext: object;
  httpMethod?: string | undefined;
  headers?: object | null | undefined;
  multiValueHeaders?: object | null | undefined;
  body?: string | null | undefined;
  isBase64Encoded?: boolean | undefined;
}

/** What a function of AWS Lambda returns for it. */
export interface WebhookResult {
  statusCode: number;
  headers: Record<string, string>;
  multiValueHeaders?: Record<string, string[]>;
  body: string;
  isBase64Encoded: boolean;
}

/** What takes the messages of a webhook, whoever calls it. */
export interface WebhookHandler {
  (event: WebhookEvent, context?: unknown): Promise<WebhookResult>;
  (request: WebhookFastifyRequest, reply: WebhookFastifyReply): void;
  (request: WebhookRequest, response: WebhookResponse): void;
}

export interface CohortChange<Name extends string = string> {
  attribute: Name;
  cohortId: string;
  state: CohortState;
  previousState: CohortState;
  size: number | null;
  previousSize: number | null;
}

export interface Audiences<Name extends string = string> {
  /**
   * Wait until each cohort is loaded, or refused; for `timeoutMillis` at most, 10000 by default. Never rejects, and
   * resolves with what is there then.
   */
  ready(options?: { timeoutMillis?: number | undefined }): Promise<AudiencesStatus<Name>>;

  /** Whether a user is in the cohort of an attribute; undefined while that is not known. */
  has(userId: string, attribute: Name): boolean | undefined;

  /**
   * Return a new object: the attributes of a user's cohorts, without those that are not known, and `attributes`, which
   * come first where both have the same name.
   */
  attributes<A extends object = {}>(
    userId: string,
    attributes?: A,
  ): Partial<Record<Name, boolean>> & A;

  /**
   * Add the attributes to each user that `createUserContext()` of a client creates: those that the audiences of its
   * datafile name. Returns a function that ends this. Throws a TypeError with code `ERR_OA_CLIENT`, and an Error with
   * code `ERR_OA_CLOSED` after close().
   */
  attach(optimizelyClient: UserContextClient): () => void;

  /**
   * Return a handler of requests that takes the messages of Amplitude's cohort webhook: `http.createServer(handler)`,
   * `app.post(path, handler)` of Express, `fastify.post(path, handler)`, `exports.handler = handler` in AWS Lambda. They
   * change the members that are loaded, in this process, or with a `store` in all. Without options, and so without a
   * secret, it takes messages of whoever can reach it, and the log warns. Throws a TypeError with code
   * `ERR_OA_OPTION`, and an Error with code `ERR_OA_CLOSED` after close().
   */
  webhook(options?: WebhookOptions<Name>): WebhookHandler;

  /** What is known of each cohort. */
  status(): AudiencesStatus<Name>;

  /** Stop refreshing, and free all members: nothing is known any more. */
  close(): Promise<void>;

  /** As `close()`, for `await using`. Exists where Node.js has the symbol: not before 18.18. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Create audiences, which begin to load at once. They keep no process alive.
 *
 * Throws a TypeError with code `ERR_OA_OPTION` that names a bad option.
 */
export function createAudiences<Name extends string>(
  options: AudiencesOptions<Name>,
): Audiences<Name>;
