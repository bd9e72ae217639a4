/* global history */

/** By variation of a flag: users and exposures, a segment, a funnel, retention; each as a chart, a table and CSV. */

import { bars, columns, legend } from './charts.mjs';
import { button, choice, copyButton, empty, h, table } from './dom.mjs';
import { csv, number, percent, roundPercent } from './format.mjs';
import { ask, keepFresh } from './model.mjs';

/** The event types of an exposure, the usual one first. */
const EXPOSURES = ['Experiment Viewed', '[Experiment] Exposure'];
const MAX_STEPS = 6;
const DAYS = [
  ['1', '1 day'],
  ['7', '7 days'],
  ['30', '30 days'],
];
const SETTINGS = ['flag', 'days', 'segment', 'returning', 'orLater'];

/** The settings, which are kept in the address, so that a reload or a bookmark shows the same. */
function readSettings(parameters) {
  const settings = {
    flag: '',
    days: '30',
    segment: '',
    returning: '',
    orLater: '',
    steps: parameters.getAll('step'),
  };
  SETTINGS.forEach((name) => {
    settings[name] = parameters.get(name) ?? settings[name];
  });
  return settings;
}

function writeSettings(settings) {
  const query = new URLSearchParams(
    SETTINGS.filter((name) => settings[name] !== '').map((name) => [name, settings[name]]),
  );
  settings.steps.forEach((step) => query.append('step', step));
  history.replaceState(null, '', `#/variations?${query}`);
}

/** The defaults: the most common flag, and a funnel from the exposure through the other event types. */
function complete(settings, { flags, types }) {
  settings.flag ||= flags[0].flag;
  const others = types
    .filter(({ type }) => !EXPOSURES.includes(type))
    .slice(0, 2)
    .sort((a, b) => a.meanTime - b.meanTime)
    .map(({ type }) => type);
  const first =
    EXPOSURES.find((name) => types.some(({ type }) => type === name)) ??
    types[0]?.type ??
    EXPOSURES[0];
  if (settings.steps.length === 0) {
    settings.steps = [first, ...others];
  }
  settings.segment ||= others[0] ?? first;
}

function section(title, explanation, controls, chart, head, rows, note) {
  return h(
    'section',
    { class: 'analysis' },
    h('h2', {}, title),
    h('p', { class: 'hint' }, explanation),
    controls.length > 0 && h('div', { class: 'controls' }, controls),
    h(
      'div',
      { class: 'result' },
      chart,
      table(
        title,
        head,
        rows.map(({ cells }) => cells),
      ),
      h(
        'div',
        { class: 'foot' },
        h('p', { class: 'hint' }, note),
        copyButton('Copy CSV', () => csv([head, ...rows.map(({ values }) => values)])),
      ),
    ),
  );
}

/** Replace what has changed. Controls that are the same stay, because one of them may be in use. */
function renew(body, sections, isSame) {
  const results = body.querySelectorAll('.result');
  if (isSame && results.length === sections.length) {
    sections.forEach((section, index) =>
      results[index].replaceWith(section.querySelector('.result')),
    );
    return true;
  }
  return false;
}

/** Cells as they are shown, and values as they are copied. */
const line = (...pairs) => ({
  cells: pairs.map(([cell]) => cell),
  values: pairs.map(([cell, plain = cell]) => plain),
});
const count = (plain) => [number(plain), plain];
const share = (part, whole) => [
  percent(part, whole),
  whole === 0 ? '' : Number((part / whole).toFixed(4)),
];
const decimal = (plain) => [plain.toFixed(2), Number(plain.toFixed(4))];
const ratio = (part, whole) => (whole === 0 ? 0 : part / whole);
const sum = (list) => list.reduce((total, item) => total + item, 0);
const most = (list) => Math.max(1, ...list);

function usersSection(rows) {
  const total = sum(rows.map((row) => row.users));
  const largest = most(rows.map((row) => row.users));
  return section(
    'Users and exposures',
    'Users whose property has this value now, and the users and times of exposure.',
    [],
    bars(
      'Users by variation',
      rows.map(({ variation, users }) => ({
        name: variation,
        share: users / largest,
        text: number(users),
      })),
    ),
    ['Variation', 'Users now', 'Share', 'Users exposed', 'Exposures'],
    rows.map((row) =>
      line(
        [row.variation],
        count(row.users),
        share(row.users, total),
        count(row.exposed),
        count(row.exposures),
      ),
    ),
  );
}

function segmentSection(rows, settings, types, change) {
  const average = ({ segment, exposed, users }) => segment.events / Math.max(1, exposed, users);
  const largest = most(rows.map((row) => row.segment.users));
  return section(
    'Segment',
    'Users with this event, by their variation at that moment.',
    [choice('Event', types, settings.segment, (segment) => change({ segment }))],
    bars(
      'Users by variation',
      rows.map(({ variation, segment }) => ({
        name: variation,
        share: segment.users / largest,
        text: number(segment.users),
      })),
    ),
    ['Variation', 'Users', 'Events', 'Events per user'],
    rows.map((row) =>
      line(
        [row.variation],
        count(row.segment.users),
        count(row.segment.events),
        decimal(average(row)),
      ),
    ),
  );
}

function stepControls(settings, types, change) {
  const { steps } = settings;
  const replace = (index, ...items) =>
    change({ steps: [...steps.slice(0, index), ...items, ...steps.slice(index + 1)] });
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
      button('Add a step', () => change({ steps: [...steps, types.at(-1)[0]] })),
    choice('Within', DAYS, settings.days, (days) => change({ days })),
  ];
}

