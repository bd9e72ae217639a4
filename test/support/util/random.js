'use strict';

/**
 * Make a random generator that repeats itself in every run (mulberry32): a function that returns an integer from 0 to
 * n - 1 for an argument n, and a number from 0 to 1 without one.
 */
function seededRandom(seed) {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    const fraction = ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
    return n === undefined ? fraction : Math.floor(fraction * n);
  };
}

module.exports = { seededRandom };
