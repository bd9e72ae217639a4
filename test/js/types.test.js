'use strict';

/** The declarations as bundlers resolve them; the step `types` of `npm test` checks them as Node does. */

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const test = require('node:test');

const PROJECTS = {
  'real clients': 'tsconfig.bundler.json',
  "Amplitude's browser SDK": 'browser/tsconfig.json',
};

for (const [what, project] of Object.entries(PROJECTS)) {
  test(`the declarations fit ${what} when a bundler resolves them`, () => {
    const { stdout, status } = spawnSync(
      process.execPath,
      [require.resolve('typescript/bin/tsc'), '-p', path.join(__dirname, '..', 'types', project)],
      { encoding: 'utf8' },
    );
    assert.equal(stdout, '');
    assert.equal(status, 0);
  });
}
