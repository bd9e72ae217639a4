'use strict';

/* global DataTransfer, document, getSelection, history, location, window */

/** The collector's page in a real browser, with decisions of the real SDK. */

const assert = require('node:assert/strict');
const { after, before, describe, it } = require('node:test');
const { once } = require('node:events');
const http = require('node:http');

const { createDispatcher } = require('../../lib/index.js');
const { createCollector } = require('../../lib/cli/collector/index.js');
const { asSent } = require('../../lib/cli/collector/record.js');
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
const LONG_NAME = 'long_'.repeat(40);
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
const choose = (label, value) => {
  const select = [...document.querySelectorAll('.choice')]
    .find((one) => one.querySelector('span').textContent === label)
    .querySelector('select');
  select.value = value;
  select.dispatchEvent(new Event('change'));
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
    const rowsOf = (names) =>
      Object.entries(expected)
        .filter(([variation]) => names.includes(variation))
        .sort()
        .map(([variation, counts]) => [
          variation,
          ...counts.map(String),
          `${((100 * counts[2]) / counts[0]).toFixed(1)}%`,
        ]);
    const isFunnel = `(rows) => JSON.stringify((${tableOf})('Funnel')) === JSON.stringify(rows)`;
    // The experiment is chosen, and the rollouts of the flag do not stand beside it.
    await page.go('/experiments');
    await page.waitFor(isFunnel, rowsOf(['control', 'one_page']));
    assert.deepEqual(
      await page.evaluate(() =>
        [...document.querySelectorAll('.steps select')].map(({ value }) => value),
      ),
      ['$exposed', 'Checkout', 'Purchase'],
    );
    await page.evaluate(choose, 'Rule', '*');
    const rows = rowsOf(Object.keys(expected));
    await page.waitFor(isFunnel, rows);
    const users = await page.evaluate(tableOf, 'Users and exposures');
    assert.deepEqual(
      users.map(([variation, count]) => [variation, count]),
      rows.map(([variation, viewed]) => [variation, viewed]),
    );

    // Another choice, and the chart stays live.
    await page.evaluate(choose, 'Step 3', 'Checkout');
    await page.waitFor(`() => (${tableOf})('Funnel').every((row) => row[3] === '0')`);
    await post(events.filter(({ event_type: type }) => type === 'Checkout'));
    await page.waitFor(
      `(rows) => (${tableOf})('Funnel').every((row, i) => row[3] === rows[i][2])`,
      rows,
    );
    // The way back leads through what was chosen.
    await page.evaluate(() => history.back());
    await page.waitFor(isFunnel, rows);
    await page.evaluate(() => history.back());
    await page.waitFor(isFunnel, rowsOf(['control', 'one_page']));
    assert.deepEqual(page.errors, []);
  });

  /** Send exposures and purchases of an experiment: `users` and `buyers` by variation. */
  async function tell(post, users, buyers) {
    const events = Object.keys(users).flatMap((variation) =>
      Array.from({ length: users[variation] }, (item, i) => {
        const event = {
          user_id: `user_${variation}_${i}`,
          time: Date.now() - 3_600_000 + i * 1000,
        };
        return [
          {
            ...event,
            event_type: 'Experiment Viewed',
            event_properties: {
              ...{ flag_key: 'checkout_flow', variation_key: variation, rule_key: 'checkout_ab' },
              ...{ enabled: variation !== 'control', country: i % 2 === 0 ? 'DE' : 'FR' },
            },
          },
          i < buyers[variation] && { ...event, event_type: 'Purchase', time: event.time + 1 },
        ];
      }).flat(),
    );
    const sent = events.filter(Boolean);
    for (let at = 0; at < sent.length; at += 1000) {
      await post(sent.slice(at, at + 1000));
    }
  }

  const verdicts = () =>
    [...document.querySelectorAll('.verdict')].map((one) => one.textContent.trim());

  it('answers whether there is a difference, from an empty collector on', async (t) => {
    const { page, post } = await start(t);
    await page.go('/experiments?by=country');
    assert.match(
      await page.waitFor(() => document.querySelector('.empty')?.innerText),
      /No experiments yet/,
    );
    const users = { control: 1000, one_page: 1010 };
    await tell(post, { control: 50, one_page: 50 }, { control: 10, one_page: 20 });
    const [, early] = await page.waitFor(
      `() => { const all = (${verdicts})(); return all.length === 2 && all; }`,
    );
    assert.match(early, /^Too early to compare Purchase of one_page\. It takes 100 users and 25/);

    const buyers = { control: 230, one_page: 306 };
    await tell(post, users, buyers);
    // What statistics.js computes is compared with SciPy elsewhere; this is computed here.
    const seen = { control: 1000, one_page: 1010 };
    const [x1, n1, x0, n0] = [buyers.one_page, seen.one_page, buyers.control, seen.control];
    const ratio = x1 / n1 / (x0 / n0);
    const half = 1.959964 * Math.sqrt(1 / x1 - 1 / n1 + 1 / x0 - 1 / n0);
    const percents = [ratio, ratio * Math.exp(-half), ratio * Math.exp(half)].map(
      (value) => `${(100 * (value - 1)).toFixed(0)}%`,
    );
    assert.deepEqual(percents, ['32%', '14%', '53%']);
    const [split, difference] = await page.waitFor(
      `() => { const all = (${verdicts})(); return all[1].startsWith('one_page') && all; }`,
    );
    assert.match(split, /^As planned\. The split fits equal parts/);
    assert.equal(
      difference,
      'one_page lifts Purchase by 32% (14% to 53%), however often one looks.',
    );
    assert.deepEqual(
      await page.evaluate(tableOf, 'For whom?').then((rows) => rows.map((row) => row[0])),
      ['DE', 'FR'],
    );
    await page.evaluate(choose, 'Control', 'one_page');
    await page.waitFor(
      `() => (${verdicts})()[1].startsWith('control lowers Purchase by 24% (12% to 34%)')`,
    );
    assert.equal(
      await page.evaluate(() => document.querySelectorAll('.chart svg').length),
      4,
      'rates, lift, users and rate over time',
    );
    assert.deepEqual(page.errors, []);
  });

  it('calls a broken split so', async (t) => {
    const { page, post } = await start(t);
    await tell(post, { control: 1500, one_page: 1200 }, { control: 300, one_page: 300 });
    await page.go('/experiments');
    const [split] = await page.waitFor(
      `() => document.querySelector('.verdict') && (${verdicts})()`,
    );
    assert.match(split, /^Not as planned: do not trust what follows\./);
    assert.match(split, /Usual causes/);
    assert.equal(
      await page.evaluate(() => document.querySelector('.verdict').className),
      'verdict bad',
    );
  });

  it('says that a mean is lower where there is no lift', async (t) => {
    const { page, post } = await start(t);
    const refund = (variation, amount) =>
      Array.from({ length: 150 }, (item, i) => `${variation}_${i}`).flatMap((user, i) => [
        {
          user_id: user,
          event_type: 'Experiment Viewed',
          event_properties: { flag_key: 'f', rule_key: 'r', variation_key: variation },
        },
        { user_id: user, event_type: 'Refund', event_properties: { amount: amount - (i % 3) } },
      ]);
    await post(refund('control', -2));
    await post(refund('one_page', -8));
    await page.go('/experiments?flag=f&step=$exposed&step=Refund&metric=Refund&property=amount');
    const said = await page.waitFor(`() => document.querySelector('.verdict') && (${verdicts})()`);
    assert.match(
      said.at(-1),
      /^one_page lowers amount of Refund for each user by 6\.00 \(5\.\d\d to 6\.\d\d\), however/,
    );
    assert.deepEqual(page.errors, []);
  });

  it('says that a time range is impossible, and ignores what is none', async (t) => {
    const { page, post } = await start(t);
    await tell(post, { control: 30, one_page: 30 }, { control: 3, one_page: 3 });
    await page.go('/experiments?from=2000&to=1000');
    assert.equal(
      await page.waitFor(() => document.querySelector('.empty h2')?.textContent),
      'There is no such time',
    );
    assert.ok(await page.evaluate(() => document.querySelectorAll('.lead input').length === 2));
    await page.go('/experiments?from=x&days=never');
    await page.waitFor(() => document.querySelector('.analysis'));
  });

  it('updates in place: focus, selection and scroll positions stay', async (t) => {
    const { page, post } = await start(t);
    const event = { user_id: 'user_9', event_type: 'Purchase', event_properties: { amount: 1 } };
    await post(Array.from({ length: 60 }, () => event));
    await page.go('/users/user_9');
    await page.waitFor(() => document.querySelectorAll('.timeline li').length === 60);
    await page.evaluate(() => {
      const details = document.querySelector('.timeline details');
      details.open = true;
      window.scrollTo(0, 700);
      document.querySelector('.crumb a').focus({ preventScroll: true });
      getSelection().selectAllChildren(document.querySelector('.lead'));
    });
    await page.waitFor(() => document.querySelector('.timeline .json'));
    const state = () => [
      window.scrollY,
      document.activeElement.textContent,
      getSelection().toString().includes('events'),
      document.querySelectorAll('.timeline details[open] .json').length,
    ];
    const before = await page.evaluate(state);
    await post([event]);
    await page.waitFor(() => document.querySelectorAll('.timeline li').length === 61);
    assert.deepEqual(await page.evaluate(state), before);
    assert.deepEqual(before.slice(1), ['Users', true, 1]);

    await tell(post, { control: 20, one_page: 20 }, { control: 5, one_page: 5 });
    await page.go('/experiments');
    await page.waitFor(() => document.querySelector('.steps select'));
    await page.evaluate(() => document.querySelector('.steps select').focus());
    await tell(post, { later: 1 }, { later: 0 });
    await page.waitFor(`() => (${tableOf})('Funnel')?.length === 3`);
    assert.equal(
      await page.evaluate(() => document.activeElement === document.querySelector('.steps select')),
      true,
    );
  });

  it('works in eight tabs, which share a stream', async (t) => {
    const { page, post, url, collector } = await start(t);
    const tabs = await Promise.all(Array.from({ length: 7 }, () => browser.open(`${url}/#/users`)));
    const all = [page, ...tabs];
    const isLive = () => document.querySelector('#connection')?.textContent === 'Live';
    await Promise.all(all.map((tab) => tab.waitFor(isLive)));
    await post([{ user_id: 'user_of_all', event_type: 'X' }]);
    await Promise.all(
      tabs.map((tab) => tab.waitFor(() => document.querySelector('.people a .user'))),
    );
    assert.equal(collector.store.listenerCount('reset'), 1);
    assert.ok((await request(`${url}/stats`)).status === 200);
  });

  it('finds users and events, and keeps the filters in the address', async (t) => {
    const { page, post, url } = await start(t);
    await post(
      Array.from({ length: 300 }, (item, i) => ({
        user_id: `user_${i}`,
        event_type: i % 2 ? 'Odd' : 'Even',
      })),
    );
    const purchase = { user_id: 'user_7', event_type: 'Purchase', insert_id: 'one' };
    await post([purchase, purchase]);
    await page.go('/users');
    await page.waitFor(() => document.querySelectorAll('.people li').length === 100);
    await page.evaluate(() => {
      const input = document.querySelector('input[type=search]');
      input.value = 'user_29';
      input.dispatchEvent(new Event('input'));
    });
    await page.waitFor(() => document.querySelectorAll('.people li').length === 11);
    assert.match(await page.evaluate(() => location.hash), /[?&]q=user_29/);

    await page.go('/events?outcome=repeat');
    await page.waitFor(() => document.querySelectorAll('.timeline li').length === 1);
    await page.evaluate(choose, 'Outcome', '');
    await page.evaluate(choose, 'Type', 'Odd');
    await page.waitFor(
      () =>
        document.querySelectorAll('.timeline li').length === 150 &&
        document.querySelector('.timeline .type').textContent === 'Odd',
    );
    const address = await page.evaluate(() => location.hash);
    assert.equal(address, '#/events?type=Odd');
    const shared = await browser.open(`${url}/${address}`);
    await shared.waitFor(() => document.querySelectorAll('.timeline li').length === 150);
    assert.deepEqual(page.errors, []);
  });

  it('takes what was exported, after a reset', async (t) => {
    const { collector, page, post, url } = await start(t);
    await post([
      { user_id: 'user_1', event_type: 'A' },
      { user_id: 'user_2', event_type: 'B' },
    ]);
    const { text } = await request(`${url}/api/export`);
    await page.go('/requests');
    await page.waitFor(() => document.querySelector('.collected'));
    await page.evaluate(click, '.collected button', 'Forget everything');
    await page.evaluate(click, '.collected button', 'Forget all events and users?');
    await page.waitFor(() => /is forgotten/.test(document.querySelector('.collected').textContent));
    assert.equal(collector.store.events().length, 0);
    await page.evaluate((content) => {
      const files = new DataTransfer();
      files.items.add(new File([content], 'collector.jsonl'));
      const input = document.querySelector('.collected input');
      input.files = files.files;
      input.dispatchEvent(new Event('change'));
    }, text);
    await page.waitFor(() =>
      /2 events were taken/.test(document.querySelector('.collected').textContent),
    );
    assert.deepEqual(
      collector.store.events().map(({ event_type: type }) => type),
      ['A', 'B'],
    );
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

    await page.go('/experiments');
    assert.equal((await page.waitFor(`() => (${tableOf})('Funnel')`))[0][0], HOSTILE_VARIATION);
    assert.equal(
      await page.evaluate(() => document.querySelector('.controls select').value),
      HOSTILE_FLAG,
    );

    await page.go('/users');
    await page.waitFor(() => document.querySelector('.people a'));
    await page.evaluate(() => document.querySelector('.people a').click());
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
      ...['a', 'b'].map((variation) => ({
        user_id: `user_of_${variation}`,
        event_type: 'Experiment Viewed',
        event_properties: {
          flag_key: LONG_NAME,
          rule_key: LONG_NAME,
          variation_key: LONG_NAME + variation,
        },
      })),
      { user_id: 'user_of_a', event_type: LONG_NAME },
    ]);
    await page.send('Emulation.setDeviceMetricsOverride', {
      width: 360,
      height: 740,
      deviceScaleFactor: 1,
      mobile: true,
    });
    for (const view of [
      'decisions',
      'experiments',
      `experiments?flag=${LONG_NAME}&step=$exposed&step=${LONG_NAME}`,
      'users',
      'users/user_9',
      'events',
      'requests',
    ]) {
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
