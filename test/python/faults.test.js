'use strict';

/**
 * The fault matrix of the Python package: nothing is lost, sent twice for nothing, or out of order. The rows, the traffic
 * and the count are those of test/e2e/faults.test.js. The rows mostly wait, so many are played at the same time.
 */

const { describe, it } = require('node:test');

const { ROWS, checkPlayed, playRow } = require('../support/amplitude/matrix.js');
const { connectPython } = require('../support/python/actor.js');

/** Each has a process of its own. */
const CONCURRENT = { concurrency: 8, timeout: 240_000 };

describe('the fault matrix, for Python', CONCURRENT, () => {
  for (const row of ROWS) {
    it(row.name, async () => {
      await playRow(row, connectPython('ours'), checkPlayed(row));
    });
  }
});
