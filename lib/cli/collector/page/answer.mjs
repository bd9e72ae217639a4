/** The answer of an experiment: is the split right, is there a difference, since when, and for whom? */

import { columns, legend, lines, whiskers } from './charts.mjs';
import { h } from './dom.mjs';
import { change, mean, number, pIs, pValue, plural, share, sum } from './format.mjs';
import { count, line, part, section } from './parts.mjs';
import { EXPOSED } from './settings.mjs';

const stepName = (step) => (step === EXPOSED ? 'Exposure' : step);
const banner = (kind, ...content) => h('p', { class: `verdict ${kind}` }, content);
const between = ({ low, high }, format) => `${format(low)} to ${format(high)}`;

// ---- the split --------------------------------------------------------------------------------------

const CAUSES =
  'Usual causes: users of one variation are lost before their event (a redirect, a crash, a slow page), the exposure is sent at ' +
  'different moments, bots, or the traffic allocation was changed while the experiment ran.';

function splitVerdict({ verdict, pValue: p, isPlanned }) {
  const plan = isPlanned ? "the datafile's traffic allocation" : 'equal parts';
  if (verdict === 'early') {
    return banner(
      '',
      h('strong', {}, 'Too early to tell. '),
      'There are too few users for a test.',
    );
  }
  return verdict === 'planned'
    ? banner('good', h('strong', {}, 'As planned. '), `The split fits ${plan} (${pIs(p)}).`)
    : banner(
        'bad',
        h('strong', {}, 'Not as planned: do not trust what follows. '),
        `If the plan is ${plan}, such a split has ${pIs(p)}. ${CAUSES}`,
      );
}

export function splitSection({ rows, comparison, switched }) {
  const { split } = comparison;
  const users = rows.reduce((all, { assigned }) => all + assigned, 0);
  const expected = (variation) =>
    split?.parts.find((one) => one.variation === variation)?.expected ?? null;
  const more =
    switched === 0
      ? []
      : `${plural(switched, 'user', 'users')} saw more than one variation, and are left out of every comparison.`;
  return section(
    'Is the split right?',
    'Users by the variation that they were exposed to, and what was planned.',
    [],
    [
      split === null
        ? banner(
            '',
            'Choose a rule to compare its split with the plan: a flag as a whole has none.',
          )
        : splitVerdict(split),
      switched > 0 && banner(switched > users / 100 ? 'warn' : '', more),
    ],
    ['Variation', 'Users', 'Share', 'Planned', 'Exposures'],
    rows.map(({ variation, assigned, exposures }) =>
      line(
        [variation],
        count(assigned),
        part(assigned, users),
        expected(variation) === null ? ['–', ''] : count(Math.round(expected(variation))),
        count(exposures),
      ),
    ),
    split?.isPlanned === false
      ? 'Start the collector with --datafile or --sdk-key to compare with the planned traffic.'
      : null,
  );
}

// ---- the difference ---------------------------------------------------------------------------------

/** The name of a variation in a table, which says which one is the control. */
const nameIn = ({ variation }, control) =>
  variation === control.variation && variation !== 'control' ? `${variation} (control)` : variation;

/** What a comparison says, in a sentence. Means that are not all above 0 have no lift, but a difference. */
export function sentence(variation, what, { lift, difference, pValue: p, verdict }, early) {
  const [effect, format, signed] = lift ? [lift, share, change] : [difference, mean, mean];
  const isLess = effect !== null && effect.value < 0;
  const by = isLess ? { value: -effect.value, low: -effect.high, high: -effect.low } : effect;
  const amount = by && `by ${format(by.value)} (${between(by, format)})`;
  const verb = isLess ? 'lowers' : 'lifts';
  const [name, goal] = [variation, what].map((text) => h('bdi', {}, text)); // it may be written from right to left
  switch (verdict) {
    case 'different':
      return banner(
        isLess ? 'bad' : 'good',
        h('strong', {}, name, ` ${verb} `, goal, ` ${amount ?? ''}`),
        ', however often one looks.',
      );
    case 'once':
      return banner(
        'warn',
        h('strong', {}, name, ` seems to ${verb.slice(0, -1)} `, goal, ` ${amount ?? ''}`),
        `: ${pIs(p)} counts if you had planned to look now, and once. Whoever looks again and again finds such a difference ` +
          'where there is none; wait for more users.',
      );
    case 'none':
      return banner(
        '',
        h('strong', {}, 'No difference in ', goal, ' is seen between ', name, ' and the control. '),
        effect === null ? '' : `It may be anything from ${between(effect, signed)} (${pIs(p)}).`,
      );
    default:
      return banner('', h('strong', {}, 'Too early to compare ', goal, ' of ', name, '. '), early);
  }
}

