'use strict';

/* global document, window */

/** The collector's page in a real browser, with decisions of the real SDK. */

const assert = require('node:assert/strict');
const { after, before, describe, it } = require('node:test');
const { once } = require('node:events');
const http = require('node:http');

const { createDispatcher } = require('../../lib/index.js');
const { createCollector } = require('../../lib/cli/collector/index.js');
const { asSent } = require('../../lib/cli/collector/store.js');
const { quietLogger } = require('../support/dispatcher/loggers.js');
const { findChromium, startChromium } = require('../support/process/chromium.js');
const {
  createClient,
  createNotification,
  decideAs,
  US_PREMIUM,
} = require('../support/optimizely/sdk.js');
const { request } = require('../support/network/request.js');

/** CI must have a browser. */
const skip =
  findChromium() === undefined &&
  !process.env.CI &&
  'Chromium is not installed (apt-get install chromium, or set CHROMIUM)';
const HOSTILE_FLAG = '<script>window.hacked = 1</script>"\'';
const HOSTILE_USER = '"><img src=x onerror="window.hacked = 2">\'/?#&%';
const HOSTILE_VARIATION = '</span><svg onload=window.hacked=3>';

/** Functions that run in the page. */
const feed = () =>
  [...document.querySelectorAll('.feed li')].map((row) =>
    [...row.querySelectorAll('summary > *')].slice(1).map((cell) => cell.textContent),
  );
const tableOf = (title) => {
  const section = [...document.querySelectorAll('.analysis')].find(
    (one) => one.querySelector('h2').textContent === title,
  );
  return (
    section &&
    [...section.querySelectorAll('tbody tr')].map((row) =>
      [...row.children].map((cell) => cell.textContent),
    )
  );
};
const click = (selector, text) =>
  [...document.querySelectorAll(selector)].find((one) => one.textContent === text).click();

