/** Cohorts: what they are, their size over time, and their members. */

import { strip } from './charts.mjs';
import { copyButton, empty, figures, h, searchField } from './dom.mjs';
import { clock, number, plural } from './format.mjs';
import { ask } from './model.mjs';
import { patch } from './patch.mjs';

const INTERVAL_MILLIS = 2000;
const COMMAND = 'npx optimizely-amplitude collector --cohort power_users=Purchase:2/30d';

/** What became of a download, by the status of its answer. */
const OUTCOMES = {
  200: 'all members',
  204: 'no change',
  401: 'without the keys',
  413: 'too many members',
  null: 'no answer',
};

const address = (id) => `#/cohorts/${encodeURIComponent(id)}`;

const definition = ({ eventType, count, days }) => [
  'Users who did ',
  h('code', {}, eventType),
  ` at least ${plural(count, 'time', 'times')} within ${plural(days, 'day', 'days')}`,
];

/** A moment, to the second. */
const moment = (millis) => clock(millis).replace(/\.\d+$/, '');

const download = ({ asked }) =>
  asked === null
    ? 'no audiences have asked for it yet'
    : `last download at ${moment(asked.time)}: ${OUTCOMES[asked.status] ?? asked.status}`;

/** The size now, and over time. */
function result(cohort) {
  const { size, lastModified, history } = cohort;
  const sizes = history.map((point) => point.size);
  const most = Math.max(1, ...sizes);
  const [first] = history;
  return h(
    'div',
    { class: 'result' },
    figures([
      ['Members', number(size)],
      ['Most at a time', number(Math.max(...sizes))],
    ]),
    strip(
      `Members from ${moment(first.time)} until now: from ${number(first.size)} to ${number(size)}`,
      history.map((point) => ({
        share: point.size / most,
        title: `${moment(point.time)}: ${plural(point.size, 'member', 'members')}`,
      })),
      [moment(first.time), 'now'],
    ),
    h('p', { class: 'hint' }, `Version of ${moment(lastModified)}; ${download(cohort)}.`),
  );
}

/** Call `refresh` now and then. Cohorts change without events, too, so there is no news to wait for. */
function keepAsking(refresh) {
  let timer = null;
  let isOver = false;
  const run = async () => {
    try {
      await refresh();
    } catch {
      // The collector is gone; it may come back.
    }
    timer = isOver ? null : setTimeout(run, INTERVAL_MILLIS);
  };
  run();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

const waiting = () =>
  empty(
    'No cohorts',
    h('p', {}, 'The collector serves cohorts of the users whose events it has. Start it with one:'),
    h(
      'div',
      { class: 'code' },
      h('pre', { tabindex: '0' }, h('code', {}, COMMAND)),
      copyButton('Copy', () => COMMAND),
    ),
    h(
      'p',
      { class: 'hint' },
      'These are the users who did ',
      h('code', {}, 'Purchase'),
      ' at least 2 times within 30 days. Audiences get them with the option ',
      h('code', {}, 'serverUrl'),
      '.',
    ),
  );

function showAll(main) {
  const body = h('div', {});
  const sections = new Map(); // by id; a section stays, because its link may have the focus
  main.append(h('h1', {}, 'Cohorts'), body);
  return keepAsking(async () => {
    const { cohorts } = await ask('/api/cohorts');
    if (cohorts.length === 0) {
      body.replaceChildren(waiting());
      return;
    }
    for (const cohort of cohorts) {
      const known = sections.get(cohort.id);
      if (known !== undefined) {
        patch(known.querySelector('.result'), [...result(cohort).childNodes]);
        continue;
      }
      const section = h(
        'section',
        { class: 'analysis' },
        h('h2', {}, h('a', { href: address(cohort.id) }, cohort.id)),
        h('p', { class: 'hint' }, definition(cohort)),
        result(cohort),
        h(
          'p',
          { class: 'tools' },
          h('a', { class: 'button', href: address(cohort.id) }, 'Members'),
        ),
      );
      sections.set(cohort.id, section);
      body.append(section);
    }
  });
}

function showOne(main, id) {
  const body = h('div', {});
  const list = h('ul', { class: 'names' });
  const note = h('p', { class: 'hint' });
  const input = searchField('Find a member', 'User id', () => refresh());
  let shown = null; // the members that are listed; their links stay while they are the same
  main.append(
    h('p', { class: 'crumb' }, h('a', { href: '#/cohorts' }, 'Cohorts')),
    h('h1', { class: 'id' }, id),
    body,
  );

  async function refresh() {
    const wanted = input.value;
    const cohort = await ask('/api/cohort', { id, q: wanted });
    if (wanted !== input.value) {
      return; // the input has changed since
    }
    if (cohort === null) {
      body.replaceChildren(empty('No such cohort', h('p', {}, 'Ids are case-sensitive.')));
      return;
    }
    if (body.children.length === 0) {
      body.append(
        h('p', { class: 'lead' }, definition(cohort)),
        result(cohort),
        h(
          'section',
          { class: 'analysis' },
          h('h2', {}, 'Members'),
          h('div', { class: 'controls' }, input),
          note,
          list,
        ),
      );
    } else {
      patch(body.querySelector('.result'), [...result(cohort).childNodes]);
    }
    const { members, size } = cohort;
    note.textContent =
      size === 0
        ? 'Nobody yet.'
        : members.length === 0
          ? 'No id contains that.'
          : members.length === size
            ? ''
            : `${number(members.length)} of ${plural(size, 'member', 'members')}`;
    if (shown !== JSON.stringify(members)) {
      shown = JSON.stringify(members);
      list.replaceChildren(
        ...members.map((member) =>
          h('li', {}, h('a', { href: `#/users/${encodeURIComponent(member)}` }, member)),
        ),
      );
    }
  }
  return keepAsking(refresh);
}

export function showCohorts(main, id) {
  return id ? showOne(main, id) : showAll(main);
}
