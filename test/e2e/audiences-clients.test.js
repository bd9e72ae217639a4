'use strict';

/** Attributes of cohorts beside what else decides for a user: new datafiles, several clients, what is forced or kept. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it } = require('node:test');

const { startAudiences } = require('../support/audiences/harness.js');
const { startCohortServer } = require('../support/audiences/server.js');
const {
  MAJORS,
  changeDatafile,
  createClient,
  requireSdk,
  updateDatafile,
} = require('../support/optimizely/sdk.js');

const DATAFILE = fs.readFileSync(
  path.join(__dirname, '..', 'examples', 'audiences-datafile.json'),
  'utf8',
);
const POWER = 'amplitude_power_user';
const CHURNED = 'amplitude_churned';

/** Audiences of two cohorts that are loaded: ann is a power user, bob was one. */
async function start(t) {
  const server = await startCohortServer(t);
  server.set('p', ['ann']);
  server.set('c', ['bob']);
  const started = startAudiences(t, {
    ...server.options,
    cohorts: { [POWER]: 'p', [CHURNED]: 'c' },
  });
  await started.audiences.ready();
  return { server, ...started };
}

/** A datafile in which an audience uses the second attribute, too. */
const withChurned = () =>
  changeDatafile((content) => {
    content.attributes.push({ id: 'attr_churned', key: CHURNED });
    content.typedAudiences.push({
      id: 'aud_churned',
      name: 'Churned',
      conditions: ['and', ['or', ['or', conditionOf(CHURNED)]]],
    });
  }, DATAFILE);

const conditionOf = (name) => ({ name, type: 'custom_attribute', match: 'exact', value: true });

/** A datafile in which power users are in an experiment, and others are not. */
const withExperiment = () =>
  changeDatafile((content) => {
    content.experiments.push({
      id: '9600000001',
      key: 'power_experiment',
      status: 'Running',
      layerId: 'layer_power',
      audienceIds: ['aud_power'],
      audienceConditions: ['or', 'aud_power'],
      variations: [{ id: '9610000001', key: 'new_tools', featureEnabled: true, variables: [] }],
      trafficAllocation: [{ entityId: '9610000001', endOfRange: 10_000 }],
      forcedVariations: {},
    });
    const flag = content.featureFlags.find(({ key }) => key === 'power_tools');
    flag.experimentIds.push('9600000001');
  }, DATAFILE);

function clientOf(t, major, datafile = DATAFILE, options = {}) {
  const sdk = requireSdk(major);
  let client;
  if (Object.keys(options).length === 0) {
    client = createClient(major, datafile);
  } else if (major >= 6) {
    const projectConfigManager = sdk.createStaticProjectConfigManager({ datafile });
    client = sdk.createInstance({ projectConfigManager, ...options });
  } else {
    const eventDispatcher = { dispatchEvent: (event, callback) => callback({ statusCode: 200 }) };
    const odpOptions = { disabled: true };
    client = sdk.createInstance({ datafile, odpOptions, eventDispatcher, ...options });
  }
  t.after(() => client.close());
  return client;
}

const attributesOf = (client, userId, given) =>
  client.createUserContext(userId, given).getAttributes();

