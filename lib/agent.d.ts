/**
 * Decisions of Optimizely Agent, and so of applications in any language, for a dispatcher.
 *
 * Durations and times are in milliseconds.
 */

import type { Dispatcher, DispatcherOptions } from './index.js';

/**
 * Listen to Agents, and give each of their decisions to a dispatcher, until close(). It reconnects by itself, and keeps
 * the process running.
 *
 * Throws a TypeError with code `ERR_OA_OPTION` that names the option that is wrong.
 */
export function listenToAgent(options: AgentOptions): AgentListener;

export interface AgentOptions {
  /**
   * The Agent, such as `http://agent:8080`, or several. Of Agents that share their notifications through Redis two are
   * enough, and with `dedupe: false` one.
   */
  url: string | readonly string[];

  /** The SDK key whose decisions are listened to. */
  sdkKey: string;

  /** What takes the decisions. It stays the application's: close() does not close it. */
  dispatcher: Pick<Dispatcher, 'onDecision'>;

  /** The access token of Agents that ask for one, or a function that returns one for each connection. Default: none. */
  accessToken?: string | (() => string | Promise<string>) | undefined;

  /** Where messages go, as of a dispatcher. Default: the console. */
  logger?: DispatcherOptions['logger'];

  /** A second name of `logger`. */
  loggerProvider?: DispatcherOptions['loggerProvider'];

  /** The least important messages that are logged. Default: as of a dispatcher. */
  logLevel?: DispatcherOptions['logLevel'];
}

export interface AgentListener {
  /** For each Agent, in the order of the option. */
  status(): AgentStatus[];
  /** Stop listening. Idempotent. Decisions that have arrived are with the dispatcher. */
  close(): void;
}

export interface AgentStatus {
  /** Of its stream of events. */
  url: string;
  /** `waiting`: until the next attempt to connect. */
  state: 'connecting' | 'listening' | 'waiting' | 'closed';
  /** Decisions that were given to the dispatcher. */
  decisions: number;
  /** Other notifications: conversions, and new datafiles. */
  others: number;
  /** Messages that are no JSON. */
  unreadable: number;
  /** How often it was connected to. */
  connections: number;
  /** How long nobody listened since the listener was made: what was decided meanwhile is not known. */
  awayMillis: number;
  /** Why the last connection ended, or could not be made; it stays after the next success. */
  lastError: { message: string; time: number } | null;
}
