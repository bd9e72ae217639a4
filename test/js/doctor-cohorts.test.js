'use strict';

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { runDoctor } = require('../../lib/cli/doctor/index.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const {
  API_KEY,
  AUTHORIZATION,
  SECRET_KEY,
  faults,
  startCohortServer,
} = require('../support/audiences/server.js');
const { runChild } = require('../support/process/child.js');

const CLI = path.join(__dirname, '../../lib/cli/main.js');
const DATAFILE = path.join(__dirname, '../examples/audiences-datafile.json');
const COHORT = '7khm89cz';
const POWER = 'amplitude_power_user';

/** Servers of events and of cohorts, and the checks of cohorts with them. */
async function start(t) {
  const amplitude = await startAmplitude({});
  t.after(() => amplitude.close());
  const cohorts = await startCohortServer(t);
  const settings = {
    apiKey: API_KEY,
    secretKey: SECRET_KEY,
    serverUrl: amplitude.httpapi,
    cohortsUrl: cohorts.url,
    cohorts: { [POWER]: COHORT },
    proxy: '',
  };
  /** The checks of cohorts and attributes, as [name, status, message]. */
  const examine = async (more) => {
    const result = await runDoctor({ ...settings, ...more });
    const text = JSON.stringify(result);
    assert.ok(!text.includes(SECRET_KEY) && !text.includes(AUTHORIZATION.slice(6)), text);
    return result.checks
      .filter(({ name }) => ['cohorts', 'cohort', 'attribute'].includes(name))
      .map(({ name, status, message }) => [name, status, message]);
  };
  return { amplitude, cohorts, examine, settings };
}

/** Write a datafile with these audiences for one test. */
function writeDatafile(t, content) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-doctor-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'datafile.json');
  fs.writeFileSync(file, JSON.stringify({ featureFlags: [], revision: '1', ...content }));
  return file;
}

