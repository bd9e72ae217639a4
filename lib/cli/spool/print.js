'use strict';

/** A report of lookAt() as text. */

const { printable } = require('../shown.js');

const SHORT_ID = 8;
const SECOND = 1000;
/** [the most of a unit, its length, its name] */
const UNITS = [
  [120, SECOND, 's'],
  [120, 60 * SECOND, 'min'],
  [48, 3600 * SECOND, 'h'],
  [Infinity, 24 * 3600 * SECOND, 'days'],
];

const number = (value) => value.toLocaleString('en-US');
const counted = (count, one, several = `${one}s`) =>
  `${number(count)} ${count === 1 ? one : several}`;

/** The columns of a table: a text for each, and whether it is a number. */
function table(columns, rows) {
  const cells = [columns.map(([title]) => title), ...rows.map((row) => row.map(printable))];
  const widths = columns.map((_, at) => Math.max(...cells.map((row) => row[at].length)));
  const lineOf = (row) =>
    row.map((cell, at) => (columns[at][1] ? cell.padStart(widths[at]) : cell.padEnd(widths[at])));
  return cells.map((row) => `  ${lineOf(row).join('  ')}`.trimEnd());
}

function ageOf(time, now) {
  const millis = Math.max(0, Date.parse(now) - Date.parse(time));
  const [, length, name] = UNITS.find(([most, unit]) => millis < most * unit);
  return `${number(Math.floor(millis / length))} ${name}`;
}

function stateOf({ state, pids }) {
  if (state === 'in use') {
    return pids.length === 0 ? 'in use' : `in use by ${pids.join(', ')}`;
  }
  return state;
}

const keyOf = ({ apiKeyMark, isOwnKey }) => (isOwnKey ? 'this one' : apiKeyMark.slice(0, SHORT_ID));

const JOURNAL_COLUMNS = [
  ['journal'],
  ['state'],
  ['API key'],
  ['files', true],
  ['MiB', true],
  ['pending', true],
  ['settled', true],
  ['damaged', true],
];

const journalRow = (journal) => [
  journal.id.slice(0, SHORT_ID),
  stateOf(journal),
  keyOf(journal),
  number(journal.files),
  (journal.bytes / (1024 * 1024)).toFixed(1),
  number(journal.pending.decisions + journal.pending.tracked),
  number(journal.settled),
  number(journal.missing),
];

/** A value as Amplitude has it, or nearly: null is a user in no variation. */
const valueOf = ({ key, enabled }) => `${key ?? 'none'}${enabled ? '' : ' (off)'}`;

const FLAG_COLUMNS = [['flag'], ['decisions', true], ['users', true], ['variations']];

function flagRow({ key, decisions, users, variations }) {
  const values = variations.map((each) => `${valueOf(each)} ${number(each.decisions)}`);
  return [key ?? '', number(decisions), number(users), values.join(', ')];
}

const EVENT_COLUMNS = [['event of track() and identify()'], ['events', true], ['users', true]];

const eventRow = ({ type, events, users }) => [type || '(unknown)', number(events), number(users)];

const USER_COLUMNS = [['user'], ['variation'], ['decisions', true], ['latest']];

const userRow = (user) => [
  user.userId ?? `device ${user.deviceId ?? '(none)'}`,
  valueOf({ key: user.variation, enabled: user.enabled }),
  number(user.decisions),
  user.time ?? '',
];

function* userLines({ flag, total, listed }) {
  yield '';
  if (listed.length < total) {
    yield `${number(listed.length)} of ${counted(total, 'user')} of ${printable(flag)}; more with --limit`;
  } else {
    yield `${counted(total, 'user')} of ${printable(flag)}`;
  }
  if (listed.length > 0) {
    yield* table(USER_COLUMNS, listed.map(userRow));
  }
}

function* totalLines({ pending, oldest, newest, settled, missing, time }) {
  const parts = [
    counted(pending.decisions, 'decision'),
    ...(pending.tracked > 0 ? [counted(pending.tracked, 'event')] : []),
    ...(pending.repeats > 0
      ? [`${counted(pending.repeats, 'repeat')} that the store may know`]
      : []),
  ];
  yield `pending    ${parts.join(', ')}`;
  if (oldest !== null) {
    yield `oldest     ${oldest}, ${ageOf(oldest, time)} ago`;
    yield `newest     ${newest}, ${ageOf(newest, time)} ago`;
  }
  yield `settled    ${number(settled)}, delivered or dropped, in files that are still there`;
  if (missing > 0) {
    yield `damaged    ${number(missing)}, which are lost`;
  }
}

/** The lines of a report. */
function* reportLines(report) {
  const { directory, journals, flags, events, unlisted, usersAreExact, users } = report;
  if (journals.length === 0) {
    yield `${printable(directory)} is empty: nothing is pending`;
    return;
  }
  yield printable(directory);
  yield '';
  yield* table(JOURNAL_COLUMNS, journals.map(journalRow));
  for (const { file, reason } of journals.flatMap(({ leftAlone }) => leftAlone)) {
    yield `  ${file} was left alone: ${printable(reason)}`;
  }
  yield '';
  yield* totalLines(report);
  if (flags.length > 0) {
    yield '';
    yield* table(FLAG_COLUMNS, flags.map(flagRow));
  }
  if (events.length > 0) {
    yield '';
    yield* table(EVENT_COLUMNS, events.map(eventRow));
  }
  if (unlisted > 0) {
    yield `  and ${number(unlisted)} of more flags, variations and types than are listed`;
  }
  if (!usersAreExact) {
    yield '  Users are too many to tell all apart: there may be more.';
  }
  if (users !== undefined) {
    yield* userLines(users);
  }
}

/** What to do about what is pending in orphans, for a report alone. */
function* adviceLines({ journals }) {
  const isWaiting = ({ state, pending: { decisions, tracked } }) =>
    state === 'orphan' && decisions + tracked > 0;
  if (journals.some(isWaiting)) {
    yield '';
    yield 'The next process with the same directory and API key delivers an orphan; --deliver does so now.';
  }
}

/** The line of what was delivered. */
function deliveryLine({ delivered, dropped, durationMillis }) {
  const { total, ...reasons } = dropped;
  const names = Object.entries(reasons).map(([reason, count]) => `${reason} ${number(count)}`);
  return [
    `Delivered ${number(delivered)} in ${(durationMillis / SECOND).toFixed(1)} s`,
    ...(total > 0 ? [`dropped ${number(total)} (${names.join(', ')})`] : []),
  ].join(', ');
}

/** What is left without an owner, and what to do about it, as one message; null: nothing is. */
function leftMessage({ left, lastError }) {
  const parts = [];
  if (left.ownKey > 0) {
    const reason = lastError === null ? 'run it again, or with a longer --timeout' : lastError;
    parts.push(`${number(left.ownKey)} still pending: ${reason}`);
  }
  if (left.otherKeys > 0) {
    parts.push(`${number(left.otherKeys)} pending of another API key: run it with that key, too`);
  }
  if (left.withoutLock > 0) {
    parts.push(
      `${number(left.withoutLock)} pending in journals whose .lock file is gone: create it anew, empty, with mode 600`,
    );
  }
  if (left.files > 0) {
    parts.push(`${counted(left.files, 'file')} left alone`);
  }
  return parts.length === 0 ? null : parts.join('; ');
}

module.exports = { adviceLines, deliveryLine, leftMessage, reportLines };