function funnelSection(rows, settings, types, change) {
  const { steps } = settings;
  const groups = steps.map((name, index) => ({
    name,
    columns: rows.map(({ variation, funnel }) => ({
      share: ratio(funnel[index], funnel[0]),
      text: roundPercent(funnel[index], funnel[0]),
      title: `${variation}: ${number(funnel[index])}`,
    })),
  }));
  return section(
    'Funnel',
    'Users who did all steps in this order, by their variation at the first step.',
    stepControls(settings, types, change),
    [legend(rows.map(({ variation }) => variation)), columns('Funnel by variation', groups)],
    ['Variation', ...steps, 'Conversion'],
    rows.map(({ variation, funnel }) =>
      line([variation], ...funnel.map(count), share(funnel.at(-1), funnel[0])),
    ),
  );
}

function retentionSection(rows, settings, types, change) {
  const days = rows[0].retention.map(({ day }) => day);
  const largest =
    Math.max(
      ...rows.flatMap(({ retention }) =>
        retention.map(({ users, returned }) => ratio(returned, users)),
      ),
    ) || 1;
  const groups = days.map((day, index) => ({
    name: `Day ${day}`,
    columns: rows.map(({ variation, retention }) => {
      const { users, returned } = retention[index];
      return {
        share: ratio(returned, users) / largest,
        text: roundPercent(returned, users),
        title: `${variation}: ${number(returned)} of ${number(users)}`,
      };
    }),
  }));
  const isTooEarly = rows.every(({ retention }) => retention.every(({ users }) => users === 0));
  return section(
    'Retention',
    'Users who came back so many days after their first event in the variation. Days are 24 hours, on the time of the events.',
    [
      choice('Came back with', [['', 'any event'], ...types], settings.returning, (returning) =>
        change({ returning }),
      ),
      choice(
        'Counted',
        [
          ['', 'on that day'],
          ['1', 'on that day or later'],
        ],
        settings.orLater,
        (orLater) => change({ orLater }),
      ),
    ],
    isTooEarly
      ? h('p', { class: 'none' }, "No user's first day is over yet.")
      : [legend(rows.map(({ variation }) => variation)), columns('Retention by variation', groups)],
    ['Variation', ...days.flatMap((day) => [`Day ${day}`, 'of users'])],
    rows.map(({ variation, retention }) =>
      line(
        [variation],
        ...retention.flatMap(({ users, returned }) => [share(returned, users), count(users)]),
      ),
    ),
    isTooEarly ? null : 'Only users whose day is over are counted.',
  );
}

const waiting = () =>
  empty(
    'No variations yet',
    h(
      'p',
      {},
      'Choose a flag here after its first decision: which users saw which variation, what they did next, and which came back.',
    ),
    h(
      'p',
      { class: 'hint' },
      "Send the rest of your events here, too, with Amplitude's own SDK and its option ",
      h('code', {}, 'serverUrl'),
      '.',
    ),
  );

export function showVariations(main, rest, parameters) {
  const settings = readSettings(parameters);
  const body = h('div', {});
  main.append(h('h1', {}, 'Variations'), body);
  let stop = () => {};
  let shown = ''; // what the controls say

  function change(changes) {
    Object.assign(settings, changes);
    stop();
    stop = keepFresh(refresh, 2000);
  }

  async function refresh() {
    const summary = await ask('/api/summary');
    if (summary.flags.length === 0) {
      body.replaceChildren(waiting());
      return;
    }
    // By name, so that a new event does not change the order of the choices.
    const types = summary.types.map(({ type }) => [type, type]).sort();
    const flags = summary.flags.map((item) => [item.flag, item.flag]).sort();
    complete(settings, summary);
    writeSettings(settings);
    const { flag, days, segment, returning, orLater, steps } = settings;
    const { rows } = await ask('/api/analysis', {
      flag,
      days,
      segment,
      returning,
      orLater,
      step: steps,
    });
    const sections =
      rows.length === 0
        ? []
        : [
            usersSection(rows),
            funnelSection(rows, settings, types, change),
            segmentSection(rows, settings, types, change),
            retentionSection(rows, settings, types, change),
          ];
    const controls = JSON.stringify([settings, types, flags]);
    if (renew(body, sections, controls === shown)) {
      return;
    }
    shown = controls;
    const focused = focusOf(body);
    body.replaceChildren(
      h(
        'div',
        { class: 'controls lead' },
        choice('Flag', flags, flag, (name) => change({ flag: name })),
        h(
          'p',
          { class: 'hint' },
          'Segmented by the user property ',
          h('code', {}, `[Optimizely] ${flag}`),
          ', or without it by ',
          h('code', {}, `[Experiment] ${flag}`),
        ),
      ),
      ...(rows.length > 0
        ? sections
        : [
            empty(
              'No user has this flag',
              h(
                'p',
                {},
                'Or no longer: the collector forgets the oldest events. Choose another flag.',
              ),
            ),
          ]),
    );
    controlsOf(body)[focused]?.focus({ preventScroll: true });
  }

  stop = keepFresh(refresh, 2000);
  return () => stop();
}

const controlsOf = (body) => [...body.querySelectorAll('.controls select, .controls button')];

/** The number of the control with the focus, which gets it again after everything is replaced; -1 without. */
const focusOf = (body) => controlsOf(body).findIndex((control) => control.matches(':focus'));
