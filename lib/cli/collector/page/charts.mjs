/** Charts of plain HTML: bars whose length is a number. To a screen reader they are images that point to the table. */

import { h } from './dom.mjs';

/** The number of colours; more variations share them. */
const COLORS = 6;

const colorOf = (index) => `c${index % COLORS}`;

/** The legend: the colour of each variation. */
export function legend(names) {
  return h(
    'ul',
    { class: 'legend', 'aria-hidden': 'true' },
    names.map((name, index) => h('li', {}, h('i', { class: colorOf(index) }), name)),
  );
}

const image = (label) => ({
  role: 'img',
  'aria-label': `${label}; the table below has the numbers`,
});
const mark = (index, share) => h('i', { class: colorOf(index), vars: { '--share': share } });

/** One bar below the other: `rows` are {name, share (0 to 1), text}. */
export function bars(label, rows) {
  const bar = ({ name, share, text }, index) =>
    h(
      'div',
      {},
      h('span', { class: 'name' }, name),
      h('span', { class: 'track' }, mark(index, share)),
      h('span', { class: 'text' }, text),
    );
  return h('div', { class: 'bars', ...image(label) }, rows.map(bar));
}

/** Groups of columns beside each other: `groups` are {name, columns}, with {share, text, title} for each variation. */
export function columns(label, groups) {
  const column = ({ share, text, title }, index) =>
    h('div', { class: 'column', title }, h('span', { class: 'text' }, text), mark(index, share));
  return h(
    'div',
    { class: 'groups', ...image(label) },
    groups.map((group) =>
      h(
        'div',
        { class: 'group' },
        h('div', { class: 'plot' }, group.columns.map(column)),
        h('p', {}, group.name),
      ),
    ),
  );
}

/** A number over time: `points` are {share, title}, from left to right; `ends` are the texts below both ends. */
export const strip = (label, points, ends) =>
  h(
    'div',
    { class: 'strip' },
    h(
      'div',
      { role: 'img', 'aria-label': label },
      points.map(({ share, title }) => h('i', { class: 'c0', title, vars: { '--share': share } })),
    ),
    h(
      'p',
      { 'aria-hidden': 'true' },
      ends.map((text) => h('span', {}, text)),
    ),
  );
