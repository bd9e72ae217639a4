/* global document */

/**
 * Makes elements. The data may come from any sender, so text becomes text nodes only: this page never parses markup.
 */

/**
 * Make an element: `h('button', { class: 'quiet', on: { click } }, 'Copy')`. Attributes that are null or
 * false are left out; children may be nested lists, and those that are null or false are left out.
 */
export const h = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

/** The same for SVG. */
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'on') {
      listen(element, value);
    } else if (name === 'vars') {
      Object.entries(value).forEach(([variable, number]) =>
        element.style.setProperty(variable, number),
      );
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

/** Listeners are looked up when something happens, so that an update may replace them (patch.mjs). */
function listen(element, handlers) {
  element.handlers = handlers;
  for (const name of Object.keys(handlers)) {
    element.addEventListener(name, (event) => element.handlers[name]?.(event));
  }
}

/** A quiet button. */
export const button = (label, onClick, attributes = {}) =>
  h('button', { type: 'button', class: 'quiet', on: { click: onClick }, ...attributes }, label);

/** A field to search with. */
export const searchField = (label, placeholder, onInput, value = '') =>
  h('input', {
    type: 'search',
    placeholder,
    'aria-label': label,
    value,
    spellcheck: 'false',
    autocomplete: 'off',
    on: { input: onInput },
  });

/** An option of a select, which shows its value if it has no text of its own. */
export const option = (value, selected, text = value) =>
  h('option', { value, selected: value === selected }, text);

/** A select with a label. `choices` are [value, text]; the chosen value stays, even if it is not among them. */
export function choice(label, choices, selected, onChange) {
  const known = choices.some(([value]) => value === selected)
    ? choices
    : [[selected, selected], ...choices];
  const select = h(
    'select',
    { on: { change: ({ currentTarget }) => onChange(currentTarget.value) } },
    known.map(([value, text]) => option(value, selected, text)),
  );
  return h('label', { class: 'choice' }, h('span', {}, label), select);
}

/**
 * A table: `head` and `rows` are lists of texts; the first column names the row, the others hold numbers, except
 * `textColumns`.
 */
export function table(caption, head, rows, textColumns = []) {
  const kind = (index) => (textColumns.includes(index) ? 'words' : null);
  return h(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    h(
      'table',
      {},
      h('caption', { class: 'unseen' }, caption),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          head.map((text, index) => h('th', { scope: 'col', class: kind(index) }, text)),
        ),
      ),
      h(
        'tbody',
        {},
        rows.map(([name, ...cells]) =>
          h(
            'tr',
            {},
            h('th', { scope: 'row' }, name),
            cells.map((cell, index) => h('td', { class: kind(index + 1) }, cell)),
          ),
        ),
      ),
    ),
  );
}

/** A button that copies the result of `getText`; without a clipboard it shows the text for copying. */
export function copyButton(label, getText) {
  const control = button(label, copy);
  async function copy() {
    const text = getText();
    try {
      await navigator.clipboard.writeText(text);
      control.textContent = 'Copied';
      setTimeout(() => {
        control.textContent = label;
      }, 2000);
    } catch {
      const area = h('textarea', { readonly: true, rows: 6, 'aria-label': label }, text);
      control.replaceWith(area);
      area.select();
    }
  }
  return control;
}

/** The fields that the collector adds to an event. */
const ADDED = ['server_received_time', 'sent_as'];

/** An event as it was sent: JSON, indented; names are a little paler than values. */
export function json(title, event) {
  const sent = Object.fromEntries(Object.entries(event).filter(([name]) => !ADDED.includes(name)));
  if (event.sent_as !== undefined) {
    sent.event_type = event.sent_as;
  }
  const text = JSON.stringify(sent, null, 2);
  const parts = text.split(/^(\s*"(?:[^"\\]|\\.)*":)/m);
  return h(
    'figure',
    { class: 'json' },
    h('figcaption', {}, title),
    h(
      'pre',
      { tabindex: '0' },
      parts.map((part, i) => (i % 2 === 1 ? h('span', { class: 'name' }, part) : part)),
    ),
  );
}

/** Large numbers beside each other: `list` is [label, text]. */
export const figures = (list) =>
  h(
    'dl',
    { class: 'figures' },
    list.map(([label, text]) => h('div', {}, h('dt', {}, label), h('dd', {}, text))),
  );

/** The text for an empty view. */
export const empty = (title, ...more) => h('section', { class: 'empty' }, h('h2', {}, title), more);
