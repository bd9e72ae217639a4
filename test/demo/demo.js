'use strict';

/*
 * A shop tests a new checkout. `npm run demo` shows the whole way of an experiment, without any account:
 * the Optimizely SDK decides, this package delivers, and Amplitude, here a stand-in on this machine,
 * shows which checkout sells more. Then the way back: who bought is in a cohort of Amplitude, and gets a
 * flag that nobody else gets.
 *
 * Read it from main() on. What a real service needs is in createShop(), and in thank() for the way back.
 */

const { createInstance, createStaticProjectConfigManager } = require('@optimizely/optimizely-sdk');
const fs = require('node:fs');
const path = require('node:path');
const { createDispatcher } = require('../../lib/index.js'); // require('optimizely-amplitude') for you
const { createAudiences } = require('../../lib/audiences.js'); // require('optimizely-amplitude/audiences')
const { createCollector } = require('../../lib/cli/collector/index.js');
const { seededRandom } = require('../support/util/random.js');

const API_KEY = 'demo-key';
const FLAG = 'checkout_flow';
/** `npm run demo -- exposure` shows that another format gives the same answer; or `merged`. */
const FORMATS = ['event', 'merged', 'exposure']; // `identify` has no event for the funnel
const FORMAT = process.argv[2] ?? FORMATS[0];
/** The user property that Amplitude gets, and the event. */
const [PREFIX, VIEWED] =
  FORMAT === 'exposure'
    ? ['[Experiment] ', '[Experiment] Exposure']
    : ['[Optimizely] ', 'Experiment Viewed'];
const PROPERTY = PREFIX + FLAG;
const VISITORS = 2000;

/** A cohort of Amplitude, the attribute of Optimizely that it becomes, and the flag for users who have it. */
const COHORT = { id: 'buyers', eventType: 'Purchase', count: 1, days: 30 };
const ATTRIBUTE = 'amplitude_power_user';
const REWARD = 'power_tools';

/** The probability that a visitor goes to the checkout, and buys there. The experiment has to find it out. */
const TEMPTATION = {
  control: { checkout: 0.4, purchase: 0.5 },
  one_page: { checkout: 0.45, purchase: 0.68 },
  on: { checkout: 0.47, purchase: 0.66 },
  off: { checkout: 0.36, purchase: 0.48 },
};

async function main() {
  if (!FORMATS.includes(FORMAT)) {
    console.error(`demo: expected a format with events, ${FORMATS.join(', ')}; got ${FORMAT}`);
    process.exitCode = 2;
    return;
  }
  const amplitude = createCollector({ cohorts: [COHORT] });
  await amplitude.listen();
  const endpoint = `${amplitude.url}/2/httpapi`;
  const { optimizely, dispatcher } = createShop(endpoint);

  await optimizely.onReady(); // before it, every decision is null and sends no notification
  const purchases = visit(optimizely);
  const reports = [await dispatcher.flush()]; // every decision is in Amplitude now
  await track(endpoint, purchases);
  const cohort = await thank(amplitude.url, dispatcher);
  reports.push(await dispatcher.flush());

  await dispatcher.close();
  await optimizely.close();
  await amplitude.close();

  printIntroduction();
  printUsers(amplitude.store);
  printFunnel(amplitude.store);
  const isClosed = printLoop(amplitude.store, cohort, purchases);
  printReport(reports, dispatcher.stats());
  const isDelivered = reports.every(({ dropped, pending }) => dropped + pending === 0);
  process.exitCode = isClosed && isDelivered ? 0 : 1;
}

/** What a service needs. With a datafile from Optimizely, it would have an sdkKey. */
function createShop(serverUrl) {
  const datafile = fs.readFileSync(path.join(__dirname, '../examples/datafile.json'), 'utf8');
  const optimizely = createInstance({
    projectConfigManager: createStaticProjectConfigManager({ datafile }),
  });
  const dispatcher = createDispatcher({
    apiKey: API_KEY,
    serverUrl, // not in your service: Amplitude is the default
    format: FORMAT, // not in your service, either: the default is what it needs
    disabledValue: 'variation', // the control group has the flag off, and its name should be shown nevertheless
  });
  dispatcher.attach(optimizely);
  return { optimizely, dispatcher };
}

