/**
 * Sends the decisions of Optimizely's SDK in a browser, through `@amplitude/analytics-browser` of the page.
 *
 * Durations are in milliseconds.
 */

import type { DecisionNotification, OptimizelyClient } from '../optimizely.js';

/**
 * Listen to the decisions of a client of the Optimizely SDK v5 or v6, or of its React SDK, and send each exposure once
 * in a window. Both may be ready already, or later: decisions wait until Amplitude is initialised, up to 200 different
 * ones. Attaching twice sends nothing twice.
 *
 * Returns a function that stops listening. Throws a TypeError with code `ERR_OA_OPTION` or `ERR_OA_CLIENT`, which says
 * what is wrong; the listener itself never throws.
 */
export function attachAmplitude(
  optimizely: OptimizelyClient,
  amplitude: BrowserAmplitude,
  options?: BrowserOptions,
): () => void;

/**
 * Resolve to the device id of Amplitude as soon as it is initialised: the id of an anonymous visitor for Optimizely. It
 * waits as long as that takes, such as for consent.
 */
export function getDeviceId(amplitude: BrowserAmplitude): Promise<string>;

/** `@amplitude/analytics-browser`, or an instance of `createInstance()`: the members that are used here. */
export interface BrowserAmplitude {
  // Their own parameters differ from one version to the next; `never` stands for all of them.
  track(event: never): unknown;
  add(plugin: never): unknown;
  getUserId(): string | undefined;
  getDeviceId(): string | undefined;
}

/** Those of `createDispatcher()` that have a meaning in a browser. */
export interface BrowserOptions {
  /** What a decision becomes, as in `createDispatcher()`. Default: `'event'`. */
  format?: BrowserFormat | readonly BrowserFormat[] | undefined;

  /** The type of the event in the formats `event` and `merged`. Default: `'Experiment Viewed'`. */
  eventType?: string | undefined;

  /** What the name of the user property begins with; the flag's key follows. Default: `'[Optimizely] '`. */
  propertyPrefix?: string | undefined;

  /** The user property's value when the flag is off: the word `off`, or the key of the variation. Default: `'off'`. */
  disabledValue?: 'off' | 'variation' | undefined;

  /** Which decisions are sent: all, or without rollouts and users in no rule, as in `createDispatcher()`. Default: `'all'`. */
  send?: 'all' | 'experiments' | undefined;

  /** Send an exposure once in a window, from 1 ms; `false` sends every decision. Default: 24 h. */
  dedupe?: false | { windowMillis?: number | undefined } | undefined;

  /**
   * Returns the decision's user in Amplitude, or null to keep the decision out. Without ids it belongs to the
   * user of Amplitude's SDK. Default: the notification's `userId` is the user id.
   */
  resolveUser?: ((notification: DecisionNotification<'flag'>) => BrowserUser | null) | undefined;
}

export type BrowserFormat = 'event' | 'merged' | 'exposure' | 'identify';

export interface BrowserUser {
  userId?: string | null | undefined;
  deviceId?: string | null | undefined;
}