describe("the collector's page", { skip }, () => {
  let browser;
  before(async () => {
    browser = await startChromium();
  });
  after(() => browser?.close());

  async function start(t, options = {}, cohorts = []) {
    const collector = createCollector({ cohorts });
    const { url } = await collector.listen();
    const client = createClient(6);
    const dispatcher = createDispatcher({
      apiKey: 'key',
      serverUrl: `${url}/2/httpapi`,
      proxy: '',
      flushIntervalMillis: 20,
      disabledValue: 'variation',
      logger: quietLogger,
      ...options,
    });
    dispatcher.attach(client);
    t.after(async () => {
      await dispatcher.close({ timeoutMillis: 0 });
      await collector.close();
    });
    const page = await browser.open(`${url}/`);
    const post = async (events) =>
      assert.equal(
        (await request(`${url}/2/httpapi`, { body: { api_key: 'key', events } })).status,
        200,
      );
    return { client, collector, dispatcher, page, post, url };
  }

  it('says what to do first, and shows decisions as they arrive', async (t) => {
    const { client, page, url } = await start(t);
    assert.match(
      await page.waitFor(() => document.querySelector('.empty')?.innerText),
      /Waiting for the first decision/,
    );
    assert.ok(
      (await page.evaluate(() => document.querySelector('.code code').textContent)).includes(
        `serverUrl: '${url}/2/httpapi'`,
      ),
    );
    await page.waitFor(() => document.querySelector('#connection').textContent === 'Live');

    decideAs(client, 'user_9');
    await page.waitFor(() => document.querySelectorAll('.feed li').length === 1);
    decideAs(client, 'user_1');
    await page.waitFor(() => document.querySelectorAll('.feed li').length === 2);
    assert.deepEqual(await page.evaluate(feed), [
      ['user_1', 'checkout_flow', 'control', 'checkout_ab', 'Off'],
      ['user_9', 'checkout_flow', 'one_page', 'checkout_ab', 'On'],
    ]);
    assert.equal(
      await page.evaluate(() => document.querySelector('.empty').checkVisibility()),
      false,
    );
    assert.deepEqual(page.errors, []);
  });

  it('shows both events of a decision, by keyboard', async (t) => {
    const { client, collector, page } = await start(t);
    decideAs(client, 'user_9');
    await page.waitFor(() => document.querySelector('.feed summary'));
    await page.evaluate(() => document.querySelector('.feed summary').focus());
    await page.press('Enter');
    await page.waitFor(() => document.querySelectorAll('.json pre').length === 2);
    const shown = await page.evaluate(() =>
      [...document.querySelectorAll('.json pre')].map((pre) => JSON.parse(pre.textContent)),
    );
    assert.deepEqual(shown, collector.store.events().map(asSent));
  });

  it('shows a $exposure beside the event, and on the page of its user', async (t) => {
    const { client, collector, page } = await start(t, { format: ['event', 'exposure'] });
    decideAs(client, 'user_9');
    await page.waitFor(() => document.querySelector('.feed summary'));
    assert.deepEqual(await page.evaluate(feed), [
      ['user_9', 'checkout_flow', 'one_page', 'checkout_ab', 'On'],
    ]);
    await page.evaluate(() => document.querySelector('.feed summary').click());
    await page.waitFor(() => document.querySelectorAll('.json pre').length === 3);
    const shown = await page.evaluate(() =>
      [...document.querySelectorAll('.json pre')].map((pre) => JSON.parse(pre.textContent)),
    );
    assert.deepEqual(shown, collector.store.events().map(asSent));
    assert.equal(shown[1].event_type, '$exposure');

    await page.evaluate(() => document.querySelector('.feed a.user').click());
    const gists = await page.waitFor(() => {
      const found = [...document.querySelectorAll('.timeline .gist')];
      return found.length === 3 && found.map((one) => one.textContent);
    });
    assert.deepEqual(gists.slice(1), Array(2).fill('checkout_flow: one_page'));
    assert.deepEqual(page.errors, []);
  });

  it('shows a funnel by variation with the numbers that the test has counted', async (t) => {
    const { client, dispatcher, page, post } = await start(t);
    const expected = {};
    const events = [];
    for (let i = 0; i < 200; i++) {
      const user = `user_${i}`;
      const { variationKey } = decideAs(client, user, i % 5 === 0 ? {} : US_PREMIUM);
      expected[variationKey] ??= [0, 0, 0];
      expected[variationKey][0]++;
      if (i % 2 === 0) {
        expected[variationKey][1]++;
        events.push({ user_id: user, event_type: 'Checkout' });
        if (i % 6 === 0) {
          expected[variationKey][2]++;
          events.push({ user_id: user, event_type: 'Purchase' });
        }
      }
    }
    assert.ok(Object.keys(expected).length >= 3);
    assert.equal((await dispatcher.flush()).pending, 0);
    await post(events);
    await page.go('/variations');
    const rows = Object.entries(expected)
      .sort()
      .map(([variation, counts]) => [
        variation,
        ...counts.map(String),
        `${((100 * counts[2]) / counts[0]).toFixed(1)}%`,
      ]);
    await page.waitFor(
      `(rows) => JSON.stringify((${tableOf})('Funnel')) === JSON.stringify(rows)`,
      rows,
    );
    assert.deepEqual(
      await page.evaluate(() =>
        [...document.querySelectorAll('.steps select')].map(({ value }) => value),
      ),
      ['Experiment Viewed', 'Checkout', 'Purchase'],
    );
    const users = await page.evaluate(tableOf, 'Users and exposures');
    assert.deepEqual(
      users.map(([variation, count]) => [variation, count]),
      rows.map(([variation, viewed]) => [variation, viewed]),
    );

    // Another choice, and the chart stays live.
    await page.evaluate(() => {
      const select = document.querySelector('.steps li:last-child select');
      select.value = 'Checkout';
      select.dispatchEvent(new Event('change'));
    });
    await page.waitFor(`() => (${tableOf})('Funnel').every((row) => row[3] === '0')`);
    await post(events.filter(({ event_type: type }) => type === 'Checkout'));
    await page.waitFor(
      `(rows) => (${tableOf})('Funnel').every((row, i) => row[3] === rows[i][2])`,
      rows,
    );
    assert.deepEqual(page.errors, []);
  });

  it('shows cohorts, their size over time, and who is in them', async (t) => {
    const { page, post, url } = await start(t, {}, [
      { id: 'power_users', eventType: HOSTILE_FLAG, count: 2, days: 30 },
      { id: 'tried', eventType: 'Checkout', count: 1, days: 7 },
    ]);
    const day = 24 * 60 * 60 * 1000;
    const did = (user, ago = 0) => ({
      user_id: user,
      event_type: HOSTILE_FLAG,
      time: Date.now() - ago * day,
    });
    await post([did('user_1', 20), did('user_1', 15), did('user_2', 5), did('user_3', 40)]);
    await page.go('/cohorts');
    const sizes = () =>
      [...document.querySelectorAll('.analysis')].map((section) => [
        section.querySelector('h2').textContent,
        section.querySelector('dd').textContent,
      ]);
    const isSizes = `(wanted) => JSON.stringify((${sizes})()) === JSON.stringify(wanted)`;
    await page.waitFor(isSizes, [
      ['power_users', '1'],
      ['tried', '0'],
    ]);
    assert.deepEqual(
      await page.evaluate(() => [
        document.querySelector('.analysis .hint').textContent,
        document.querySelectorAll('.strip')[0].querySelectorAll('i').length,
        document.querySelector('.strip [role=img]').getAttribute('aria-label').slice(-11),
        [...document.querySelectorAll('.strip i')].every((one) => one.checkVisibility()),
      ]),
      [`Users who did ${HOSTILE_FLAG} at least 2 times within 30 days`, 60, 'from 1 to 1', true],
    );

    // It is live, and the link keeps the focus.
    await page.evaluate(() => document.querySelector('.analysis h2 a').focus());
    await post([did(HOSTILE_USER), did(HOSTILE_USER), did('user_2')]);
    const headers = { Authorization: `Basic ${Buffer.from('any:keys').toString('base64')}` };
    await request(`${url}/sdk/v1/cohort/power_users?maxCohortSize=2`, { headers });
    await page.waitFor(isSizes, [
      ['power_users', '3'],
      ['tried', '0'],
    ]);
    assert.match(
      await page.evaluate(() => document.querySelector('.result > .hint').textContent),
      /last download at [\d:]+: too many members/,
    );
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'power_users');

    await page.evaluate(() => document.activeElement.click());
    const members = () => [...document.querySelectorAll('.names a')].map((one) => one.textContent);
    await page.waitFor(() => document.querySelectorAll('.names a').length === 3);
    assert.deepEqual(await page.evaluate(members), ['user_1', 'user_2', HOSTILE_USER]);
    await page.evaluate(() => {
      const input = document.querySelector('input');
      input.value = 'onerror';
      input.dispatchEvent(new Event('input'));
    });
    await page.waitFor(() => document.querySelectorAll('.names a').length === 1);
    assert.match(await page.evaluate(() => document.body.innerText), /1 of 3 members/);
    await page.evaluate(() => document.querySelector('.names a').click());
    await page.waitFor((id) => document.querySelector('h1.id')?.textContent === id, HOSTILE_USER);
    assert.equal(await page.evaluate(() => window.hacked), undefined);

    await page.go('/cohorts/other');
    await page.waitFor(() => document.querySelector('.empty h2')?.textContent === 'No such cohort');
    // A browser logs each answer of 404.
    assert.ok(
      page.errors.every((error) => error.includes('404')),
      page.errors.join(),
    );
  });

  it('says how to have cohorts', async (t) => {
    const { page } = await start(t);
    await page.go('/cohorts');
    assert.match(
      await page.waitFor(() => document.querySelector('.code code')?.textContent),
      /collector --cohort power_users=Purchase:2\/30d$/,
    );
    assert.deepEqual(page.errors, []);
  });

  it('makes requests fail, and loses nothing', async (t) => {
    const { client, collector, dispatcher, page } = await start(t);
    await page.go('/requests');
    await page.waitFor(() => document.querySelector('label[for=mode-503]'));
    await page.evaluate(click, '.segments label', '503');
    await page.waitFor(() => !document.querySelector('#outage').hidden);
    for (let i = 0; i < 50; i++) {
      decideAs(client, `user_${i}`);
    }
    await page.waitFor(() =>
      [...document.querySelectorAll('tbody .badge')].some((badge) => badge.textContent === '503'),
    );
    assert.equal(collector.store.events().length, 0);
    await page.evaluate(click, '#outage button', 'Answer normally');
    await page.waitFor(() => document.querySelector('#outage').hidden);
    await dispatcher.flush();
    const { delivered, dropped, pending } = dispatcher.stats().decisions;
    assert.deepEqual([delivered, dropped.total, pending], [50, 0, 0]);
    await page.waitFor(() => document.querySelector('tbody .badge').textContent === '200');
    assert.equal(collector.store.events({ type: 'Experiment Viewed' }).length, 50);
    assert.equal(new Set(collector.store.events().map(({ insert_id: id }) => id)).size, 100);
    assert.deepEqual(page.errors, []);
  });

  it('shows a user: properties, repeats and refusals', async (t) => {
    const { client, dispatcher, page, post, url } = await start(t);
    decideAs(client, 'user_9');
    await dispatcher.flush();
    const purchase = { user_id: 'user_9', event_type: 'Purchase', insert_id: 'one' };
    await post([purchase, purchase]);
    await request(`${url}/2/httpapi`, {
      body: { api_key: 'key', events: [{ ...purchase, insert_id: 7 }] },
    });
    await page.go('/users/user_9');
    await page.waitFor(() => document.querySelectorAll('.timeline li').length === 5);
    assert.deepEqual(
      await page.evaluate(() =>
        [...document.querySelectorAll('.properties > div')].map((row) => row.innerText.split('\n')),
      ),
      [['[Optimizely] checkout_flow', 'one_page']],
    );
    assert.deepEqual(
      await page.evaluate(() =>
        [...document.querySelectorAll('.timeline li')].map(
          (row) => row.querySelector('.badge')?.textContent ?? 'stored',
        ),
      ),
      ['stored', 'stored', 'stored', 'repeat', 'refused'],
    );
    await page.evaluate(() => document.querySelector('.timeline .refused summary').click());
    assert.match(
      await page.waitFor(() => document.querySelector('.timeline .single p')?.textContent),
      /insert_id is not valid/,
    );
  });

  it('shows hostile names as text', async (t) => {
    const { dispatcher, page, post } = await start(t);
    dispatcher.onDecision(
      createNotification(HOSTILE_USER, {
        flagKey: HOSTILE_FLAG,
        variationKey: HOSTILE_VARIATION,
        ruleKey: HOSTILE_FLAG,
      }),
    );
    await dispatcher.flush();
    await post([
      {
        user_id: HOSTILE_USER,
        event_type: HOSTILE_FLAG,
        event_properties: { [HOSTILE_FLAG]: HOSTILE_VARIATION },
      },
    ]);

    assert.deepEqual(
      await page.waitFor(`() => document.querySelector('.feed li') && (${feed})()`),
      [[HOSTILE_USER, HOSTILE_FLAG, HOSTILE_VARIATION, HOSTILE_FLAG, 'On']],
    );
    await page.evaluate(() => document.querySelector('.feed summary').click());
    await page.waitFor(() => document.querySelectorAll('.json').length === 2);

    await page.go('/variations');
    assert.equal((await page.waitFor(`() => (${tableOf})('Funnel')`))[0][0], HOSTILE_VARIATION);
    assert.equal(
      await page.evaluate(() => document.querySelector('.controls select').value),
      HOSTILE_FLAG,
    );

    await page.go('/users');
    await page.waitFor(() => document.querySelector('.names a'));
    await page.evaluate(() => document.querySelector('.names a').click());
    assert.equal(
      await page.waitFor(() => document.querySelector('h1.id')?.textContent),
      HOSTILE_USER,
    );
    await page.waitFor(() => document.querySelectorAll('.timeline li').length === 3);

    await page.go('/requests');
    await page.waitFor(() => document.querySelector('tbody .badge'));
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    assert.deepEqual(
      await page.evaluate(() =>
        [...document.querySelectorAll('script, img, svg')].map(({ tagName }) => tagName),
      ),
      ['SCRIPT', 'IMG'],
      "the page's own",
    );
    assert.deepEqual(page.errors, []);
  });

  it('accepts what a browser sends from another origin, and shows it nothing', async (t) => {
    const { collector, url } = await start(t);
    const server = http
      .createServer((req, res) =>
        res
          .writeHead(200, { 'Content-Type': 'text/html' })
          .end('<title>shop</title><link rel=icon href=data:,>'),
      )
      .listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    const shop = await browser.open(`http://localhost:${server.address().port}/`);
    const result = await shop.evaluate(
      async (endpoint, events, mode) => {
        const body = (id) =>
          JSON.stringify({
            api_key: 'key',
            events: [{ event_type: 'Seen', device_id: 'device_1', insert_id: id }],
          });
        const { code } = await (
          await fetch(endpoint, {
            method: 'POST',
            headers: { 'Content-Type': 'application/json' },
            body: body('fetch'),
          })
        ).json();
        navigator.sendBeacon(endpoint, body('beacon'));
        const isRefused = (promise) =>
          promise.then(
            () => false,
            () => true,
          );
        return [
          code,
          await isRefused(fetch(events)),
          await isRefused(fetch(mode, { method: 'PUT', body: '503' })),
        ];
      },
      `${url}/2/httpapi`,
      `${url}/events`,
      `${url}/api/mode`,
    );
    assert.deepEqual(result, [200, true, true]);
    if (collector.store.events().length < 2) {
      await once(collector.store, 'event');
    }
    assert.deepEqual(
      collector.store
        .events()
        .map(({ insert_id: id }) => id)
        .sort(),
      ['beacon', 'fetch'],
    );
  });

  it('fits a narrow screen', async (t) => {
    const { client, dispatcher, page, post } = await start(t);
    decideAs(client, 'user_9');
    decideAs(
      client,
      'user_with_a_very_long_name_that_nobody_wants_to_read_to_its_end_but_that_exists',
    );
    await dispatcher.flush();
    await post([
      {
        user_id: 'user_9',
        event_type: 'A very long name of an event that somebody thought was a good idea',
      },
    ]);
    await page.send('Emulation.setDeviceMetricsOverride', {
      width: 360,
      height: 740,
      deviceScaleFactor: 1,
      mobile: true,
    });
    for (const view of ['decisions', 'variations', 'users', 'users/user_9', 'requests']) {
      await page.go(`/${view}`);
      await page.waitFor(() =>
        document.querySelector('main .feed li, main .analysis, main .names li, main table'),
      );
      assert.equal(
        await page.evaluate(
          () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
        ),
        false,
        view,
      );
    }
  });
});
