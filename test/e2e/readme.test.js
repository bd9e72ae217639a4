'use strict';

/** The examples of the README run as they stand, and its tables name what there is. */

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, it, test } = require('node:test');

const { resolveOptions } = require('../../lib/options.js');
const { startAmplitude } = require('../support/amplitude/server.js');

const ROOT = path.join(__dirname, '..', '..');
const README = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
const EXAMPLES = [...README.matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, code]) => code);

/** What an application has beside the example: its client, and the package. */
function makeProject() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-readme-'));
  fs.mkdirSync(path.join(folder, 'node_modules'));
  fs.symlinkSync(ROOT, path.join(folder, 'node_modules', 'optimizely-amplitude'), 'dir');
  const support = JSON.stringify(path.join(ROOT, 'test', 'support', 'optimizely', 'sdk.js'));
  fs.writeFileSync(
    path.join(folder, 'optimizely.js'),
    `module.exports = require(${support}).createClient(6);\n`,
  );
  return folder;
}

const WITH_CLIENT = `
const { createDispatcher } = require('optimizely-amplitude');
const optimizely = require('./optimizely.js');
`;
const ATTACH = 'dispatcher.attach(optimizely);\n';
const DECIDE =
  "optimizely.createUserContext('user_1', { country: 'US', plan: 'premium' }).decide('checkout_flow');\n";
const INVOKE = `
exports.handler({ userId: 'user_1' }, { getRemainingTimeInMillis: () => 5000 })
  .then((result) => process.stdout.write(JSON.stringify(result)));
`;

describe('the examples', () => {
  let amplitude;
  let folder;

  before(async () => {
    amplitude = await startAmplitude();
    folder = makeProject();
  });

  after(async () => {
    await amplitude.close();
    fs.rmSync(folder, { recursive: true });
  });

  async function run(name, code) {
    const file = path.join(folder, name);
    fs.writeFileSync(file, code);
    const child = spawn(
      process.execPath,
      ['--require', path.join(ROOT, 'test', 'support', 'process', 'divert.js'), file],
      {
        cwd: folder,
        env: {
          ...process.env,
          AMPLITUDE_API_KEY: `key-${name}`,
          TEST_SERVER_URL: amplitude.httpapi,
        },
      },
    );
    const output = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text) => (output.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (output.stderr += text));
    const code_ = await new Promise((resolve) => child.on('close', resolve));
    assert.equal(code_, 0, output.stderr);
    assert.equal(output.stderr, '');
    const bodies = amplitude.requests
      .map((request) => request.body)
      .filter((body) => body.api_key === `key-${name}`);
    return {
      stdout: output.stdout,
      types: bodies.flatMap((body) => body.events.map((event) => event.event_type)),
    };
  }

  const DELIVERED = ['$identify', 'Experiment Viewed'];

  it('are four', () => assert.equal(EXAMPLES.length, 4));

  it('CommonJS', async () => {
    assert.deepEqual((await run('example.cjs', EXAMPLES[0] + DECIDE)).types, DELIVERED);
  });

  it('ES modules', async () => {
    assert.deepEqual((await run('example.mjs', EXAMPLES[1] + DECIDE)).types, DELIVERED);
  });

  it('AWS Lambda', async () => {
    const { stdout, types } = await run('handler.cjs', EXAMPLES[2] + INVOKE);
    assert.deepEqual(types, DELIVERED);
    assert.deepEqual(JSON.parse(stdout), { checkout: 'off' });
  });

  it('properties of your own', async () => {
    await run('properties.cjs', WITH_CLIENT + EXAMPLES[3] + ATTACH + DECIDE);
    const [identify, event] = amplitude.requests.at(-1).body.events;
    assert.equal(identify.device_id, 'user_1');
    assert.equal(identify.user_properties.$set.plan, 'premium');
    assert.equal(event.event_properties.rule_type, 'experiment');
  });
});

test('the table of options names every option', () => {
  const derived = ['maxBodyBytes', 'throttleMillis'];
  for (const name of Object.keys(resolveOptions({ apiKey: 'key' }))) {
    assert.ok(derived.includes(name) || new RegExp(`^\\|[^|]*\`${name}\``, 'm').test(README), name);
  }
});

test('the two commands exist', () => {
  const { scripts } = require('../../package.json');
  assert.ok(scripts.demo && scripts.test);
});