for (const major of MAJORS) {
  describe(`a client of SDK v${major}`, () => {
    it('gets what a new datafile names, from then on', async (t) => {
      const { audiences, logger } = await start(t);
      const client = clientOf(t, major);
      audiences.attach(client);
      assert.deepEqual(attributesOf(client, 'bob'), { [POWER]: false });
      assert.match(logger.warnings.join('\n'), /'amplitude_churned' is not added/);
      updateDatafile(client, withChurned());
      assert.deepEqual(attributesOf(client, 'bob'), { [POWER]: false, [CHURNED]: true });
      updateDatafile(
        client,
        changeDatafile(() => {}, withChurned()),
      );
      assert.deepEqual(attributesOf(client, 'ann'), { [POWER]: true, [CHURNED]: false });
    });

    it('may be one of several, each with its own datafile and audiences', async (t) => {
      const { audiences } = await start(t);
      const { audiences: others } = await start(t);
      const first = clientOf(t, major);
      const second = clientOf(t, major, withChurned());
      const detachFirst = audiences.attach(first);
      audiences.attach(second);
      assert.deepEqual(attributesOf(first, 'bob'), { [POWER]: false });
      assert.deepEqual(attributesOf(second, 'bob'), { [POWER]: false, [CHURNED]: true });
      const detachOthers = others.attach(first);
      assert.deepEqual(attributesOf(first, 'ann', { plan: 'pro' }), { plan: 'pro', [POWER]: true });
      detachFirst();
      assert.deepEqual(attributesOf(first, 'ann'), { [POWER]: true }, 'those of the others');
      detachOthers();
      assert.deepEqual(attributesOf(first, 'ann'), {});
      assert.deepEqual(attributesOf(second, 'ann'), { [POWER]: true, [CHURNED]: false });
    });

    it('does what is forced, whatever the cohort', async (t) => {
      const { audiences } = await start(t);
      const client = clientOf(t, major);
      audiences.attach(client);
      const user = client.createUserContext('zoe');
      assert.equal(user.decide('power_tools').enabled, false);
      const rule = { flagKey: 'power_tools', ruleKey: 'tools_for_power_users' };
      assert.equal(user.setForcedDecision(rule, { variationKey: 'on' }), true);
      assert.equal(user.decide('power_tools').enabled, true);
      user.removeForcedDecision(rule);
      user.setAttribute(POWER, true);
      assert.equal(user.decide('power_tools').enabled, true);
      assert.equal(audiences.has('zoe', POWER), false);
    });

    it('keeps the variation of a user who left, with a user profile service', async (t) => {
      const { audiences, server, changed } = await start(t);
      const profiles = new Map();
      const userProfileService = {
        lookup: (userId) => profiles.get(userId) ?? null,
        save: (profile) => void profiles.set(profile.user_id, profile),
      };
      const keeping = clientOf(t, major, withExperiment(), { userProfileService });
      const plain = clientOf(t, major, withExperiment());
      const variations = (userId) =>
        [keeping, plain].map((client) => {
          const { variationKey, ruleKey } = client.createUserContext(userId).decide('power_tools');
          return [variationKey, ruleKey];
        });
      audiences.attach(keeping);
      audiences.attach(plain);
      const inside = ['new_tools', 'power_experiment'];
      const outside = ['off', 'default-rollout-tools'];
      assert.deepEqual(variations('ann'), [inside, inside]);
      assert.deepEqual(variations('zoe'), [outside, outside]);
      server.set('p', ['zoe']);
      await changed({ attribute: POWER, previousSize: 1, size: 1 });
      assert.deepEqual(variations('ann'), [inside, outside]);
      assert.deepEqual(variations('zoe'), [inside, inside]);
    });
  });
}

describe('many audiences of one process', () => {
  it('load one after another, and leave nothing behind', async (t) => {
    const server = await startCohortServer(t);
    server.set('p', ['ann']);
    const listeners = process.listenerCount('exit');
    const all = Array.from({ length: 100 }, () =>
      startAudiences(t, {
        ...server.options,
        cohorts: { [POWER]: 'p' },
        pollIntervalMillis: 60_000,
      }),
    );
    const states = await Promise.all(all.map(({ audiences }) => audiences.ready()));
    assert.ok(states.every(({ cohorts }) => cohorts[POWER].state === 'fresh'));
    assert.equal(process.listenerCount('exit'), listeners + 1);
    assert.equal(server.mostActive, 1);
    assert.ok(all.every(({ audiences }) => audiences.has('ann', POWER) === true));
    await Promise.all(all.map(({ audiences }) => audiences.close()));
    assert.equal(process.listenerCount('exit'), listeners);
    assert.ok(all.every(({ audiences }) => audiences.has('ann', POWER) === undefined));
  });
});
