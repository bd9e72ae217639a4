'use strict';

/**
 * The fault matrix of the Python package: nothing is lost, sent twice for nothing, or out of order. The rows, the traffic
 * and the count are those of test/e2e/faults.test.js. The rows mostly wait, so many are played at the same time.
 */

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');

const { ROWS, audit, playRow } = require('../support/amplitude/matrix.js');
const { connectPython } = require('../support/python/actor.js');

/** Each has a process of its own. */
const CONCURRENT = { concurrency: 8, timeout: 240_000 };

describe('the fault matrix, for Python', CONCURRENT, () => {
  for (const row of ROWS) {
    it(row.name, async () => {
      await playRow(row, connectPython('ours'), async ({ amplitude, client, decided }) => {
        const { lost, duplicated, outOfOrder } = audit(row, decided, amplitude.store);
        assert.deepEqual(
          { lost, duplicated, outOfOrder },
          { lost: 0, duplicated: 0, outOfOrder: 0 },
        );
        const { decisions } = client.stats();
        assert.equal(decisions.seen, decided.length);
        assert.equal(
          decisions.accepted,
          decisions.delivered + decisions.pending + decisions.dropped.total,
        );
        const refused = row.refused === undefined ? 0 : decisions.dropped[row.refused];
        assert.equal(decisions.dropped.total, refused, 'nothing is dropped but what is refused');
        if (row.most !== undefined) {
          assert.ok(amplitude.requests.length <= row.most, `${amplitude.requests.length} requests`);
        }
      });
    });
  }
});
