'use strict';

/** The garbage collector, for tests of what is not kept. */

const { setTimeout: wait } = require('node:timers/promises');
const v8 = require('node:v8');
const vm = require('node:vm');

v8.setFlagsFromString('--expose-gc');
const collectGarbage = vm.runInNewContext('gc');

const MAX_ROUNDS = 200;

/** Collect garbage until none of the weak references has its object; returns how many still have it in the end. */
async function countKept(references) {
  let kept = references.length;
  for (let i = 0; i < MAX_ROUNDS && kept > 0; i++) {
    await wait(5); // what is freed by a callback is collected in another turn
    collectGarbage();
    kept = references.filter((reference) => reference.deref() !== undefined).length;
  }
  return kept;
}

module.exports = { countKept };
