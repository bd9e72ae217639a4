'use strict';

/** `npm run demo`, with each format that it takes. */

const assert = require('node:assert/strict');
const path = require('node:path');
const { describe, it } = require('node:test');

const { runChild } = require('../support/process/child.js');

const DEMO = path.join(__dirname, '..', 'demo', 'demo.js');

/** The numbers of a line that begins with `name`. */
const numbersOf = (text, name) => {
  const line = text.split('\n').find((one) => one.trimStart().startsWith(name)) ?? '';
  return (line.slice(line.indexOf(name) + name.length).match(/[\d,]+(?= |$)/g) ?? []).map(
    (digits) => Number(digits.replaceAll(',', '')),
  );
};

describe('the demo', () => {
  for (const format of ['event', 'merged', 'exposure']) {
    it(`ends with the flag that only users get who bought: ${format}`, async (t) => {
      const { code, stdout, stderr } = await runChild(t, [DEMO, format]);
      assert.deepEqual([code, stderr], [0, ''], stdout);
      assert.match(stdout, /The one-page checkout sells \d+\.\d % more than the control/);
      const [buyers] = numbersOf(stdout, 'did  Purchase');
      assert.ok(buyers > 100, stdout);
      assert.deepEqual(numbersOf(stdout, 'are in the cohort  buyers  (fresh)'), [buyers]);
      assert.deepEqual(numbersOf(stdout, 'got the flag  power_tools,  as Amplitude knows'), [
        buyers,
      ]);
      assert.deepEqual(numbersOf(stdout, 'did not get it'), [2000 - buyers]);
      assert.match(
        stdout,
        /Who bought is amplitude_power_user, and gets a flag that others do not/,
      );
    });
  }
});
