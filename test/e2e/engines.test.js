'use strict';

/** Both engines are one: a million decisions have the same insert_ids, whichever sent them. */

const assert = require('node:assert/strict');
const { createHash } = require('node:crypto');
const http = require('node:http');
const { describe, it } = require('node:test');

const { createDispatcher } = require('../support/dispatcher/harness.js');
const { wasmNotTestable } = require('../support/setup/prebuilds.js');

const USERS = 100_000;
const VARIANTS = 10;
const AT_ONCE = 100_000;

/** Sends every decision with an engine; returns a hash of the insert_ids in order, and how many there were. */
async function idsOf(engine) {
  const hash = createHash('sha256');
  let count = 0;
  const server = http.createServer((req, res) => {
    const chunks = [];
    req.on('data', (chunk) => chunks.push(chunk));
    req.on('end', () => {
      for (const [, id] of Buffer.concat(chunks)
        .toString()
        .matchAll(/"insert_id":"(\w+)"/g)) {
        hash.update(id);
        count++;
      }
      res.end('{"code":200}');
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const dispatcher = createDispatcher({
    apiKey: 'test-key',
    serverUrl: `http://127.0.0.1:${server.address().port}/2/httpapi`,
    engine,
    format: 'merged',
    compression: false,
  });
  const variants = Array.from({ length: VARIANTS }, (_, i) => ({
    flagKey: `flag \u00e9 ${i >> 1}`,
    variationKey: i % 2 === 0 ? 'on' : 'another',
    ruleKey: i % 3 === 0 ? null : `rule_${i}`,
    enabled: i % 4 !== 3,
  }));
  let decided = 0;
  for (const decisionInfo of variants) {
    for (let i = 0; i < USERS; i++) {
      // Ids of all lengths, and in scripts of two, three and four bytes for a character.
      const userId = `${['user', '\u00fcser', '\u30e6\u30fc\u30b6', '\u{1F600}\u{1F600}'][i % 4]}-${'x'.repeat(i % 60)}-${i}`;
      dispatcher.onDecision({ type: 'flag', userId, attributes: {}, decisionInfo });
      if (++decided % AT_ONCE === 0) {
        await dispatcher.flush({ timeoutMillis: 60_000 });
      }
    }
  }
  assert.equal(dispatcher.stats().decisions.delivered, USERS * VARIANTS);
  await dispatcher.close();
  server.close();
  return { count, digest: hash.digest('hex') };
}

describe('a million insert_ids', { skip: wasmNotTestable() }, () => {
  it('of the addon and of WebAssembly are equal', async () => {
    const native = await idsOf('native');
    assert.equal(native.count, USERS * VARIANTS);
    assert.deepEqual(await idsOf('wasm'), native);
  });
});
