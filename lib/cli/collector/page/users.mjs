/* global location */

/** A user as Amplitude would have it: its properties, and all of its events. */

import { copyButton, empty, h, json, searchField } from './dom.mjs';
import { clock, isoTime, number, plural, value } from './format.mjs';
import { ask, keepFresh } from './model.mjs';

const OUTCOMES = { stored: '', repeat: 'repeat', refused: 'refused' };
const EXPLANATIONS = {
  repeat: 'Left out: its insert_id arrived before, within 7 days.',
  refused: (reason) => `Refused: ${reason}.`,
};

const address = (id) => `#/users/${encodeURIComponent(id)}`;

/** An event in a few words. */
function gist({ event_type: type, event_properties: properties, user_properties: update }) {
  if (type === '$identify') {
    return Object.entries(update ?? {})
      .map(([operation, values]) => {
        const isObject = typeof values === 'object' && values !== null;
        return `${operation} ${
          isObject
            ? Object.entries(values)
                .map(([name, item]) => `${name} = ${value(item)}`)
                .join(', ')
            : value(values)
        }`;
      })
      .join('; ');
  }
  const { flag_key: flag, variation_key: variation, variant } = properties ?? {};
  return typeof flag === 'string' ? `${flag}: ${value(variation ?? variant ?? null)}` : '';
}

const keyOf = ({ outcome, arrived, event }) =>
  `${outcome} ${arrived} ${event.insert_id ?? event.time}`;

function entry(item, opened) {
  const { outcome, reason, event } = item;
  const time = Number.isFinite(event.time) ? event.time : item.arrived;
  const details = h(
    'details',
    { open: opened.has(keyOf(item)), class: outcome },
    h(
      'summary',
      {},
      h('time', { class: 'time', datetime: isoTime(time), title: isoTime(time) }, clock(time)),
      h('span', { class: 'type' }, value(event.event_type ?? 'no type')),
      h('span', { class: 'gist' }, gist(event)),
      OUTCOMES[outcome] && h('span', { class: `badge ${outcome}` }, OUTCOMES[outcome]),
    ),
  );
  const fill = () => {
    if (details.open && details.children.length === 1) {
      const explanation =
        outcome === 'refused' ? EXPLANATIONS.refused(reason) : EXPLANATIONS[outcome];
      details.append(
        h(
          'div',
          { class: 'single' },
          explanation && h('p', {}, explanation),
          json('As received', event),
        ),
      );
    }
    opened[details.open ? 'add' : 'delete'](keyOf(item));
  };
  details.addEventListener('toggle', fill);
  fill();
  return h('li', {}, details);
}

function properties(list) {
  return list.length === 0
    ? h('p', { class: 'none' }, 'None.')
    : h(
        'dl',
        { class: 'properties' },
        list.map(([name, item]) => h('div', {}, h('dt', {}, name), h('dd', {}, value(item)))),
      );
}

function showUser(main, id) {
  const opened = new Set();
  const body = h('div', {});
  main.append(
    h('p', { class: 'crumb' }, h('a', { href: '#/users' }, 'Users')),
    h(
      'div',
      { class: 'headline' },
      h('h1', { class: 'id' }, id),
      copyButton('Copy id', () => id),
    ),
    body,
  );
  return keepFresh(async () => {
    const user = await ask('/api/user', { id });
    if (user === null) {
      body.replaceChildren(
        empty(
          'No such user yet',
          h('p', {}, 'No event of this user or device has arrived. Ids are case-sensitive.'),
        ),
      );
      return;
    }
    const count = (outcome) => user.items.filter((item) => item.outcome === outcome).length;
    const facts = [
      plural(user.events, 'event', 'events'),
      count('repeat') > 0 && `${plural(count('repeat'), 'repeat', 'repeats')} left out`,
      count('refused') > 0 && `${number(count('refused'))} refused`,
      user.devices.length > 0 && `devices ${user.devices.join(', ')}`,
    ];
    body.replaceChildren(
      h('p', { class: 'lead' }, facts.filter(Boolean).join(' · ')),
      h(
        'div',
        { class: 'sides' },
        h(
          'section',
          {},
          h('h2', {}, 'Properties'),
          h('p', { class: 'hint' }, 'As Amplitude would hold them now.'),
          properties(user.properties),
        ),
        h(
          'section',
          {},
          h('h2', {}, 'Events'),
          h('p', { class: 'hint' }, 'In order of arrival, the last below.'),
          h(
            'ol',
            { class: 'feed timeline' },
            user.items.map((item) => entry(item, opened)),
          ),
        ),
      ),
    );
  });
}

function showSearch(main, parameters) {
  const list = h('ul', { class: 'names' });
  const note = h('p', { class: 'hint' });
  const input = searchField('Find a user', 'User or device id', find, parameters.get('q') ?? '');
  const form = h('form', { class: 'tools', role: 'search', on: { submit: go } }, input);
  function go(event) {
    event.preventDefault();
    if (input.value !== '') {
      location.hash = address(input.value);
    }
  }
  async function find() {
    const wanted = input.value;
    const { users, total } = await ask('/api/users', { q: wanted });
    if (wanted !== input.value) {
      return; // the input has changed since
    }
    list.replaceChildren(...users.map((id) => h('li', {}, h('a', { href: address(id) }, id))));
    note.textContent =
      total === 0
        ? ''
        : users.length === 0
          ? 'No id contains that.'
          : users.length < total
            ? `${number(users.length)} of ${number(total)} users`
            : plural(total, 'user', 'users');
    before.hidden = total > 0;
    form.hidden = total === 0;
  }
  const before = empty('No users yet', h('p', {}, 'Users appear here with their first event.'));
  before.hidden = true;
  main.append(h('h1', {}, 'Users'), form, note, before, list);
  return keepFresh(find, 2000);
}

export function showUsers(main, id, parameters) {
  return id ? showUser(main, id) : showSearch(main, parameters);
}
