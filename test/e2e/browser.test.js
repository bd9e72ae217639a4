'use strict';

/* global document */

/**
 * attachAmplitude() in a real browser: Chromium, with the real SDKs of Optimizely, for React, too, and of Amplitude,
 * against the collector. Each test begins without cookies and without anything stored.
 */

const assert = require('node:assert/strict');
const { after, before, describe, it } = require('node:test');

const { createCollector } = require('../../lib/cli/collector/index.js');
const { bundlePage, startSite } = require('../support/browser/site.js');
const { findChromium, startChromium } = require('../support/process/chromium.js');

/** CI must have a browser. */
const skip =
  findChromium() === undefined &&
  !process.env.CI &&
  'Chromium is not installed (apt-get install chromium, or set CHROMIUM)';
const MARKS = 'OA_browser-te'; // of the API key in pages.jsx
const UNSENT = 'AMP_unsent_browser-te'; // where Amplitude's SDK keeps events
const LOADS = 10;
const PROPERTY = '[Optimizely] checkout_flow';

describe('in a browser', { skip }, () => {
  let browser;
  let bundles;
  before(async () => {
    browser = await startChromium();
    bundles = {
      '/page': bundlePage('test/support/browser/pages.jsx'),
      '/react': bundlePage('test/examples/browser/react.jsx'),
    };
  });
  after(() => browser?.close());

  async function start(t) {
    const collector = createCollector();
    const { url } = await collector.listen();
    const site = await startSite(bundles);
    const context = await browser.createContext();
    t.after(async () => {
      await site.close();
      await collector.close();
    });
    const { store } = collector;
    const urlOf = (options, path = '/page') =>
      `${site.url}${path}?${new URLSearchParams({ serverUrl: `${url}/2/httpapi`, ...options })}`;
    const arrived = () => [...store.events(), ...store.duplicates()];
    return {
      site,
      store,
      urlOf,
      open: (options, path) => browser.open(urlOf(options, path), context),
      /** What arrived, with repeats. */
      count: () =>
        ['$identify', 'Experiment Viewed'].map(
          (type) => arrived().filter((event) => event.event_type === type).length,
        ),
      /** Resolves when there is an event of that type. */
      stored: (type) =>
        new Promise((resolve) => {
          const check = () => store.events({ type }).length > 0 && resolve();
          store.on('event', check);
          check();
        }),
      /** What Amplitude counts. */
      viewed: () => store.events({ type: 'Experiment Viewed' }),
    };
  }

  const settle = (page) => page.evaluate('() => page.settled()');
  const marks = (page) => page.evaluate('(key) => localStorage.getItem(key)', MARKS);

  /** What one page does, and how often: what the pasted listener sends then is what was measured of it. */
  const CASES = {
    'ten loads with a decide()': { query: { do: 'decide' }, loads: LOADS, pasted: [10, 10] },
    'ten loads with a decideAll() of three flags': {
      query: { do: 'decideAll' },
      loads: LOADS,
      pasted: [30, 30],
      ours: [3, 3],
    },
    'ten loads of a component, in StrictMode': {
      query: { do: 'hook', react: 1 },
      loads: LOADS,
      pasted: [40, 40],
    },
    'a decide() in 60 renders': {
      query: { do: 'renders' },
      loads: 1,
      isDone: () => document.querySelector('#count')?.textContent === '60',
      pasted: [60, 60],
    },
  };
  for (const [what, { query, loads, isDone, pasted, ours = [1, 1] }] of Object.entries(CASES)) {
    it(`${what}: ${ours[1]}, where the pasted listener sends ${pasted[1]}`, async (t) => {
      for (const [listener, expected] of [
        ['pasted', pasted],
        ['ours', ours],
      ]) {
        const { count, open, urlOf } = await start(t);
        const page = await open({ ...query, listener });
        for (let load = 1; ; load++) {
          if (isDone) {
            await page.waitFor(isDone);
          }
          // The hook of React decides in an effect.
          await page.evaluate('() => new Promise((resolve) => setTimeout(resolve, 50))');
          await settle(page);
          if (load === loads) {
            break;
          }
          await page.navigate(urlOf({ ...query, listener }));
        }
        assert.deepEqual(count(), expected, listener);
        assert.deepEqual(page.errors, []);
      }
    });
  }

  it('a change is sent at once, and the way back, in whichever tab', async (t) => {
    const { open, store, viewed } = await start(t);
    const [one, other] = [await open(), await open()];
    const decide = async (page, attributes) => {
      await page.evaluate('(attributes) => void page.decide("user_9", attributes)', attributes);
      await settle(page);
    };
    const premium = { country: 'US', plan: 'premium' };
    await decide(one, premium);
    await decide(other, premium);
    await decide(other, {});
    await decide(one, premium);
    await decide(one, premium);
    assert.deepEqual(
      viewed().map((event) => event.event_properties.variation_key),
      ['one_page', 'off', 'one_page'],
    );
    assert.equal(store.user('user_9').user_properties[PROPERTY], 'one_page');
  });

  it("a visitor is one user before and after logging in, and Amplitude's own identity stays", async (t) => {
    const { open, store, viewed } = await start(t);
    const page = await open();
    const device = await page.evaluate('() => page.getDeviceId()');
    assert.match(device, /^[\w-]{20,}$/);
    await page.evaluate('(device) => void page.decide(device)', device);
    await settle(page);
    await page.evaluate('() => page.amplitude.setUserId("user_9")');
    await page.evaluate('(device) => void page.decide(device, {})', device); // as before the log-in
    await page.evaluate('() => void page.decide("user_9")'); // or as the user from now on
    await page.evaluate('() => void page.amplitude.track("Purchase")');
    await settle(page);
    assert.deepEqual(
      viewed().map((event) => [event.user_id, event.device_id]),
      [
        [undefined, device],
        ['user_9', device],
        ['user_9', device],
      ],
    );
    const user = store.user('user_9');
    assert.deepEqual(user.device_ids, [device]);
    assert.equal(user.events.at(-1).event_type, 'Purchase');
    assert.equal(new Set(viewed().map((event) => event.session_id)).size, 1);
    assert.deepEqual(
      await page.evaluate('() => [page.amplitude.getUserId(), page.amplitude.getDeviceId()]'),
      ['user_9', device],
    );
  });

  it('a user who is set with each decision does not change who the SDK thinks is there', async (t) => {
    const { open, viewed } = await start(t);
    const page = await open();
    await page.evaluate('() => void page.decide("user_10")');
    await settle(page);
    assert.equal(viewed()[0].user_id, 'user_10');
    assert.equal(await page.evaluate('() => page.amplitude.getUserId() ?? null'), null);
  });

  it('offline nothing is lost, and online everything arrives by itself', async (t) => {
    const { count, open } = await start(t);
    const page = await open();
    const emulate = (offline) =>
      page.send('Network.emulateNetworkConditions', {
        offline,
        latency: 0,
        downloadThroughput: -1,
        uploadThroughput: -1,
      });
    await page.send('Network.enable');
    await emulate(true);
    await page.waitFor('() => navigator.onLine === false');
    await page.evaluate(`() => {
      for (const flag of ['checkout_flow', 'homepage_banner', 'search_ranking']) {
        page.decide('user_0', undefined, flag);
      }
    }`);
    await page.evaluate('() => new Promise((resolve) => setTimeout(resolve, 300))');
    assert.deepEqual(count(), [0, 0]);
    await emulate(false);
    await settle(page);
    assert.deepEqual(count(), [3, 3]);
  });

  it('a page that is left at once loses nothing, and the next page counts nothing twice', async (t) => {
    const { open, site, store, urlOf, viewed } = await start(t);
    const page = await open({ interval: 1000 });
    await page.evaluate('async () => void (await page.getDeviceId(), page.decide())');
    await page.navigate(`${site.url}/blank`);
    assert.deepEqual(store.events(), []);
    for (let load = 0; load < 3; load++) {
      await page.navigate(urlOf({ do: 'decide' }));
      await settle(page);
    }
    // What the SDK kept of the first page may come later than what the second one decided.
    await page.evaluate('() => page.amplitude.flush().promise');
    assert.equal(viewed().length, 1);
    assert.ok(store.events().length >= 2);
    assert.equal(store.user('user_9').user_properties[PROPERTY], 'one_page');
  });

  it("what Amplitude's SDK has kept of a tab that is closed is sent by the next page, which may not decide", async (t) => {
    const { open, store, stored, viewed } = await start(t);
    const page = await open({ interval: 60_000 });
    await page.evaluate(
      `async (key) => {
      await page.getDeviceId();
      page.decide();
      while (!localStorage.getItem(key)?.includes('Experiment Viewed')) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }`,
      UNSENT,
    );
    await page.close();
    assert.deepEqual(store.events(), []);
    for (const query of [{}, { do: 'decide' }]) {
      const next = await open(query);
      await stored('Experiment Viewed');
      await settle(next);
      await next.close();
    }
    assert.equal(viewed().length, 1);
    assert.equal(store.user('user_9').user_properties[PROPERTY], 'one_page');
  });

  it('a page that is left before Amplitude is initialised is made up for by the next one', async (t) => {
    const { count, open, urlOf } = await start(t);
    const page = await open({ do: 'decide', later: 1 });
    assert.equal(await marks(page), null);
    await page.navigate(urlOf({ do: 'decide', later: 1 }));
    await page.evaluate('() => page.init()');
    await settle(page);
    assert.deepEqual(count(), [1, 1]);
    assert.notEqual(await marks(page), null);
  });

  it('who has opted out is not reported, and nothing is stored; opting in again is enough', async (t) => {
    const { count, open } = await start(t);
    const page = await open();
    await page.evaluate('() => page.amplitude.setOptOut(true)');
    await page.evaluate('() => void page.decide()');
    await settle(page);
    assert.equal(await marks(page), null);
    await page.evaluate('() => page.amplitude.setOptOut(false)');
    assert.deepEqual(count(), [0, 0]);
    await page.evaluate('() => void page.decide()');
    await settle(page);
    assert.deepEqual(count(), [1, 1]);
  });

  for (const [name, path, user] of [
    ['page.html', '/test/examples/browser/page.html', undefined],
    ['react.jsx', '/react', 'user_9'],
  ]) {
    it(`the example ${name} sends one exposure, however often it is loaded`, async (t) => {
      const { open, store, stored, urlOf, viewed } = await start(t);
      const page = await open({}, path);
      await page.waitFor(() =>
        /Checkout|checkout/.test(document.querySelector('#title')?.innerText),
      );
      await stored('Experiment Viewed');
      await page.evaluate(`async () => {
        while (!Object.keys(localStorage).some((key) => key.startsWith('OA_'))) {
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }`);
      for (let load = 0; load < 2; load++) {
        await page.navigate(urlOf({}, path));
        await page.waitFor(() => document.querySelector('#title') !== null);
      }
      assert.deepEqual(
        [...viewed(), ...store.duplicates()].map((event) => [
          event.user_id,
          event.event_properties.flag_key,
        ]),
        [[user, 'checkout_flow']],
      );
    });
  }
});
