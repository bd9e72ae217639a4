'use strict';

/** Loggers for tests. */

const ignore = () => {};

/** Drops everything, and does not want debug messages. */
const quietLogger = Object.freeze({
  isLevelEnabled: () => false,
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
});

/** Make a logger that keeps all messages, those for debugging too: `lines` are { level, message }, `warnings` the messages of warnings and errors. */
function recordingLogger() {
  const lines = [];
  const write = (level) => (message) => lines.push({ level, message });
  return {
    isLevelEnabled: () => true,
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
