/** What is analysed: the settings, which are kept in the address, and their controls. */

import { button, choice, h } from './dom.mjs';
import { number } from './format.mjs';

/** The step that stands for any exposure of the flag, whatever its event is called. */
export const EXPOSED = '$exposed';
const MAX_STEPS = 6;
const DAYS = [
  ['1', '1 day'],
  ['7', '7 days'],
  ['30', '30 days'],
];
/** A rule that is not chosen is the first one; this one is none. */
export const ANY_RULE = '*';
const DEFAULTS = {
  flag: '',
  rule: '',
  control: '',
  days: '30',
  from: '',
  to: '',
  by: '',
  metric: '',
  property: '',
  segment: '',
  returning: '',
  orLater: '',
};

export function readSettings(parameters) {
  const settings = { step: parameters.getAll('step') };
  for (const [name, value] of Object.entries(DEFAULTS)) {
    settings[name] = parameters.get(name) ?? value;
  }
  // A link may have been written by hand.
  settings.days = settings.days > 0 ? settings.days : DEFAULTS.days;
  ['from', 'to'].forEach((name) => {
    settings[name] = Number.isFinite(Number(settings[name])) ? settings[name] : '';
  });
  return settings;
}

/**
 * The defaults: the most common flag, its first rule, and a funnel from the exposure through what most users do next.
 */
export function complete(settings, { flags, types, steps }) {
  settings.flag ||= flags[0].flag;
  const { rules } = flagOf(settings, flags);
  settings.rule ||= rules[0]?.rule ?? ANY_RULE;
  if (settings.step.length === 0) {
    settings.step = [EXPOSED, ...steps];
  }
  const others = types.filter(({ isExposure }) => !isExposure);
  settings.segment ||= steps[0] ?? others[0]?.type ?? EXPOSED;
}

const flagOf = ({ flag }, flags) => flags.find((one) => one.flag === flag) ?? { flag, rules: [] };

/** The parameters of an analysis. */
export const queryOf = ({ rule, ...settings }) => ({
  ...settings,
  rule: rule === ANY_RULE ? '' : rule,
});

/** A time for an input of the type datetime-local, which has none of a zone. */
function localTime(millis) {
  if (millis === '') {
    return '';
  }
  const date = new Date(Number(millis));
  return Number.isNaN(date.getTime())
    ? ''
    : new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

const timeInput = (label, millis, onChange) =>
  h(
    'label',
    { class: 'choice' },
    h('span', {}, label),
    h('input', {
      type: 'datetime-local',
      value: localTime(millis),
      on: {
        change: ({ currentTarget: { value } }) =>
          onChange(value === '' ? '' : String(new Date(value).getTime())),
      },
    }),
  );

const nameOf = (rule) => (rule === null || rule === '' ? '(no rule)' : rule);

/** What is chosen first: flag, rule, control, time range, property. */
export function leadControls(settings, { flags, properties }, variations, control, change) {
  const rules = flagOf(settings, flags).rules.filter(({ rule }) => rule !== null);
  return h(
    'div',
    { class: 'controls lead' },
    choice('Flag', flags.map(({ flag }) => [flag, flag]).sort(), settings.flag, (flag) =>
      change({ flag, rule: '', control: '' }),
    ),
    choice(
      'Rule',
      [
        ...rules.map(({ rule, variations: list }) => [
          rule,
          `${nameOf(rule)} (${list.length === 1 ? '1 variation' : `${number(list.length)} variations`})`,
        ]),
        [ANY_RULE, 'any, by the user property'],
      ],
      settings.rule,
      (rule) => change({ rule, control: '' }),
    ),
    variations.length > 1 &&
      choice(
        'Control',
        variations.map((name) => [name, name]),
        control,
        (name) => change({ control: name }),
      ),
    choice(
      'Break down by',
      [['', 'nothing'], ...properties.map((name) => [name, name]).sort()],
      settings.by,
      (by) => change({ by }),
    ),
    h(
      'div',
      { class: 'range' }, // which stays on one line
      timeInput('From', settings.from, (from) => change({ from })),
      timeInput('To', settings.to, (to) => change({ to })),
    ),
  );
}

/** The types as choices, by name, so that a new event does not change their order. */
export const typeChoices = ({ types }) => [
  [EXPOSED, 'Exposure'],
  ...types.map(({ type }) => [type, type]).sort(),
];

export function stepControls(settings, types, change) {
  const { step: steps } = settings;
  const replace = (index, ...items) =>
    change({ step: [...steps.slice(0, index), ...items, ...steps.slice(index + 1)] });
  return [
    h(
      'ol',
      { class: 'steps' },
      steps.map((step, index) =>
        h(
          'li',
          {},
          choice(`Step ${index + 1}`, types, step, (type) => replace(index, type)),
          steps.length > 1 &&
            button('×', () => replace(index), {
              class: 'quiet remove',
              'aria-label': `Remove step ${index + 1}`,
            }),
        ),
      ),
    ),
    steps.length < MAX_STEPS &&
      button('Add a step', () => change({ step: [...steps, types.at(-1)[0]] })),
    choice('Within', DAYS, settings.days, (days) => change({ days })),
  ];
}

/** The number that is compared: how often, or the sum of a property. */
export function metricControls(settings, { types }, change) {
  const kinds = types.flatMap(({ type, numbers }) => [
    [JSON.stringify([type, '']), `${type}: how often`],
    ...numbers.map((name) => [JSON.stringify([type, name]), `${type}: ${name}`]),
  ]);
  const chosen = settings.metric === '' ? '' : JSON.stringify([settings.metric, settings.property]);
  return choice('Number for each user', [['', 'none'], ...kinds.sort()], chosen, (value) => {
    const [metric, property] = value === '' ? ['', ''] : JSON.parse(value);
    change({ metric, property });
  });
}