/** Let all visitors in; return the events of their further steps, in order. */
function visit(optimizely) {
  const chance = seededRandom(20261124);
  const events = [];
  for (let i = 0; i < VISITORS; i++) {
    const userId = `user_${i}`;
    const attributes = {
      country: chance() < 0.9 ? 'US' : 'FR',
      plan: chance() < 0.85 ? 'premium' : 'basic',
    };
    const user = optimizely.createUserContext(userId, attributes);

    const { variationKey } = user.decide(FLAG); // the dispatcher listens, so nothing else is needed
    if (i % 10 === 0) {
      user.decideAll(); // decides FLAG again, which is not sent again
    }

    const { checkout, purchase } = TEMPTATION[variationKey];
    if (chance() < checkout) {
      events.push({ user_id: userId, event_type: 'Checkout', time: Date.now() });
      if (chance() < purchase) {
        events.push({ user_id: userId, event_type: 'Purchase', time: Date.now() });
      }
    }
  }
  return events;
}

/** The way back, another day: who bought gets a flag. Resolves to what is known of the cohort. */
async function thank(serverUrl, dispatcher) {
  const file = path.join(__dirname, '../examples/audiences-datafile.json');
  const optimizely = createInstance({
    projectConfigManager: createStaticProjectConfigManager({
      datafile: fs.readFileSync(file, 'utf8'),
    }),
  });
  const audiences = createAudiences({
    apiKey: API_KEY,
    secretKey: 'demo-secret',
    serverUrl, // not in your service: Amplitude is the default
    cohorts: { [ATTRIBUTE]: COHORT.id },
  });
  audiences.attach(optimizely); // createUserContext() adds the attribute
  dispatcher.attach(optimizely);
  const [status] = await Promise.all([audiences.ready(), optimizely.onReady()]);
  for (let i = 0; i < VISITORS; i++) {
    optimizely.createUserContext(`user_${i}`).decide(REWARD);
  }
  await audiences.close();
  await optimizely.close();
  return status.cohorts[ATTRIBUTE];
}

/** Track Checkout and Purchase, as your site does already with Amplitude's own SDK. */
async function track(endpoint, events) {
  const perRequest = 1000;
  for (let i = 0; i < events.length; i += perRequest) {
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ api_key: API_KEY, events: events.slice(i, i + perRequest) }),
    });
    if (!response.ok) {
      throw new Error(`the collector refused the events: ${await response.text()}`);
    }
  }
}

// ---- what Amplitude's charts would show, from the events that arrived ---------------------------------

/** The number of users with each value of PROPERTY. */
function countUsers(store) {
  const counts = {};
  const ids = new Set(store.events().map((event) => event.user_id));
  for (const id of ids) {
    const value = store.user(id).user_properties[PROPERTY];
    counts[value] = (counts[value] ?? 0) + 1;
  }
  return counts;
}

/** For each variation, the number of users that reached each step: VIEWED, Checkout, Purchase. */
function countFunnel(store) {
  const steps = [VIEWED, 'Checkout', 'Purchase'];
  const users = new Map(); // the steps of each, and its variation at the moment
  const counts = {};
  for (const { person, type, changes, exposure } of store.records()) {
    const user = users.get(person) ?? { step: 0, variation: undefined };
    users.set(person, user);
    const at = changes === null ? -1 : changes.indexOf(PROPERTY);
    user.variation = at < 0 ? user.variation : changes[at + 1];
    if (type !== steps[user.step] || (user.step === 0 && exposure.flag !== FLAG)) {
      continue;
    }
    counts[user.variation] ??= steps.map(() => 0);
    counts[user.variation][user.step++]++;
  }
  return counts;
}

// ---- the output ---------------------------------------------------------------------------------------

const WIDTH = 76;
const BAR_WIDTH = 30;

