'use strict';

const OLDEST_NODE = 18;
const UPDATE = `Start the application with Node.js ${OLDEST_NODE} or later.`;

/**
 * Why an addon is not even opened in this runtime, { reason, advice }; null where one may load. In Bun an addon loads, and aborts the process
 * at its first delivery; in Deno its symbols are missing.
 */
function obstacle({ platform, version, versions: { bun, deno, node } }) {
  if (bun !== undefined || deno !== undefined) {
    const name = bun === undefined ? `Deno ${deno}` : `Bun ${bun}`;
    return { reason: `${name} cannot run it`, advice: UPDATE };
  }
  if (parseInt(node, 10) < OLDEST_NODE) {
    return { reason: `this is Node.js ${version}`, advice: UPDATE };
  }
  if (platform === 'win32') {
    return {
      reason: 'there is none for Windows',
      advice: 'Start the application in WSL (wsl --install), or in a Linux container.',
    };
  }
  return null;
}

module.exports = { obstacle };
