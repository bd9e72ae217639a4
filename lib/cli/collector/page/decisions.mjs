/* global document, location */

/** Decisions as they arrive. */

import { writeAddress } from './address.mjs';
import { button, copyButton, empty, h, json, searchField } from './dom.mjs';
import { clock, isoTime, number, value } from './format.mjs';
import { model } from './model.mjs';

const MAX_ROWS = 200;

const snippet = () => `const dispatcher = createDispatcher({
  apiKey: 'local',
  serverUrl: '${location.origin}/2/httpapi',
  flushIntervalMillis: 500,
});
dispatcher.attach(optimizely);`;

/** The names of the columns, which each row repeats for screen readers. */
const COLUMNS = ['Time', 'User', 'Flag', 'Variation', 'Rule', 'Enabled'];

function row(decision) {
  const { time, user, flag, variation, rule, enabled, event, exposure, identify } = decision;
  const details = h(
    'details',
    { on: { toggle: open } },
    h(
      'summary',
      {},
      h('time', { class: 'time', datetime: isoTime(time), title: isoTime(time) }, clock(time)),
      h('a', { class: 'user', href: `#/users/${encodeURIComponent(user)}` }, user),
      h('span', { class: 'flag' }, flag),
      h(
        'span',
        { class: enabled === false ? 'variation pill off' : 'variation pill' },
        variation === null ? 'no variation' : value(variation),
      ),
      h('span', { class: 'rule' }, rule ?? '–'),
      h('span', { class: 'enabled' }, enabled === null ? '–' : enabled ? 'On' : 'Off'),
    ),
  );
  function open() {
    if (details.open && details.children.length === 1) {
      details.append(
        h(
          'div',
          { class: 'pair' },
          identify && json('$identify', identify),
          exposure && json('$exposure', exposure),
          event && json(value(event.event_type), event),
          [identify, exposure, event].every((part) => part === null) &&
            h('p', { class: 'hint' }, 'Too large to be shown here; the page of the user has it.'),
        ),
      );
    }
  }
  return h('li', {}, details);
}

const isWanted = ({ user, flag, variation, rule }, text) =>
  text === '' ||
  [user, flag, variation, rule].some(
    (part) => part != null && value(part).toLowerCase().includes(text),
  );

function figure(label, element) {
  return h('div', {}, h('dt', {}, label), h('dd', {}, element));
}

function createFigures() {
  const zero = () => h('span', {}, '0');
  const figures = {
    users: zero(),
    events: zero(),
    repeats: zero(),
    requests: zero(),
    failed: zero(),
  };
  const element = h(
    'dl',
    { class: 'figures' },
    figure('Users', figures.users),
    figure('Events', figures.events),
    figure('Repeats left out', figures.repeats),
    figure('Requests', figures.requests),
    figure('Refused or failed', figures.failed),
  );
  const update = ({ users, events, requests }) => {
    const failed = requests.total - (requests.by_status[200] ?? 0);
    figures.users.textContent = number(users);
    figures.events.textContent = number(events.ingested);
    figures.repeats.textContent = number(events.duplicates);
    figures.requests.textContent = number(requests.total);
    figures.failed.textContent = number(failed);
    figures.failed.className = failed > 0 ? 'bad' : '';
  };
  return { element, update };
}

function waiting() {
  const code = snippet();
  return empty(
    'Waiting for the first decision',
    h('p', {}, 'Point a dispatcher here and decide a flag: the decision appears.'),
    h(
      'div',
      { class: 'code' },
      h('pre', { tabindex: '0' }, h('code', {}, code)),
      copyButton('Copy', () => code),
    ),
    h(
      'p',
      { class: 'hint' },
      'A decision waits for others, half a second here, or until ',
      h('code', {}, 'flush()'),
      '. Nothing after that? ',
      h('code', {}, 'npx optimizely-amplitude doctor'),
      ' finds out why.',
    ),
  );
}

export function showDecisions(main, rest, parameters) {
  const figures = createFigures();
  const list = h('ol', { class: 'feed' });
  const filter = searchField(
    'Filter decisions',
    'User, flag, variation',
    () => {
      writeAddress('decisions', { q: filter.value });
      fill();
    },
    parameters.get('q') ?? '',
  );
  const pause = button('Pause', toggle, { 'aria-pressed': 'false' });
  const feed = h(
    'section',
    { hidden: true, 'aria-label': 'Decisions' },
    h('div', { class: 'tools' }, filter, pause),
    h(
      'div',
      { class: 'columns', 'aria-hidden': 'true' },
      COLUMNS.map((name) => h('span', {}, name)),
    ),
    list,
    h('p', { class: 'none', hidden: true }, 'No decision matches.'),
  );
  const none = feed.querySelector('.none');
  const before = waiting();
  let missed = null; // the number of decisions that came in while paused; null: not paused

  function fill() {
    const text = filter.value.trim().toLowerCase();
    list.replaceChildren(
      ...model.decisions
        .filter((decision) => isWanted(decision, text))
        .reverse()
        .map(row),
    );
    none.hidden = list.children.length > 0;
  }

  function toggle() {
    missed = missed === null ? 0 : null;
    pause.setAttribute('aria-pressed', String(missed !== null));
    pause.textContent = missed === null ? 'Pause' : 'Resume';
    if (missed === null) {
      fill();
    }
  }

  function update({ decisions, isNew }) {
    if (model.state === null) {
      return;
    }
    figures.update(model.state);
    const isEmpty = model.decisions.length === 0;
    feed.hidden = isEmpty;
    before.hidden = !isEmpty;
    if (missed !== null) {
      missed += decisions.length;
      pause.textContent = missed > 0 ? `Resume (${number(missed)} new)` : 'Resume';
    } else if (isNew) {
      fill();
    } else if (decisions.length > 0) {
      const text = filter.value.trim().toLowerCase();
      list.prepend(
        ...decisions
          .filter((decision) => isWanted(decision, text))
          .reverse()
          .map(row),
      );
      trim(list);
      none.hidden = list.children.length > 0;
    }
  }

  main.append(h('h1', {}, 'Decisions'), figures.element, before, feed);
  feed.hidden = true;
  update({ decisions: [], isNew: true });
  return model.listen(update);
}

/** Remove the oldest rows, but not while they are being read. */
function trim(list) {
  for (let last = list.lastElementChild; list.children.length > MAX_ROWS && last !== null;) {
    const { previousElementSibling: previous } = last;
    if (!last.firstElementChild.open && !last.contains(document.activeElement)) {
      last.remove();
    }
    last = previous;
  }
}
