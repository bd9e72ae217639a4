'use strict';

/**
 * Events as the page lists them: what was stored, what was left out as a repeat, and what was refused and why. Pure.
 */

const MAX_CHARS = 4_000_000;

const stored = (record) => ({
  outcome: 'stored',
  reason: null,
  arrived: record.arrived,
  user: record.person?.id,
  event: record.text,
});

/** The user of an event that was not stored. */
const userOf = ({ user_id: userId, device_id: deviceId }) => userId ?? deviceId;

function* others(store) {
  for (const event of store.duplicates()) {
    yield { outcome: 'repeat', reason: null, arrived: event.server_received_time, event };
  }
  for (const { event, reason, time } of store.refusals()) {
    yield { outcome: 'refused', reason, arrived: time, event };
  }
}

/** The JSON of a list of items, of which the last are kept that have at most MAX_CHARS characters together. */
function encode(items) {
  const texts = [];
  let chars = 0;
  for (let i = items.length - 1; i >= 0 && chars <= MAX_CHARS; i--) {
    const { event, ...rest } = items[i];
    // A record has its event as text.
    const json = typeof event === 'string' ? event : JSON.stringify(event);
    texts.push(`${JSON.stringify(rest).slice(0, -1)},"event":${json}}`);
    chars += texts.at(-1).length;
  }
  return `[${texts.reverse().join()}]`;
}

/** The last `limit` items by arrival. */
const last = (items, limit) => items.sort((a, b) => a.arrived - b.arrived).slice(-limit);

/** The events of one user, in order of arrival, as JSON; null if there are none. */
function timelineOf(store, id, limit) {
  const person = store.people().find(id);
  const isTheirs = (event) => {
    const user = userOf(event);
    return user === id || (person !== undefined && store.people().find(user) === person);
  };
  const items = [
    ...(person?.records ?? []).slice(-limit).map(stored),
    ...[...others(store)].filter(({ event }) => isTheirs(event)),
  ];
  const count = (outcome) => items.filter((item) => item.outcome === outcome).length;
  return items.length === 0
    ? null
    : { json: encode(last(items, limit)), repeats: count('repeat'), refused: count('refused') };
}

/** The last events of all users that match, oldest first, as JSON. Empty filters match everything. */
function findEvents(store, { type, user, flag, outcome }, limit) {
  const isOutcome = (name) => outcome === '' || outcome === name;
  const hasType = (found) => type === '' || found === type;
  const hasUser = (found) => user === '' || String(found).includes(user);
  const records = isOutcome('stored')
    ? store.recent(
        limit,
        (record) =>
          hasType(record.type) &&
          (flag === '' || record.exposure?.flag === flag) &&
          (user === '' || hasUser(record.person?.id)),
      )
    : [];
  const rest = [...others(store)].filter(
    (item) =>
      isOutcome(item.outcome) &&
      hasType(item.event.event_type) &&
      hasUser(userOf(item.event)) &&
      (flag === '' || item.event.event_properties?.flag_key === flag),
  );
  return encode(last([...records.map(stored), ...rest], limit));
}

module.exports = { findEvents, timelineOf };
