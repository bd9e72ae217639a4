/**
 * Charts as plain SVG, drawn for their width. To a screen reader they are images; the tables beside them have the
 * numbers.
 */

import { h, svg } from './dom.mjs';
import { tick } from './format.mjs';
import { drawn } from './patch.mjs';

/** The number of colours, and of dashes: more variations share them. */
const COLORS = 8;
const DASHES = [null, '6 3', '2 3', '8 3 2 3'];
const CHAR = 7.6; // the width of a character of a name
const LINE = 15; // the distance of names

export const colorOf = (index) => `c${index % COLORS}`;
const dashOf = (index) => DASHES[Math.floor(index / 2) % DASHES.length];

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
  'aria-label': `${label}; the table has the numbers`,
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

const text = (x, y, anchor, content, className = 'label') =>
  svg('text', { x, y, 'text-anchor': anchor, class: className }, content);
const line = (x1, y1, x2, y2, className) => svg('line', { x1, y1, x2, y2, class: className });
const cut = (name, width) => {
  const length = Math.max(3, Math.floor(width / CHAR));
  return name.length > length ? `${name.slice(0, length - 1)}…` : name;
};

/** Round values for an axis, between which the data lies: about `count` of them. */
function ticksOf(low, high, count) {
  const span = high - low || Math.abs(high) || 1;
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  // Not 2.5: its multiples have a digit more, and would be rounded in the text beside the line.
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (item, i) => (first + i) * step);
}

const frame = (label, width, height, ...children) =>
  svg('svg', { width, height, viewBox: `0 0 ${width} ${height}`, ...image(label) }, children);

/**
 * Values with their intervals, one below the other: `rows` are {name, value, low, high, index}, or have no value;
 * `format` makes texts of values. `zero`: a line at 0, to compare with.
 */
export const whiskers = (label, rows, { format, unit, zero = false }) =>
  drawn('chart', (width) => {
    const known = rows.filter(({ value }) => value != null);
    const all = known.flatMap(({ low, high }) => [low, high]);
    const ticks = ticksOf(
      Math.min(...all, ...(zero ? [0] : [])),
      Math.max(...all, ...(zero ? [0] : [])),
      width < 500 ? 3 : 6,
    );
    const left = Math.min(190, width * 0.3);
    const right = width - 24;
    const x = (value) => left + ((value - ticks[0]) / (ticks.at(-1) - ticks[0])) * (right - left);
    const rowHeight = 34;
    const bottom = rows.length * rowHeight + 8;
    return frame(
      label,
      width,
      bottom + 38,
      ticks.map((value) => [
        line(x(value), 4, x(value), bottom, zero && Math.abs(value) < 1e-12 ? 'zero' : 'grid'),
        text(x(value), bottom + 15, 'middle', format(value)),
      ]),
      text(width / 2, bottom + 33, 'middle', unit),
      rows.map(({ name, value, low, high, index }, place) => {
        const y = place * rowHeight + 22;
        return svg(
          'g',
          { class: colorOf(index) },
          text(0, y + 4, 'start', cut(name, left - 12), 'name'),
          value == null
            ? text(left + 8, y + 4, 'start', 'not known yet')
            : [
                line(x(low), y, x(high), y, 'whisker'),
                line(x(low), y - 5, x(low), y + 5, 'whisker'),
                line(x(high), y - 5, x(high), y + 5, 'whisker'),
                svg('circle', { cx: x(value), cy: y, r: 5, class: 'dot' }),
                text(x(value), y - 9, 'middle', format(value), 'value'),
              ],
        );
      }),
    );
  });

/**
 * Groups of columns beside each other, with their intervals: `groups` are {name, columns}, with {value, low, high,
 * title} for each variation; a value may be null.
 */
