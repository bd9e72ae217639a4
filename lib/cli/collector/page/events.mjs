/** An event in a list: what it is, what became of it, and itself. And the events of all users, with filters. */

import { writeAddress } from './address.mjs';
import { choice, h, json, searchField } from './dom.mjs';
import { clock, isoTime, value } from './format.mjs';
import { ask, keepFresh } from './model.mjs';
import { patch } from './patch.mjs';

const OUTCOMES = { stored: '', repeat: 'repeat', refused: 'refused' };
const explain = ({ outcome, reason }) =>
  ({
    repeat: 'Left out: its insert_id arrived before, within 7 days.',
    refused: `Refused: ${reason}.`,
  })[outcome];

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

/** A key for each item, also if several are the same. */
function keysOf(items) {
  const seen = new Map();
  return items.map(({ outcome, arrived, event }) => {
    const key = `${outcome} ${arrived} ${event.event_type} ${event.insert_id ?? event.time}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
    return `${key} ${seen.get(key)}`;
  });
}

/** Rows of a list; `withUser`: with links to their users. */
export function entries(items, withUser = false) {
  const keys = keysOf(items);
  return items.map((item, index) => {
    const { outcome, event, user } = item;
    const time = Number.isFinite(event.time) ? event.time : item.arrived;
    const id = user ?? event.user_id ?? event.device_id;
    const open = ({ currentTarget: details }) => {
      if (details.open && details.children.length === 1) {
        const explanation = explain(item);
        details.append(
          h(
            'div',
            { class: 'single' },
            explanation && h('p', {}, explanation),
            json('As received', event),
          ),
        );
      }
    };
    return h(
      'li',
      { 'data-key': keys[index] },
      h(
        'details',
        { class: outcome, on: { toggle: open } },
        h(
          'summary',
          {},
          h('time', { class: 'time', datetime: isoTime(time), title: isoTime(time) }, clock(time)),
          withUser &&
            h('a', { class: 'user', href: `#/users/${encodeURIComponent(id)}` }, value(id ?? '–')),
          h('span', { class: 'type' }, value(event.event_type ?? 'no type')),
          h('span', { class: 'gist' }, gist(event)),
          OUTCOMES[outcome] !== '' && h('span', { class: `badge ${outcome}` }, OUTCOMES[outcome]),
        ),
      ),
    );
  });
}

export function showEvents(main, rest, parameters) {
  const filters = { type: '', user: '', flag: '', outcome: '' };
  Object.keys(filters).forEach((name) => {
    filters[name] = parameters.get(name) ?? '';
  });
  const controls = h('div', { class: 'controls' });
  const list = h('ol', { class: 'feed timeline all' });
  const user = searchField('User', 'User or device id', () => change({ user: user.value }, false));
  user.value = filters.user;
  const field = h('label', { class: 'choice' }, h('span', {}, 'User'), user);
  const note = h('p', { class: 'none' });
  main.append(h('h1', {}, 'Events'), h('div', { class: 'filters' }, field, controls), note, list);
  let stop = () => {};

  function change(changes, isChosen = true) {
    Object.assign(filters, changes);
    writeAddress('events', filters, isChosen);
    stop();
    stop = keepFresh(refresh);
  }

  async function refresh() {
    const asked = JSON.stringify(filters);
    const [summary, { items }] = await Promise.all([
      ask('/api/summary'),
      ask('/api/events', filters),
    ]);
    if (asked !== JSON.stringify(filters)) {
      return [];
    }
    const types = ['$identify', ...summary.types.map(({ type }) => type)].sort();
    patch(controls, [
      choice('Type', [['', 'any'], ...types.map((type) => [type, type])], filters.type, (type) =>
        change({ type }),
      ),
      choice(
        'Flag',
        [['', 'any'], ...summary.flags.map(({ flag }) => [flag, flag]).sort()],
        filters.flag,
        (flag) => change({ flag }),
      ),
      choice(
        'Outcome',
        [
          ['', 'any'],
          ['stored', 'stored'],
          ['repeat', 'repeats, left out'],
          ['refused', 'refused'],
        ],
        filters.outcome,
        (outcome) => change({ outcome }),
      ),
    ]);
    note.textContent =
      items.length > 0 ? 'The last ones that match, newest first.' : 'No event matches.';
    patch(list, entries(items.reverse(), true));
    return [summary];
  }

  stop = keepFresh(refresh);
  return () => stop();
}
