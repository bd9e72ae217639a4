/** Numbers, times and tables as text. Pure. */

export const number = (value) => value.toLocaleString('en-US');

/** A part of a whole in percent, `–` if the whole is nothing. */
export const percent = (part, whole) =>
  whole === 0 ? '–' : `${((100 * part) / whole).toFixed(1)}%`;

/** The same without decimals, for narrow places. */
export const roundPercent = (part, whole) =>
  whole === 0 ? '–' : `${Math.round((100 * part) / whole)}%`;

const ONE_DECIMAL = 0.1;

/** A part, such as 0.325, in percent; small ones with one more digit. */
export const share = (part) =>
  `${(100 * part).toFixed(part !== 0 && Math.abs(part) < ONE_DECIMAL ? 1 : 0)}%`.replace('-', '−');

/** A change, with its sign. */
export const change = (part) => (part > 0 ? `+${share(part)}` : share(part));

/** A p-value: no more digits than it deserves. */
export const pValue = (p) => (p < 0.0001 ? '< 0.0001' : p.toFixed(p < 0.1 ? 4 : 2));

/** The same in a sentence. */
export const pIs = (p) => (p < 0.0001 ? `p ${pValue(p)}` : `p = ${pValue(p)}`);

/** A number that may be a mean of money. */
export const mean = (plain) =>
  Math.abs(plain) >= 1e15
    ? plain.toPrecision(3)
    : Math.abs(plain) >= 1000
      ? number(Math.round(plain))
      : plain !== 0 && Math.abs(plain) < 0.1
        ? plain.toPrecision(2)
        : plain.toFixed(2);

/** A sum: of counts it is one. */
export const sum = (plain) => (Number.isSafeInteger(plain) ? number(plain) : mean(plain));

/** A moment on an axis of so many milliseconds. */
export function tick(millis, span) {
  const date = new Date(millis);
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}`;
  const day = `${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  if (span > 3 * 86_400_000) {
    return day;
  }
  return span > 86_400_000
    ? `${day} ${time}`
    : span > 600_000
      ? time
      : `${time}:${pad(date.getSeconds())}${span > 10_000 ? '' : `.${Math.floor(date.getMilliseconds() / 100)}`}`;
}

export const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

export function bytes(count) {
  if (count < 1000) {
    return `${count} B`;
  }
  const [divisor, unit] = count < 1e6 ? [1e3, 'kB'] : count < 1e9 ? [1e6, 'MB'] : [1e9, 'GB'];
  return `${(count / divisor).toFixed(count / divisor < 10 ? 1 : 0)} ${unit}`;
}

const pad = (value, length = 2) => String(value).padStart(length, '0');

/** The time of day, to the millisecond; with the date if it is not today. */
export function clock(millis) {
  const date = new Date(millis);
  if (Number.isNaN(date.getTime())) {
    return '–';
  }
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday
    ? time
    : `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${time}`;
}

export function isoTime(millis) {
  const date = new Date(millis);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** A value of a property in one line. */
export const value = (property) =>
  typeof property === 'string' ? property : JSON.stringify(property);

/**
 * Rows as CSV (RFC 4180). A spreadsheet would run a cell that begins like a formula, and names may come from any
 * sender, so such a cell gets an apostrophe.
 */
export function csv(rows) {
  const cell = (content) => {
    const text =
      typeof content === 'string' && /^[=+\-@\t\r]/.test(content) ? `'${content}` : String(content);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}
