'use strict';

/** The whole circle with a collector: events make a cohort, the cohort changes a decision, which arrives as an event. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, it } = require('node:test');

const { createDispatcher } = require('../../lib/index.js');
const { createCollector } = require('../../lib/cli/collector/index.js');
const { startAudiences } = require('../support/audiences/harness.js');
const { quietLogger } = require('../support/dispatcher/loggers.js');
const { request } = require('../support/network/request.js');
const { MAJORS, createClient } = require('../support/optimizely/sdk.js');

const DATAFILE = fs.readFileSync(
  path.join(__dirname, '..', 'examples', 'audiences-datafile.json'),
  'utf8',
);
const POWER = 'amplitude_power_user';
const COHORT = { id: 'power_users', eventType: 'Purchase', count: 2, days: 30 };
const DAY = 24 * 60 * 60 * 1000;

describe('the collector as the source of cohorts', () => {
  for (const major of MAJORS) {
    it(`closes the loop with SDK v${major}`, async (t) => {
      const clock = { ahead: 0 };
      const collector = createCollector({
        cohorts: [COHORT],
        now: () => Date.now() + clock.ahead,
      });
      const { url } = await collector.listen();
      const dispatcher = createDispatcher({
        apiKey: 'key-of-a-test',
        serverUrl: `${url}/2/httpapi`,
        proxy: '',
        logger: quietLogger,
      });
      t.after(async () => {
        await dispatcher.close({ timeoutMillis: 0 });
        await collector.close();
      });
      const client = createClient(major, DATAFILE);
      t.after(() => client.close());
      dispatcher.attach(client);
      const { audiences, changed } = startAudiences(t, {
        apiKey: 'key-of-a-test',
        secretKey: 'secret-of-a-test',
        serverUrl: url,
        proxy: '',
        cohorts: { [POWER]: COHORT.id },
      });
      audiences.attach(client);
      const buy = (...users) =>
        request(`${url}/2/httpapi`, {
          body: {
            api_key: 'key-of-a-test',
            events: users.map((user) => ({ event_type: 'Purchase', user_id: user })),
          },
        });
      const decide = (user) => client.createUserContext(user).decide('power_tools').enabled;

      await audiences.ready();
      assert.deepEqual([audiences.has('user_1', POWER), decide('user_1')], [false, false]);
      await buy('user_1', 'user_1', 'user_2');
      await changed({ size: 1 });
      assert.deepEqual([decide('user_1'), decide('user_2')], [true, false]);

      await dispatcher.flush();
      const arrived = collector.store
        .events({ type: 'Experiment Viewed' })
        .map(({ user_id: user, event_properties: { flag_key: flag, enabled } }) => [
          user,
          flag,
          enabled,
        ]);
      assert.deepEqual(arrived, [
        ['user_1', 'power_tools', false],
        ['user_1', 'power_tools', true],
        ['user_2', 'power_tools', false],
      ]);
      assert.equal(
        collector.store.user('user_1').user_properties['[Optimizely] power_tools'],
        'on',
      );

      clock.ahead = 31 * DAY;
      await changed({ size: 0, previousSize: 1 });
      assert.equal(decide('user_1'), false);
    });
  }

  it('says what is wrong with a cohort id', async (t) => {
    const collector = createCollector({ cohorts: [COHORT] });
    const { url } = await collector.listen();
    t.after(() => collector.close());
    const { audiences, logger } = startAudiences(t, {
      apiKey: 'key-of-a-test',
      secretKey: 'secret-of-a-test',
      serverUrl: url,
      proxy: '',
      cohorts: { [POWER]: 'power_user' },
    });
    const { cohorts } = await audiences.ready();
    assert.equal(cohorts[POWER].state, 'refused');
    assert.match(cohorts[POWER].lastError.message, /no such cohort/);
    assert.ok(logger.lines.length > 0);
  });
});