const METHODS = [
  ['Rates', "Wilson's score interval, 95 % (Wilson 1927)."],
  ['Lift', 'the ratio of two rates, minus 1; 95 % interval of the logarithm (Katz et al. 1978).'],
  ['p', 'z-test of two proportions, pooled, two-sided; for means Welch’s t-test (Welch 1947).'],
  [
    'p at any look',
    'always valid: mixture sequential probability ratio test (Johari et al. 2022), for lifts of about 20 %.',
  ],
  [
    'Several variations',
    'both p are multiplied by the number of comparisons with the control, and the intervals of lifts are as much wider (Bonferroni).',
  ],
  [
    'Split',
    "Pearson's chi-squared test; p below 0.001 is not as planned, since it is looked at again and again.",
  ],
];

const methods = () =>
  h(
    'details',
    { class: 'methods' },
    h('summary', {}, 'Methods'),
    h(
      'dl',
      {},
      METHODS.map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, text))),
    ),
  );

/** The users of a variation may be compared by the last step, or by any before. */
function rateCells(arm, step) {
  const { successes, rate, comparison } = arm.steps[step];
  const plain = (value) => (value == null ? '' : Number(value.toFixed(6)));
  return [
    [`${number(successes)} of ${number(arm.users)}`, successes],
    [rate === null ? '–' : share(rate.value), plain(rate?.value)],
    [
      rate === null ? '–' : between(rate, share),
      rate === null ? '' : `${plain(rate.low)} to ${plain(rate.high)}`,
    ],
    [comparison?.lift ? change(comparison.lift.value) : '–', plain(comparison?.lift?.value)],
    [
      comparison?.lift ? between(comparison.lift, change) : '–',
      comparison?.lift ? `${plain(comparison.lift.low)} to ${plain(comparison.lift.high)}` : '',
    ],
    [comparison?.pValue == null ? '–' : pValue(comparison.pValue), plain(comparison?.pValue)],
    [
      comparison?.pAtAnyLook == null ? '–' : pValue(comparison.pAtAnyLook),
      plain(comparison?.pAtAnyLook),
    ],
  ];
}

const RATE_HEAD = ['Users', 'Rate', '95% interval', 'Lift', '95% interval', 'p', 'p at any look'];

const isEarly = (arm, control, step) =>
  [arm, control]
    .map(
      ({ variation, users, steps }) =>
        `${variation} has ${number(users)} and ${number(steps[step].successes)}`,
    )
    .join(', ');

export function differenceSection({ comparison, rows }, settings, controls) {
  const steps = settings.step;
  const { arms } = comparison;
  const [control, ...others] = arms;
  const last = steps.length - 1;
  const indexOf = (variation) => rows.findIndex((row) => row.variation === variation);
  const names = rows.map(({ variation }) => variation);
  const verdicts = others.map((arm) =>
    last === 0
      ? banner('', 'Add a step after the first one, to compare how many users make it.')
      : sentence(
          arm.variation,
          stepName(steps[last]),
          arm.steps[last].comparison,
          `It takes 100 users and 25 of them with ${stepName(steps[last])} in each variation: ${isEarly(arm, control, last)}.`,
        ),
  );
  const groups = steps.slice(1).map((step, i) => ({
    name: stepName(step),
    columns: names.map((variation) => {
      const rate = arms.find((arm) => arm.variation === variation)?.steps[i + 1].rate;
      return rate
        ? { ...rate, title: `${variation}: ${share(rate.value)} (${between(rate, share)})` }
        : { value: null };
    }),
  }));
  return section(
    'Is there a difference?',
    `How many users of each variation made the steps after ${stepName(steps[0])}, in this order.`,
    controls,
    [
      others.length === 0
        ? banner('', 'There is nothing to compare yet: all users saw one variation.')
        : verdicts,
      last > 0 && [
        h('h3', {}, 'Rates, with 95% intervals'),
        legend(names),
        columns('Rates by step and variation', groups, {
          format: share,
          unit: `% of users with ${stepName(steps[0])}`,
        }),
      ],
      last > 0 &&
        others.length > 0 && [
          h('h3', {}, `Lift of ${stepName(steps[last])} to ${control.variation}`),
          whiskers(
            'Lift by variation',
            others.map(({ variation, steps: made }) => ({
              name: variation,
              index: indexOf(variation),
              ...made[last].comparison?.lift,
            })),
            {
              format: change,
              unit: `relative change of the rate, with its 95% interval`,
              zero: true,
            },
          ),
        ],
      methods(),
    ],
    ['Variation', ...(steps.length > 2 ? ['Step'] : []), ...RATE_HEAD],
    arms.flatMap((arm) =>
      (last === 0 ? [0] : steps.slice(1).map((step, i) => i + 1)).map((step) =>
        line(
          [nameIn(arm, control), arm.variation],
          ...(steps.length > 2 ? [[stepName(steps[step])]] : []),
          ...rateCells(arm, step),
        ),
      ),
    ),
  );
}