const number = (value) => value.toLocaleString('en-US');
const percent = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`;
const bar = (part, whole, width = BAR_WIDTH) =>
  '█'.repeat(Math.round((width * part) / whole)).padEnd(width, '░');

/** Print cells below each other: the first column to the left, all others to the right. */
function printRow(cells, widths) {
  console.log(
    `  ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('')}`,
  );
}

function printTitle(title) {
  console.log(`\n${title}\n${'─'.repeat(WIDTH)}`);
}

function printIntroduction() {
  console.log(`
${number(VISITORS)} visitors came to a shop that tries a new checkout. The Optimizely SDK
decided what each of them saw; optimizely-amplitude delivered that to a local
stand-in for Amplitude, which can tell:`);
}

function printUsers(store) {
  const counts = countUsers(store);
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const widths = [12, 8, 10, BAR_WIDTH + 4];
  printTitle(`Users by  ${PROPERTY}`);
  for (const value of Object.keys(TEMPTATION)) {
    const count = counts[value] ?? 0;
    printRow([value, number(count), percent(count, total), bar(count, total)], widths);
  }
}

function printFunnel(store) {
  const counts = countFunnel(store);
  const widths = [12, 25, 13, 12, 12];
  printTitle('Funnel by variation');
  printRow(['', `${VIEWED} >`, 'Checkout >', 'Purchase', 'conversion'], widths);
  for (const variation of Object.keys(TEMPTATION)) {
    const [viewed, checkout, purchase] = counts[variation] ?? [0, 0, 0];
    printRow(
      [variation, ...[viewed, checkout, purchase].map(number), percent(purchase, viewed)],
      widths,
    );
  }
  const rate = ([viewed, , purchase]) => purchase / viewed;
  const lift = rate(counts.one_page) / rate(counts.control) - 1;
  console.log(
    `\n  The one-page checkout sells ${percent(Math.abs(lift), 1)} ${lift > 0 ? 'more' : 'less'} than the control.`,
  );
}

/** Print who got the reward; return whether these are the users who bought. */
function printLoop(store, { state, size }, purchases) {
  const isBuyer = ({ event_type: type }) => type === COHORT.eventType;
  const buyers = new Set(purchases.filter(isBuyer).map(({ user_id: userId }) => userId));
  const ids = Array.from({ length: VISITORS }, (_, i) => `user_${i}`);
  const valueOf = (id) => store.user(id).user_properties[PREFIX + REWARD];
  const rewarded = ids.filter((id) => valueOf(id) === 'on');
  const refused = ids.filter((id) => valueOf(id) === 'off');
  const widths = [56, 8, 8];
  printTitle('The way back: a cohort decides');
  printRow([`did  ${COHORT.eventType}`, number(buyers.size), 'users'], widths);
  printRow([`are in the cohort  ${COHORT.id}  (${state})`, number(size ?? 0), 'users'], widths);
  printRow(
    [`got the flag  ${REWARD},  as Amplitude knows`, number(rewarded.length), 'users'],
    widths,
  );
  printRow(['did not get it', number(refused.length), 'users'], widths);
  const isClosed =
    rewarded.length === buyers.size &&
    rewarded.every((id) => buyers.has(id)) &&
    rewarded.length + refused.length === VISITORS;
  console.log(
    isClosed
      ? `\n  Who bought is ${ATTRIBUTE}, and gets a flag that others do not.`
      : '\n  The users who got the flag are not those who bought: the loop is broken.',
  );
  return isClosed;
}

function printReport(reports, { decisions, requests, events }) {
  printTitle('Delivery');
  for (const { delivered, dropped, pending, durationMillis } of reports) {
    console.log(
      `  flush()   ${number(delivered)} decisions delivered, ${dropped} dropped, ${pending} pending, in ${Math.round(durationMillis)} ms`,
    );
  }
  console.log(`  stats()   ${number(decisions.seen)} decisions heard, ${number(decisions.deduplicated)} of them repeats
            ${number(events.sent)} events in ${requests.sent} requests`);
  printTitle('Next');
  console.log(`  test/demo/demo.js                     how this was made
  README.md                             the code for your service, under Use, and where to look next
  npx optimizely-amplitude collector    a stand-in that shows what you send
`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1); // the stand-in would go on listening
});
