'use strict';

/** Stands in for modules of Node.js in the bundle for edge runtimes: what of them is used there. */

/** 4 or 6 for an address, and 0 for anything else, as node:net has it. */
function isIP(text) {
  if (/^(\d{1,3}\.){3}\d{1,3}$/.test(text)) {
    return text.split('.').every((part) => Number(part) < 256) ? 4 : 0;
  }
  if (!/^[\da-f:.]+$/i.test(text) || !text.includes(':')) {
    return 0;
  }
  try {
    new URL(`http://[${text}]/`);
    return 6;
  } catch {
    return 0;
  }
}

module.exports = { isIP, randomUUID: () => crypto.randomUUID() };