describe('the doctor of cohorts', () => {
  it('passes a correct set-up', async (t) => {
    const { cohorts, examine } = await start(t);
    cohorts.set(COHORT, ['ann', 'bob']);
    assert.deepEqual(await examine({ datafile: DATAFILE }), [
      ['cohort', 'pass', `${POWER} = ${COHORT}: 2 members, and up to 50,000,000 are taken`],
      [
        'attribute',
        'pass',
        `'${POWER}' is used by "Power users of Amplitude", "Not power users of Amplitude"`,
      ],
    ]);
    assert.match(cohorts.requests[0].headers['x-amp-exp-library'], /^optimizely-amplitude\//);
  });

  it('says nothing of cohorts if none is given', async (t) => {
    const { examine } = await start(t);
    assert.deepEqual(await examine({ cohorts: undefined, datafile: DATAFILE }), []);
  });

  for (const gzip of [false, true]) {
    it(`downloads no more than the beginning${gzip ? ', compressed' : ''}`, async (t) => {
      const { cohorts, examine } = await start(t);
      let sent = 0; // the last member
      cohorts.gzip = gzip;
      cohorts.set(COHORT, {
        count: 10_000_000,
        nameOf: (index) => `user-${(sent = index)}`,
      });
      const [[, status, message]] = await examine();
      assert.deepEqual([status, /10,000,000 members/.test(message)], ['pass', true], message);
      await cohorts.answered(COHORT);
      assert.ok(sent < 2_000_000, `${sent} members`);
    });
  }

  const answers = {
    'a wrong key': [faults.status(401), 'fail', /the keys are refused \(HTTP 401\)/],
    'a cohort that is not there': [faults.status(404), 'fail', /no such cohort, or it has no sync/],
    'an outage': [faults.status(503), 'warn', /answers 503 at the moment/],
    'too many requests': [faults.status(429), 'warn', /answers 429 at the moment/],
    'a redirect': [faults.status(302), 'fail', /no answer of this API \(HTTP 302\)/],
    'no members without a version': [faults.status(204), 'fail', /no answer of this API/],
    'a page': [
      faults.body(`<html>${SECRET_KEY}`, { 'Content-Type': 'text/html' }),
      'fail',
      /no cohort \(text\/html\)/,
    ],
    'JSON of something else': [faults.body('null'), 'fail', /no cohort \(of no type\)/],
    'what is not gzip': [faults.body('{}', { 'Content-Encoding': 'gzip' }), 'fail', /no cohort/],
    'another cohort': [
      faults.body(`{"cohortId":"${SECRET_KEY}","size":1,"memberIds":["a"]}`),
      'fail',
      /another cohort$/,
    ],
    'a cohort of groups': [
      faults.body(`{"cohortId":"${COHORT}","groupType":"Org","size":1,"memberIds":["a"]}`),
      'fail',
      /a cohort of groups/,
    ],
    'a cohort of unknown size': [
      faults.body(`{"cohortId":"${COHORT}","memberIds":["a"],"size":1}`),
      'pass',
      /: it is there, and up to/,
    ],
    'an empty cohort without a list': [
      faults.body(`{"cohortId":"${COHORT}","groupType":"User","size":0}`),
      'warn',
      /it is empty, so the attribute is false for everybody/,
    ],
  };
  for (const [name, [fault, status, message]] of Object.entries(answers)) {
    it(`knows ${name}`, async (t) => {
      const { cohorts, examine } = await start(t);
      cohorts.fail(COHORT, fault);
      const [check] = await examine();
      assert.deepEqual(check.slice(0, 2), ['cohort', status]);
      assert.match(check[2], message);
    });
  }

  it('hides the secret key where the id should be', async (t) => {
    const { examine } = await start(t);
    const [[, status, message]] = await examine({ cohorts: { [POWER]: SECRET_KEY } });
    assert.equal(status, 'fail');
    assert.ok(message.startsWith(`${POWER} = <secret key>: there is no such cohort`), message);
  });

  it('compares the size with the limit', async (t) => {
    const { cohorts, examine } = await start(t);
    cohorts.set(COHORT, ['ann', 'bob', 'cy', 'di', 'ed']);
    const at = async (maxMembers) => (await examine({ maxMembers }))[0].slice(1);
    const name = `${POWER} = ${COHORT}`;
    assert.deepEqual(await at(7), ['pass', `${name}: 5 members, and up to 7 are taken`]);
    assert.deepEqual(await at(6), [
      'warn',
      `${name}: it has 5 members, and with more than 6 it is refused`,
    ]);
    assert.deepEqual(await at(4), ['fail', `${name}: it has more than 4 members`]);
    assert.match((await at(0))[1], /^option 'maxMembers': expected an integer/);
  });

  it('checks each cohort, and stops where the server cannot be reached', async (t) => {
    const { cohorts, examine } = await start(t);
    cohorts.set('second', ['ann']);
    const two = { cohorts: { [POWER]: COHORT, plan: 'second' } };
    assert.deepEqual(
      (await examine(two)).map((check) => check.slice(0, 2)),
      [
        ['cohort', 'fail'],
        ['cohort', 'pass'],
        ['attribute', 'skip'],
      ],
    );
    const [down, ...rest] = await examine({ ...two, cohortsUrl: 'http://127.0.0.1:1' });
    assert.deepEqual(down.slice(0, 2), ['cohorts', 'fail']);
    assert.match(down[2], /127\.0\.0\.1:1 refuses connections/);
    assert.equal(rest.length, 1);
  });

  it('needs both keys, and good options', async (t) => {
    const { cohorts, examine } = await start(t);
    const first = async (more) => (await examine(more))[0];
    assert.deepEqual(await first({ secretKey: undefined }), [
      'cohorts',
      'fail',
      'there is no secret key',
    ]);
    assert.deepEqual((await first({ apiKey: undefined })).slice(0, 2), ['cohorts', 'skip']);
    assert.match((await first({ cohorts: { $opt_x: 'a' } }))[2], /^option 'cohorts': /);
    assert.match((await first({ cohortsUrl: 'ftp://a' }))[2], /^option 'serverUrl': /);
    assert.equal(cohorts.requests.length, 0);
  });

  describe('and of attributes', () => {
    const attributes = [{ id: '1', key: POWER }];
    const audience = (conditions) => ({ id: 'a', name: 'Power', conditions });
    const on = (fields) => ['and', ['or', ['not', { name: POWER, ...fields }]]];
    const cases = {
      'no attribute': [{}, 'warn', `the datafile has no attribute '${POWER}'`],
      'no audience': [{ attributes }, 'warn', `no audience of the datafile uses '${POWER}'`],
      'an audience of something else': [
        { attributes, typedAudiences: [audience(['or', { name: 'plan', value: true }])] },
        'warn',
        `no audience of the datafile uses '${POWER}'`,
      ],
      'an audience': [
        { attributes, typedAudiences: [audience(on({ match: 'exact', value: false }))] },
        'pass',
        `'${POWER}' is used by "Power"`,
      ],
      'an older audience': [
        { attributes, audiences: [audience(JSON.stringify(on({ value: true })))] },
        'pass',
        `'${POWER}' is used by "Power"`,
      ],
      'an audience in both lists, of which the second counts': [
        {
          attributes,
          audiences: [audience(JSON.stringify(on({ value: 'true' })))],
          typedAudiences: [audience(on({ match: 'exact', value: true }))],
        },
        'pass',
        `'${POWER}' is used by "Power"`,
      ],
      'whether it exists': [
        { attributes, typedAudiences: [audience(on({ match: 'exists' }))] },
        'pass',
        `'${POWER}' is used by "Power"`,
      ],
      'a text in place of a boolean': [
        { attributes, typedAudiences: [audience(on({ match: 'exact', value: 'true' }))] },
        'fail',
        `the audience "Power" compares '${POWER}' with "true", which it never is`,
      ],
      'a strange datafile': [
        { attributes: [null], audiences: 'none', typedAudiences: [null, audience('[')] },
        'warn',
        `the datafile has no attribute '${POWER}'`,
      ],
    };
    for (const [name, [content, status, message]] of Object.entries(cases)) {
      it(`knows ${name}`, async (t) => {
        const { cohorts, examine } = await start(t);
        cohorts.set(COHORT, ['ann']);
        const checks = await examine({ datafile: writeDatafile(t, content) });
        assert.deepEqual(checks.at(-1), ['attribute', status, message]);
      });
    }
  });

  describe('on the command line', () => {
    it('takes the secret from the environment, and prints it nowhere', async (t) => {
      const { cohorts, settings } = await start(t);
      cohorts.set(COHORT, ['ann']);
      const args = [
        ...[CLI, 'doctor', '--server-url', settings.serverUrl, '--proxy', ''],
        ...['--cohorts-url', cohorts.url, '--cohort', `${POWER}=${COHORT}`],
        ...['--datafile', DATAFILE, '--max-members', '10'],
      ];
      const env = { AMPLITUDE_API_KEY: API_KEY, AMPLITUDE_SECRET_KEY: SECRET_KEY };
      for (const more of [[], ['--json']]) {
        const { code, stdout, stderr } = await runChild(t, [...args, ...more], {
          env,
        });
        assert.equal(code, 0, stdout + stderr);
        assert.match(stdout, /: 1 member, and up to 10 are taken/);
        assert.ok(!(stdout + stderr).includes(SECRET_KEY), stdout);
      }
    });

    const mistakes = {
      '--cohort must be an attribute and the id of a cohort': ['power'],
      "such as amplitude_power_user=7khm89cz, not 'a='": ['a='],
      "--cohort: there are two cohorts for 'a'": ['a=b', '--cohort', 'a=c'],
    };
    for (const [message, args] of Object.entries(mistakes)) {
      it(`refuses: ${args.join(' ')}`, async (t) => {
        const { code, stderr } = await runChild(t, [CLI, 'doctor', '--cohort', ...args]);
        assert.equal(code, 2);
        assert.ok(stderr.includes(message), stderr);
      });
    }
  });
});
