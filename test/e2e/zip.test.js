'use strict';

/**
 * The zip of a Lambda function, unpacked where there is nothing else, and run by the Node of nodejs22.x on the
 * processor that it is for, with test/lambda/runtime.js in place of Lambda's runtime.
 */

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');
const { promisify } = require('node:util');

const { ARCHS, functionFiles, unzip, zip } = require('../lambda/zip.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { notTestable } = require('../support/setup/prebuilds.js');
const { nodes } = require('../support/setup/runtimes.js');

const RUNTIME = path.join(__dirname, '..', 'lambda', 'runtime.js');
const MAX_ZIPPED_BYTES = 1_450_000; // the package with one of its addons, and a bundle of 126 kB

const runFile = promisify(execFile);

function skip(node) {
  return (
    notTestable() ||
    (node === undefined &&
      'there is no Node 22 for it here; `node test/support/setup/runtimes.js` fetches it')
  );
}

for (const arch of ARCHS) {
  const node = nodes().find(
    ({ name, target }) => target === `linux-${arch}` && /^Node v?22\b/.test(name),
  );

  describe(`the zip for ${arch}`, { skip: skip(node) }, () => {
    let amplitude;
    let dir;
    let files;

    before(async () => {
      amplitude = await startAmplitude();
      dir = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-function-'));
      files = functionFiles(arch);
      const zipped = zip(files);
      assert.ok(zipped.length < MAX_ZIPPED_BYTES, `${zipped.length} bytes`);
      unzip(zipped, dir);
    });

    after(async () => {
      await amplitude.close();
      fs.rmSync(dir, { recursive: true });
    });

    it('has the addon for that processor, and no other', () => {
      const addons = Object.keys(files).filter((name) => name.endsWith('.node'));
      assert.deepEqual(addons, [
        `node_modules/optimizely-amplitude/prebuilds/linux-${arch}/optimizely-amplitude.node`,
      ]);
    });

    it('delivers before the result is there', async () => {
      const [program, ...args] = node.command;
      const env = { AMPLITUDE_API_KEY: 'zip-key', AMPLITUDE_SERVER_URL: amplitude.httpapi };
      const event = {
        pathParameters: { userId: 'user_9' },
        queryStringParameters: { country: 'US', plan: 'premium' },
      };
      const module = path.join(dir, 'index.js');
      // The process is gone with the result: what comes later than that never comes.
      const { stdout, stderr } = await runFile(
        program,
        [...args, RUNTIME, module, JSON.stringify(event)],
        { cwd: dir, env },
      );
      assert.equal(stderr, '');
      assert.deepEqual(JSON.parse(JSON.parse(stdout).result.body), { variation: 'one_page' });
      assert.deepEqual(
        amplitude.requests.map(({ status }) => status),
        [200],
      );
      const {
        api_key: apiKey,
        events: [identify, viewed, ...more],
      } = amplitude.requests[0].body;
      assert.equal(apiKey, 'zip-key');
      assert.deepEqual(
        [identify.user_id, identify.user_properties],
        ['user_9', { $set: { '[Optimizely] checkout_flow': 'one_page' } }],
      );
      assert.deepEqual(
        [viewed.event_type, viewed.user_id, viewed.event_properties],
        [
          'Experiment Viewed',
          'user_9',
          {
            flag_key: 'checkout_flow',
            variation_key: 'one_page',
            rule_key: 'checkout_ab',
            enabled: true,
          },
        ],
      );
      assert.deepEqual(more, []);
    });
  });
}
