/** Parts of analyses: a section with its table and CSV, and cells. */

import { copyButton, h, table } from './dom.mjs';
import { csv, number, percent } from './format.mjs';

/** A section: `rows` are of line(); without a head there is no table. */
export function section(title, explanation, controls, chart, head = null, rows = [], note = null) {
  return h(
    'section',
    { class: 'analysis', 'data-key': title },
    h('h2', {}, title),
    h('p', { class: 'hint' }, explanation),
    controls.length > 0 && h('div', { class: 'controls' }, controls),
    h(
      'div',
      { class: 'result' },
      chart,
      head !== null &&
        table(
          title,
          head,
          rows.map(({ cells }) => cells),
        ),
      head !== null &&
        h(
          'div',
          { class: 'foot' },
          h('p', { class: 'hint' }, note),
          copyButton('Copy CSV', () => csv([head, ...rows.map(({ values }) => values)])),
        ),
    ),
  );
}

/** Cells as they are shown, and values as they are copied. */
export const line = (...pairs) => ({
  cells: pairs.map(([cell]) => cell),
  values: pairs.map(([cell, plain = cell]) => plain),
});
export const count = (plain) => [number(plain), plain];
export const part = (some, all) => [
  percent(some, all),
  all === 0 ? '' : Number((some / all).toFixed(4)),
];
export const ratio = (some, all) => (all === 0 ? 0 : some / all);
export const sum = (list) => list.reduce((total, item) => total + item, 0);
