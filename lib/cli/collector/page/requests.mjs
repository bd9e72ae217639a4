/** The requests that came in, how they were answered, and the switch that makes them fail. */

import { empty, figures, h, table } from './dom.mjs';
import { bytes, clock, number, percent } from './format.mjs';
import { model, setMode } from './model.mjs';

const MAX_ROWS = 100;
const MAX_MARKS = 120;

/** The modes of the switch. */
export const MODES = {
  normal: { label: 'Normally', effect: 'As Amplitude would.' },
  503: { label: '503', effect: 'Every request is answered with 503, service unavailable.' },
  429: { label: '429', effect: 'Every request is answered with 429, too many requests.' },
  413: {
    label: '413',
    effect: 'Requests of more than 10 events are answered with 413, too large.',
  },
  silent: {
    label: 'Not at all',
    effect: 'No request is answered; clients wait until they give up.',
  },
};

const isGood = ({ status }) => status === 200;
const answerOf = ({ status }) => (status === null ? 'no answer' : String(status));
const duration = ({ receivedAt, answeredAt }) =>
  answeredAt === null ? '–' : `${number(answeredAt - receivedAt)} ms`;
const compression = ({ compressed, bytes: sent, jsonBytes }) =>
  compressed ? `gzip${jsonBytes > 0 ? `, ${percent(sent, jsonBytes)}` : ''}` : 'none';

function createSwitch() {
  const effect = h('p', { class: 'hint' });
  const inputs = ['normal', '503', '429', '413', 'silent'].map((mode) =>
    h('input', {
      type: 'radio',
      name: 'mode',
      value: mode,
      id: `mode-${mode}`,
      on: { change: () => setMode(mode) },
    }),
  );
  const element = h(
    'fieldset',
    { class: 'switch' },
    h('legend', {}, 'How to answer'),
    h(
      'div',
      { class: 'segments' },
      inputs.map((input) => [input, h('label', { for: input.id }, MODES[input.value].label)]),
    ),
    effect,
  );
  const update = ({ mode, forward }) => {
    inputs.forEach((input) => {
      input.checked = input.value === mode;
    });
    effect.textContent =
      mode === 'normal' && forward !== null
        ? `As ${forward} does: everything is passed on to it.`
        : MODES[mode].effect;
  };
  return { element, update };
}

function sums({ requests, bytes: sent, jsonBytes, compressed, events, largestBytes }) {
  const list = [
    ['Requests', number(requests)],
    ['Events in each', requests === 0 ? '–' : number(Math.round(events / requests))],
    ['Sent', bytes(sent)],
    ['Largest', bytes(largestBytes)],
    ['Compressed', percent(compressed, requests)],
    ['Size by compression', compressed === 0 ? '–' : percent(sent, jsonBytes)],
  ];
  return figures(list);
}

/** One mark for each of the last requests, which shows an outage and its end at a glance. */
function marks(requests) {
  const list = requests.slice(-MAX_MARKS);
  const failed = list.filter((request) => !isGood(request)).length;
  return h(
    'div',
    {
      class: 'marks',
      role: 'img',
      'aria-label': `Of the last ${list.length} requests ${failed} failed`,
    },
    list.map((request) =>
      h('i', {
        class: isGood(request) ? 'good' : 'bad',
        title: `${clock(request.receivedAt)}  ${answerOf(request)}`,
      }),
    ),
  );
}

function answers({ byStatus }) {
  return h(
    'p',
    { class: 'answers' },
    Object.entries(byStatus).map(([status, count]) =>
      h(
        'span',
        { class: status === '200' ? 'badge stored' : 'badge refused' },
        `${status === 'none' ? 'no answer' : status} × ${number(count)}`,
      ),
    ),
  );
}

function list(requests) {
  const rows = requests
    .slice(-MAX_ROWS)
    .reverse()
    .map((request) => [
      clock(request.receivedAt),
      h('span', { class: isGood(request) ? 'badge stored' : 'badge refused' }, answerOf(request)),
      number(request.events),
      number(request.duplicates),
      bytes(request.bytes),
      compression(request),
      duration(request),
      h('span', { class: 'path' }, `${request.method} ${request.url}`),
      request.error === null ? '' : String(request.error),
    ]);
  const head = [
    'Time',
    'Answer',
    'Events',
    'Repeats',
    'Size',
    'Compression',
    'Took',
    'Path',
    'Error',
  ];
  return table('The last requests, newest first', head, rows, [
    head.indexOf('Path'),
    head.indexOf('Error'),
  ]);
}

export function showRequests(main) {
  const control = createSwitch();
  const body = h('div', {});
  main.append(h('h1', {}, 'Requests'), control.element, body);
  const update = () => {
    const { state, requests } = model;
    if (state === null) {
      return;
    }
    control.update(state);
    body.replaceChildren(
      ...(state.sums.requests === 0
        ? [
            empty(
              'No requests yet',
              h(
                'p',
                {},
                'Set how to answer before or after the first one, and watch a client recover.',
              ),
            ),
          ]
        : [
            sums(state.sums),
            h('h2', {}, 'Answers'),
            marks(requests),
            answers(state.sums),
            h('h2', {}, 'The last requests'),
            list(requests),
          ]),
    );
  };
  update();
  return model.listen(update);
}