const METRIC_HEAD = ['Variation', 'Users', 'With a value', 'Sum', 'Mean', '95% interval'];

/** A variation's line in the table of means. */
function meanLine({ variation, metric }, control) {
  const { comparison, mean: average } = metric;
  const lift = comparison?.lift;
  const p = (value) => (value == null ? ['–', ''] : [pValue(value), value]);
  return line(
    [nameIn({ variation }, control), variation],
    count(metric.users),
    count(metric.active),
    [sum(metric.sum), metric.sum],
    average === null ? ['–', ''] : [mean(average.value), average.value],
    [average === null ? '–' : between(average, mean)],
    lift ? [change(lift.value), lift.value] : ['–', ''],
    [lift ? between(lift, change) : '–'],
    p(comparison?.pValue),
    p(comparison?.pAtAnyLook),
  );
}

export function metricSection({ comparison, rows }, settings, controls) {
  const { arms } = comparison;
  const [control, ...others] = arms;
  const title = 'Is there a difference in a number?';
  const explanation =
    'The sum for each exposed user, after the exposure; users without any count as 0.';
  if (settings.metric === '') {
    return section(title, explanation, [controls], []);
  }
  const what =
    settings.property === ''
      ? `events of ${settings.metric}`
      : `${settings.property} of ${settings.metric}`;
  const early = 'It takes 100 users and 25 with a value in each variation.';
  return section(
    title,
    explanation,
    [controls],
    [
      others.map(({ variation, metric }) =>
        sentence(variation, `${what} for each user`, metric.comparison, early),
      ),
      whiskers(
        `Mean of ${what}`,
        arms.map(({ variation, metric }) => ({
          name: variation,
          index: rows.findIndex((row) => row.variation === variation),
          ...metric.mean,
        })),
        { format: mean, unit: `mean of ${what} for each user, with its 95% interval` },
      ),
    ],
    [...METRIC_HEAD, ...RATE_HEAD.slice(3)],
    arms.map((arm) => meanLine(arm, control)),
  );
}

// ---- since when, for whom ---------------------------------------------------------------------------

/** Wilson's interval, as the collector computes it, for the many points of a curve. */
function band(done, users) {
  if (users === 0) {
    return { value: null, low: null, high: null };
  }
  const [z2, rate] = [3.8415, done / users];
  const middle = (rate + z2 / (2 * users)) / (1 + z2 / users);
  const half =
    (Math.sqrt(z2) / (1 + z2 / users)) *
    Math.sqrt((rate * (1 - rate)) / users + z2 / (4 * users * users));
  return { value: rate, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

export function timeSection({ series, rows }, settings) {
  const goal = stepName(settings.step.at(-1));
  const names = rows.map(({ variation }) => variation);
  const rates = series?.users.map((list, i) =>
    list.map((users, at) => band(series.converted[i][at], users)),
  );
  const pick = (field) => (list) => list.map((point) => point[field]);
  return section(
    'Since when?',
    'Users who have been exposed, and how many of them have made all steps, up to each moment.',
    [],
    series === null
      ? h('p', { class: 'none' }, 'All exposures are of one moment.')
      : [
          h('h3', {}, 'Exposed users'),
          lines(
            'Exposed users over time',
            series.times,
            names.map((name, i) => ({ name, values: series.users[i] })),
            {
              format: (value) => number(Math.round(value)),
              unit: 'users so far',
            },
          ),
          settings.step.length > 1 && [
            h('h3', {}, `Rate of ${goal}, with its 95% interval`),
            lines(
              `Rate of ${goal} over time`,
              series.times,
              names.map((name, i) => ({
                name,
                values: pick('value')(rates[i]),
                lows: pick('low')(rates[i]),
                highs: pick('high')(rates[i]),
              })),
              { format: share, unit: '% of exposed users so far' },
            ),
          ],
        ],
  );
}

export function breakdownSection({ breakdown, rows }, settings) {
  const names = rows.map(({ variation }) => variation);
  return section(
    'For whom?',
    `By ${settings.by}, as it was at a user's first exposure. Small groups differ by chance, and the more so the more groups there are.`,
    [],
    [],
    [settings.by, ...names.flatMap((name) => [name, `${name}: rate`, '95% interval'])],
    breakdown.map(({ value, users, converted }) =>
      line(
        [value],
        ...names.flatMap((name, i) => {
          const { value: rate, low, high } = band(converted[i], users[i]);
          return [
            count(users[i]),
            [rate === null ? '–' : share(rate), rate ?? ''],
            [rate === null ? '–' : between({ low, high }, share)],
          ];
        }),
      ),
    ),
  );
}
