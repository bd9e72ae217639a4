'use strict';

/** The declarations as bundlers resolve them; the step `types` of `npm test` checks them as Node does. */

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const test = require('node:test');

test('the declarations fit real clients when a bundler resolves them', () => {
  const project = path.join(__dirname, '..', 'types', 'tsconfig.bundler.json');
  const { stdout, status } = spawnSync(
    process.execPath,
    [require.resolve('typescript/bin/tsc'), '-p', project],
    { encoding: 'utf8' },
  );
  assert.equal(stdout, '');
  assert.equal(status, 0);
});
