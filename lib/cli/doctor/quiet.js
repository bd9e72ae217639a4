'use strict';

const ignore = () => {};
const logger = {
  isLevelEnabled: () => false,
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
};

/** Make a dispatcher for the doctor's own decisions, which logs nothing: the doctor prints what it finds. */
function createQuietDispatcher(options) {
  const { createDispatcher } = require('../../index.js'); // not before it is known that the addon loads
  return createDispatcher({ ...options, logger });
}

module.exports = { createQuietDispatcher };