export const columns = (label, groups, { format, unit }) =>
  drawn('chart', (width) => {
    const all = groups.flatMap(({ columns: list }) =>
      list.map(({ value, high }) => high ?? value ?? 0),
    );
    const ticks = ticksOf(0, Math.max(...all, 0.001), 4);
    const [top, left, height] = [22, 46, 190];
    const bottom = top + height;
    const y = (value) => bottom - (value / ticks.at(-1)) * height;
    const groupWidth = (width - left) / groups.length;
    return frame(
      label,
      width,
      bottom + 24,
      text(0, 11, 'start', unit),
      ticks.map((value) => [
        line(left, y(value), width, y(value), 'grid'),
        text(left - 6, y(value) + 4, 'end', format(value)),
      ]),
      groups.map(({ name, columns: list }, place) => {
        const start = left + place * groupWidth;
        const step = Math.min(88, (groupWidth - 16) / list.length);
        const offset = start + (groupWidth - step * list.length) / 2;
        return [
          text(start + groupWidth / 2, bottom + 17, 'middle', cut(name, groupWidth - 6)),
          list.map(({ value, low, high, title }, index) =>
            value === null
              ? []
              : svg(
                  'g',
                  { class: colorOf(index) },
                  svg('title', {}, title),
                  svg('rect', {
                    x: offset + index * step + 2,
                    width: Math.max(2, step - 4),
                    y: y(value),
                    height: Math.max(1, bottom - y(value)),
                    rx: 2,
                    class: 'column',
                  }),
                  low !== undefined && [
                    line(
                      offset + (index + 0.5) * step,
                      y(low),
                      offset + (index + 0.5) * step,
                      y(high),
                      'error',
                    ),
                    line(
                      offset + (index + 0.5) * step - 4,
                      y(low),
                      offset + (index + 0.5) * step + 4,
                      y(low),
                      'error',
                    ),
                    line(
                      offset + (index + 0.5) * step - 4,
                      y(high),
                      offset + (index + 0.5) * step + 4,
                      y(high),
                      'error',
                    ),
                  ],
                  step > 34 &&
                    text(
                      offset + (index + 0.5) * step,
                      y(high ?? value) - 5,
                      'middle',
                      format(value),
                      'value',
                    ),
                ),
          ),
        ];
      }),
    );
  });

/** Move places apart, so that names do not overlap. */
function spread(places, low, high) {
  const sorted = places.map((place, index) => ({ place, index })).sort((a, b) => a.place - b.place);
  for (let i = 1; i < sorted.length; i++) {
    sorted[i].place = Math.max(sorted[i].place, sorted[i - 1].place + LINE);
  }
  const over = Math.max(0, (sorted.at(-1)?.place ?? low) - high);
  sorted.forEach((item) => {
    item.place = Math.max(low, item.place - over);
  });
  for (let i = 1; i < sorted.length; i++) {
    sorted[i].place = Math.max(sorted[i].place, sorted[i - 1].place + LINE);
  }
  const result = [];
  sorted.forEach(({ place, index }) => {
    result[index] = place;
  });
  return result;
}

/**
 * Values over time, with bands: `series` are {name, values, lows, highs}, of which values may be null; `format` makes
 * texts of values.
 */
export const lines = (label, times, series, { format, unit }) =>
  drawn('chart', (width) => {
    const all = series
      .flatMap(({ values, highs }) => [...values, ...(highs ?? [])])
      .filter((value) => value !== null);
    const ticks = ticksOf(0, Math.max(...all, 0.001), 4);
    const [top, left, height] = [22, 50, 200];
    const longest = Math.max(...series.map(({ name }) => name.length));
    const right = width - Math.min(longest * CHAR + 18, width * 0.3);
    const bottom = top + height;
    const span = times.at(-1) - times[0] || 1;
    const x = (time) => left + ((time - times[0]) / span) * (right - left);
    const y = (value) => bottom - (value / ticks.at(-1)) * height;
    const path = (points) =>
      points
        .map(([px, py], i) => `${i === 0 ? 'M' : 'L'}${px.toFixed(1)} ${py.toFixed(1)}`)
        .join('');
    const points = (values) =>
      values
        .map((value, i) => (value === null ? null : [x(times[i]), y(value)]))
        .filter((point) => point !== null);
    const marks = width < 500 ? 2 : 5;
    const ends = spread(
      series.map(({ values }) => y(values.at(-1) ?? 0) + 4),
      top + 6,
      bottom,
    );
    return frame(
      label,
      width,
      bottom + 24,
      text(0, 11, 'start', unit),
      ticks.map((value) => [
        line(left, y(value), right, y(value), 'grid'),
        text(left - 6, y(value) + 4, 'end', format(value)),
      ]),
      Array.from({ length: marks + 1 }, (item, i) => {
        const time = times[0] + (i / marks) * span;
        const anchor = i === 0 ? 'start' : i === marks ? 'end' : 'middle';
        return text(x(time), bottom + 17, anchor, tick(time, span));
      }),
      series.map(({ name, values, lows, highs }, index) =>
        svg(
          'g',
          { class: colorOf(index) },
          lows &&
            points(lows).length > 1 &&
            svg('path', {
              d: `${path([...points(highs), ...points(lows).reverse()])}Z`,
              class: 'band',
            }),
          svg('path', {
            d: path(points(values)),
            class: 'curve',
            'stroke-dasharray': dashOf(index),
          }),
          text(right + 8, ends[index], 'start', cut(name, width - right - 8), 'name'),
        ),
      ),
    );
  });

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
      ends.map((end) => h('span', {}, end)),
    ),
  );
