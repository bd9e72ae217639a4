/* global location */

/** A user as Amplitude would have it: its properties, and all of its events. And all users, the last seen first. */

import { writeAddress } from './address.mjs';
import { choice, copyButton, empty, h, searchField } from './dom.mjs';
import { entries } from './events.mjs';
import { clock, number, plural, value } from './format.mjs';
import { ask, keepFresh, model } from './model.mjs';
import { patch } from './patch.mjs';

const address = (id) => `#/users/${encodeURIComponent(id)}`;

function properties(list) {
  return list.length === 0
    ? h('p', { class: 'none' }, 'None.')
    : h(
        'dl',
        { class: 'properties' },
        list.map(([name, item]) => h('div', {}, h('dt', {}, name), h('dd', {}, value(item)))),
      );
}

const missing = () =>
  empty(
    'No such user yet',
    h('p', {}, 'No event of this user or device has arrived. Ids are case-sensitive.'),
  );

function content(user) {
  const facts = [
    plural(user.events, 'event', 'events'),
    user.repeats > 0 && `${plural(user.repeats, 'repeat', 'repeats')} left out`,
    user.refused > 0 && `${number(user.refused)} refused`,
    user.devices.length > 0 && `devices ${user.devices.join(', ')}`,
  ];
  return [
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
        h('ol', { class: 'feed timeline' }, entries(user.items)),
      ),
    ),
  ];
}

function showUser(main, id) {
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
    patch(body, user === null ? [missing()] : content(user));
  });
}

/** A row of the list; the cells have names for narrow screens. */
const row = ({ id, variation, lastSeen, events }, flag) =>
  h(
    'li',
    { 'data-key': id },
    h(
      'a',
      { href: address(id) },
      h('span', { class: 'user' }, id),
      flag !== '' &&
        h('span', { class: 'pill' }, variation === null ? 'not exposed' : value(variation)),
      h('span', { class: 'seen' }, clock(lastSeen).replace(/\.\d+$/, '')),
      h('span', { class: 'count' }, plural(events, 'event', 'events')),
    ),
  );

function showAll(main, parameters) {
  let flag = parameters.get('flag') ?? null; // null: the first one
  const list = h('ul', { class: 'names people' });
  const note = h('p', { class: 'hint' });
  const flags = h('div', {});
  const input = searchField('Find a user', 'User or device id', search, parameters.get('q') ?? '');
  const form = h('form', { class: 'tools', role: 'search', on: { submit: go } }, input, flags);
  const before = empty('No users yet', h('p', {}, 'Users appear here with their first event.'));
  before.hidden = true;
  main.append(h('h1', {}, 'Users'), form, note, before, list);
  let stop = () => {};

  function go(event) {
    event.preventDefault();
    if (input.value !== '') {
      location.hash = address(input.value);
    }
  }

  function search(isChosen = false) {
    writeAddress('users', { q: input.value, flag }, isChosen === true);
    stop();
    stop = keepFresh(find, 2000);
  }

  async function find() {
    const wanted = input.value;
    const summary = await ask('/api/summary');
    flag ??= summary.flags[0]?.flag ?? '';
    const asked = flag;
    const { users, total } = await ask('/api/users', { q: wanted, flag });
    if (wanted !== input.value || asked !== flag) {
      return []; // something else is wanted since
    }
    patch(flags, [
      choice(
        'Variation of',
        summary.flags.map((one) => [one.flag, one.flag]).sort(),
        flag,
        (name) => {
          flag = name;
          search(true);
        },
      ),
    ]);
    patch(
      list,
      users.map((user) => row(user, flag)),
    );
    note.textContent =
      total === 0
        ? ''
        : users.length === 0
          ? 'No id contains that.'
          : users.length < total
            ? `${number(users.length)} of ${number(total)} users, the last seen first`
            : `${plural(total, 'user', 'users')}, the last seen first`;
    before.hidden = total > 0;
    form.hidden = total === 0 && model.state !== null;
    return [summary];
  }

  stop = keepFresh(find, 2000);
  return () => stop();
}

export function showUsers(main, id, parameters) {
  return id ? showUser(main, id) : showAll(main, parameters);
}
