'use strict';

/** The description of the installation, as a bug report needs it. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { info } = require('../../lib/index.js');
const { version } = require('../../package.json');

test('info() describes the package, the addon that is loaded, and what that is linked with', async () => {
  const told = info();
  assert.deepEqual(Object.keys(told), [
    'version',
    'engine',
    'engineReason',
    'addon',
    'prebuilt',
    'libraries',
  ]);
  assert.deepEqual([told.engine, told.engineReason], ['native', 'the addon loads']);
  assert.equal(told.version, version);
  assert.ok(fs.statSync(told.addon).isFile());
  assert.equal(
    told.prebuilt,
    path.relative(path.join(__dirname, '../..'), told.addon).startsWith('prebuilds'),
  );
  const named = Object.fromEntries(told.libraries.map((library) => [library.name, library]));
  for (const [name, license] of [
    ['libcurl', 'curl'],
    ['OpenSSL', 'Apache-2.0'],
    ['cJSON', 'MIT'],
    ['xxHash', 'BSD-2-Clause'],
  ]) {
    assert.match(named[name].version, /^\d+\.\d+\.\d+/, name);
    assert.equal(named[name].license, license);
  }
  assert.equal((await import('optimizely-amplitude')).info, info);
});

test('each call gives an object of its own', () => {
  info().libraries.length = 0;
  assert.ok(info().libraries.length > 0);
});
