'use strict';

const OLDEST_NODE = 18;

/**
 * Why an addon is not even opened in this runtime; null where one may load. In Bun an addon loads, and aborts the process
 * at its first delivery; in Deno its symbols are missing.
 */
function obstacle({ platform, version, versions: { bun, deno, node } }) {
  if (bun !== undefined || deno !== undefined) {
    const name = bun === undefined ? `Deno ${deno}` : `Bun ${bun}`;
    return `${name} cannot run it. Start the application with Node.js ${OLDEST_NODE} or later.`;
  }
  if (parseInt(node, 10) < OLDEST_NODE) {
    return `This is Node.js ${version}. Start the application with Node.js ${OLDEST_NODE} or later.`;
  }
  if (platform === 'win32') {
    return 'There is no native addon for Windows. Start the application in WSL (wsl --install), or in a Linux container.';
  }
  return null;
}

module.exports = { obstacle };
