/** What users do by variation, as Amplitude's charts have it: users and exposures, a funnel, a segment, retention. */

import { bars, columns, legend } from './charts.mjs';
import { choice, h } from './dom.mjs';
import { number, share } from './format.mjs';
import { count, line, part, ratio, section, sum } from './parts.mjs';
import { EXPOSED } from './settings.mjs';

const decimal = (plain) => [plain.toFixed(2), Number(plain.toFixed(4))];
const most = (list) => Math.max(1, ...list);

export function usersSection(rows) {
  const total = sum(rows.map((row) => row.users));
  const largest = most(rows.map((row) => row.users));
  return section(
    'Users and exposures',
    'Users whose property has this value now, and the users and times of exposure.',
    [],
    bars(
      'Users by variation',
      rows.map(({ variation, users }) => ({
        name: variation,
        share: users / largest,
        text: number(users),
      })),
    ),
    ['Variation', 'Users now', 'Share', 'Users exposed', 'Exposures'],
    rows.map((row) =>
      line(
        [row.variation],
        count(row.users),
        part(row.users, total),
        count(row.exposed),
        count(row.exposures),
      ),
    ),
  );
}

/** The funnel as Amplitude counts it: a user counts for each variation that was the entry. */
export function funnelSection(rows, settings) {
  const steps = settings.step.map((step) => (step === EXPOSED ? 'Exposure' : step));
  return section(
    'Funnel',
    'As Amplitude counts it: users who did all steps in this order, by each variation that they had at the first step.',
    [],
    [],
    ['Variation', ...steps, 'Conversion'],
    rows.map(({ variation, funnel }) =>
      line([variation], ...funnel.map(count), part(funnel.at(-1), funnel[0])),
    ),
  );
}

export function segmentSection(rows, settings, types, change) {
  const average = ({ segment, exposed, users }) => segment.events / Math.max(1, exposed, users);
  const largest = most(rows.map((row) => row.segment.users));
  return section(
    'Segment',
    'Users with this event, by their variation at that moment.',
    [choice('Event', types, settings.segment, (segment) => change({ segment }))],
    bars(
      'Users by variation',
      rows.map(({ variation, segment }) => ({
        name: variation,
        share: segment.users / largest,
        text: number(segment.users),
      })),
    ),
    ['Variation', 'Users', 'Events', 'Events per user'],
    rows.map((row) =>
      line(
        [row.variation],
        count(row.segment.users),
        count(row.segment.events),
        decimal(average(row)),
      ),
    ),
  );
}

export function retentionSection(rows, settings, types, change) {
  const days = rows[0].retention.map(({ day }) => day);
  const groups = days.map((day, index) => ({
    name: `Day ${day}`,
    columns: rows.map(({ variation, retention }) => {
      const { users, returned } = retention[index];
      return {
        value: users === 0 ? null : ratio(returned, users),
        title: `${variation}: ${number(returned)} of ${number(users)}`,
      };
    }),
  }));
  const isTooEarly = rows.every(({ retention }) => retention.every(({ users }) => users === 0));
  return section(
    'Retention',
    'Users who came back so many days after their first event in the variation. Days are 24 hours, on the time of the events.',
    [
      choice('Came back with', [['', 'any event'], ...types], settings.returning, (returning) =>
        change({ returning }),
      ),
      choice(
        'Counted',
        [
          ['', 'on that day'],
          ['1', 'on that day or later'],
        ],
        settings.orLater,
        (orLater) => change({ orLater }),
      ),
    ],
    isTooEarly
      ? h('p', { class: 'none' }, "No user's first day is over yet.")
      : [
          legend(rows.map(({ variation }) => variation)),
          columns('Retention by variation', groups, {
            format: share,
            unit: '% of users whose day is over',
          }),
        ],
    ['Variation', ...days.flatMap((day) => [`Day ${day}`, 'of users'])],
    rows.map(({ variation, retention }) =>
      line(
        [variation],
        ...retention.flatMap(({ users, returned }) => [part(returned, users), count(users)]),
      ),
    ),
    isTooEarly ? null : 'Only users whose day is over are counted.',
  );
}
