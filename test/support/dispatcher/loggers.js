'use strict';

/** Loggers for tests. */

const ignore = () => {};

/** Drops everything, and does not want each decision to be told. */
const quietLogger = Object.freeze({
  isLevelEnabled: () => false,
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
});

/** Make a logger that keeps what it is told: `lines` of { level, message }, and the messages of its `warnings` and errors. */
function recordingLogger() {
  const lines = [];
  const write = (level) => (message) => lines.push({ level, message });
  return {
    lines,
    get warnings() {
      return lines
        .filter(({ level }) => level === 'warn' || level === 'error')
        .map(({ message }) => message);
    },
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
}

module.exports = { quietLogger, recordingLogger };
