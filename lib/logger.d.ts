/** Loggers that a dispatcher writes to: the options `logger`, `loggerProvider` and `logLevel`. */

export type LogLevel = 'none' | 'error' | 'warn' | 'info' | 'debug';

/** Messages are plain text. Errors of these functions are ignored. */
export interface Logger {
  /** As in pino, winston and log4js; called once, with `'debug'`, and only without `logLevel`. */
  isLevelEnabled?(level: string): boolean;
  /** As in winston and log4js, and likewise, if there is no `isLevelEnabled()`. */
  isDebugEnabled?(): boolean;
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** A logger of Amplitude's own SDK, which has `log()` in place of `info()`. */
export interface AmplitudeLogger {
  debug(message: string): void;
  log(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}
