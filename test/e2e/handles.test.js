'use strict';

/** After an awaited close() nothing of a dispatcher is left for a test runner to complain about. */

const assert = require('node:assert/strict');
const path = require('node:path');
const { describe, it } = require('node:test');

const { startAmplitude } = require('../support/amplitude/server.js');
const { runChild } = require('../support/process/child.js');

const PROGRAM = path.join(__dirname, '..', 'support', 'process', 'handles.js');
const OURS = 'optimizely-amplitude';

async function examine(t, scenario, fault = null) {
  const amplitude = await startAmplitude();
  t.after(() => amplitude.close());
  amplitude.setFault(fault);
  const { stdout, stderr } = await runChild(t, [PROGRAM, amplitude.httpapi, scenario]);
  assert.equal(stderr, '');
  const found = JSON.parse(stdout);
  assert.ok(found.types.includes(OURS), `${OURS} is not seen at all: ${found.types}`);
  return found;
}

describe('nothing is left open', { concurrency: 4 }, () => {
  const SCENARIOS = {
    'after a delivery': ['flushed'],
    'by a dispatcher that was never used': ['neverUsed'],
    'after a request that was abandoned': ['abandoned', 'silence'],
    'by decisions after the end': ['decidesLater'],
  };
  for (const [title, [scenario, fault]] of Object.entries(SCENARIOS)) {
    it(title, async (t) => {
      const { open, before, after, pending } = await examine(t, scenario, fault);
      assert.deepEqual(open, []);
      assert.deepEqual(after, before);
      assert.equal(pending, 0);
    });
  }

  it('which a dispatcher that is not closed shows', async (t) => {
    const { open } = await examine(t, 'notClosed');
    assert.deepEqual(open, [OURS]);
  });
});
