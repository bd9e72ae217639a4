'use strict';

/** The configuration of the addon: the keys that it reads are those that it is given. */

const assert = require('node:assert/strict');
const test = require('node:test');

const binding = require('../../lib/binding.js');
const { createLog } = require('../../lib/log.js');
const { nativeOptions } = require('../../lib/native.js');
const { resolveOptions } = require('../../lib/options.js');

const given = nativeOptions(resolveOptions({ apiKey: 'key' }), createLog(null));

test('the addon reads exactly the keys that it is given', () => {
  assert.deepEqual([...binding.configKeys].sort(), Object.keys(given).sort());
  assert.deepEqual(
    Object.keys(given).filter((key) => given[key] === undefined),
    [],
    'a key without a value is a misspelt option',
  );
});

test('a key that is missing is named', () => {
  for (const key of Object.keys(given)) {
    const { [key]: left, ...others } = given;
    void left;
    assert.throws(() => new binding.Dispatcher(others, {}), {
      name: 'TypeError',
      message: `the addon's options lack ${key}`,
    });
  }
});
