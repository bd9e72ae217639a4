/** The requests that came in, how they were answered, and the switch that makes them fail. */

import { button, empty, figures, h, table } from './dom.mjs';
import { bytes, clock, number, percent } from './format.mjs';
import { model, put, setMode } from './model.mjs';
import { patch } from './patch.mjs';

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

/** A part of a file of lines, which is sent at once. */
const MAX_PART_CHARS = 4_000_000;

/** Send a file of JSON lines in parts; resolves to what to say about it. */
async function importFile(file) {
  const lines = (await file.text()).split('\n');
  let [stored, duplicates] = [0, 0];
  for (let start = 0; start < lines.length;) {
    let end = start;
    for (let chars = 0; end < lines.length && (end === start || chars < MAX_PART_CHARS); end++) {
      chars += lines[end].length;
    }
    const response = await put('/api/import', lines.slice(start, end).join('\n'));
    const result = await response.json();
    if (!response.ok) {
      return `${result.error}${start > 0 ? `, counted from line ${start + 1}` : ''}. ${number(stored)} events were taken before.`;
    }
    stored += result.stored;
    duplicates += result.duplicates;
    start = end;
  }
  return `${number(stored)} events were taken, ${number(duplicates)} repeats left out.`;
}

/** What was collected, as a file, and to the beginning. */
function collected() {
  const said = h('p', { class: 'hint', role: 'status' });
  const input = h('input', {
    type: 'file',
    accept: '.jsonl,.ndjson',
    hidden: true,
    on: {
      change: async () => {
        if (input.files.length > 0) {
          said.textContent = 'Taking the events …';
          said.textContent = await importFile(input.files[0]).catch(({ message }) => message);
          input.value = '';
        }
      },
    },
  });
  let isSure = false;
  const reset = button('Forget everything', async () => {
    if (isSure) {
      await put('/api/reset');
      said.textContent = 'Everything is forgotten.';
    }
    isSure = !isSure;
    reset.textContent = isSure ? 'Forget all events and users?' : 'Forget everything';
  });
  reset.addEventListener('blur', () => {
    isSure = false;
    reset.textContent = 'Forget everything';
  });
  return h(
    'section',
    { class: 'collected' },
    h('h2', {}, 'What was collected'),
    h(
      'p',
      { class: 'hint' },
      'A file of JSON lines, one event in each, for another run or another machine.',
    ),
    h(
      'div',
      { class: 'tools' },
      h('a', { class: 'button', href: '/api/export', download: 'collector.jsonl' }, 'Export'),
      button('Import …', () => input.click()),
      reset,
      input,
    ),
    said,
  );
}

export function showRequests(main) {
  const control = createSwitch();
  const body = h('div', {});
  main.append(h('h1', {}, 'Requests'), control.element, body, collected());
  const update = () => {
    const { state, requests } = model;
    if (state === null) {
      return;
    }
    control.update(state);
    patch(body, [
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
    ]);
  };
  update();
  return model.listen(update);
}
