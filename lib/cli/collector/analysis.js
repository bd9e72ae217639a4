'use strict';

/**
 * The usual charts of Amplitude, computed from the collector's events: a segment, a funnel and retention, by the
 * variation of a flag. Pure.
 *
 * A user is `{id, properties: Map, events}`, events in order of arrival; an event has `time`, and
 * `decisions`, the user's `[Optimizely] ...` and `[Experiment] ...` properties at that moment. An event
 * counts for the variation that the property had at its time, as in Amplitude. Names may be anything, so
 * flags and variations are keys of Maps only.
 */

const {
  PREFIXES,
  decisionOf,
  flagOf,
  isExperiments,
  isExposure,
  isSameDecision,
  isUpdate,
} = require('./exposures.js');

const NO_DECISIONS = {};
const DAY_MILLIS = 24 * 60 * 60 * 1000;
const RETENTION_DAYS = [1, 7, 30];

const asText = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

/** The names of the user properties that hold the variation of a flag. */
const propertiesOf = (flag) => PREFIXES.map((prefix) => prefix + flag);

/** The variation in an exposure's own properties, as the user property has it by default. */
function toldBy(event) {
  const { variation, enabled } = decisionOf(event);
  return enabled === false || variation === null ? 'off' : asText(variation);
}

/** Whether an event is of a type; an event that names a flag counts for that flag only. */
const matches = (event, type, flag) =>
  event.event_type === type && (!isExposure(event) || event.event_properties.flag_key === flag);

/** The events in order of time; at the same time, in order of arrival. */
function inOrder(events) {
  const isSorted = events.every((event, i) => i === 0 || events[i - 1].time <= event.time);
  return isSorted ? events : [...events].sort((a, b) => a.time - b.time);
}

/**
 * Call `visit(event, variation)` for each event of a user that does more than set properties. Return the variation
 * that holds at the end, whatever the events are.
 */
function walk(user, flag, visit) {
  const names = propertiesOf(flag);
  let variation = null;
  let isProperty = false; // it is that of a user property, and ends with it
  for (const event of inOrder(user.events)) {
    if (isUpdate(event)) {
      continue;
    }
    const { decisions = NO_DECISIONS } = event;
    const name = names.find((each) => Object.hasOwn(decisions, each));
    if (name !== undefined) {
      variation = asText(decisions[name]);
    } else if (isExposure(event) && event.event_properties.flag_key === flag) {
      variation = toldBy(event);
    } else if (isProperty) {
      variation = null;
    }
    isProperty = name !== undefined;
    visit(event, variation);
  }
  const name = names.find((each) => user.properties.has(each));
  if (name !== undefined) {
    return asText(user.properties.get(name));
  }
  return isProperty ? null : variation;
}

/**
 * The progress of one user: for each variation of a first step, the number of steps that were made in order within
 * `windowMillis` of it.
 *
 * Of the ways to a step only the one that began last matters, because its window closes last.
 */
class Progress {
  #steps;
  #windowMillis;
  #begins = new Map(); // variation -> for each step, when the latest way to it began

  constructor(steps, windowMillis) {
    this.#steps = steps;
    this.#windowMillis = windowMillis;
  }

  visit(event, variation, flag) {
    // Backwards, so that one event is not two steps.
    for (let step = this.#steps.length - 1; step > 0; step--) {
      if (matches(event, this.#steps[step], flag)) {
        for (const begins of this.#begins.values()) {
          if (event.time - begins[step - 1] <= this.#windowMillis) {
            begins[step] = Math.max(begins[step] ?? -Infinity, begins[step - 1]);
          }
        }
      }
    }
    if (variation !== null && matches(event, this.#steps[0], flag)) {
      if (!this.#begins.has(variation)) {
        this.#begins.set(variation, []);
      }
      this.#begins.get(variation)[0] = event.time;
    }
  }

  /** Variation -> number of steps. */
  get made() {
    return new Map([...this.#begins].map(([variation, begins]) => [variation, begins.length]));
  }
}

/** The retention of one user: for each variation, the first event in it, and all later activity. */
class Activity {
  #first = new Map();
  #times = [];

  visit(event, variation, flag, type) {
    if (variation !== null && !this.#first.has(variation)) {
      this.#first.set(variation, event.time);
    }
    if (type === null || matches(event, type, flag)) {
      this.#times.push(event.time);
    }
  }

  /** Call `visit(variation, day index, came back)` for each day that is over. */
  tell(now, orLater, visit) {
    for (const [variation, first] of this.#first) {
      RETENTION_DAYS.forEach((day, index) => {
        const from = first + day * DAY_MILLIS;
        const to = from + DAY_MILLIS;
        if (to <= now) {
          visit(
            variation,
            index,
            this.#times.some((time) => time >= from && (orLater || time < to)),
          );
        }
      });
    }
  }
}

/** The counts of one variation. */
class Row {
  users = 0; // with this value of the property now
  exposed = new Set();
  exposures = 0;
  segment = { users: new Set(), events: 0 };

  constructor(variation, steps) {
    this.variation = variation;
    this.funnel = steps.map(() => 0);
    this.retention = RETENTION_DAYS.map((day) => ({ day, users: 0, returned: 0 }));
  }

  toJSON() {
    const { variation, users, exposed, exposures, segment, funnel, retention } = this;
    return {
      variation,
      users,
      exposed: exposed.size,
      exposures,
      funnel,
      retention,
      segment: { users: segment.users.size, events: segment.events },
    };
  }
}

/**
 * Analyse users by the variation of a flag; return one row for each variation, by name.
 *
 * query: `flag`; `steps`, the event types of the funnel, and `windowMillis`, its longest duration; `segment`, an
 * event type; `returning`, the event type that counts as coming back (null: any); `orLater`, whether later days
 * count for a day, too; `now`, the moment that decides which days are over.
 */
function analyse(
  users,
  { flag, steps, windowMillis, segment, returning = null, orLater = false, now },
) {
  const rows = new Map();
  const row = (variation) => {
    if (!rows.has(variation)) {
      rows.set(variation, new Row(variation, steps));
    }
    return rows.get(variation);
  };
  for (const user of users) {
    const progress = new Progress(steps, windowMillis);
    const activity = new Activity();
    let before = null; // the exposure before, unless it is the second one of a decision
    const current = walk(user, flag, (event, variation) => {
      progress.visit(event, variation, flag);
      activity.visit(event, variation, flag, returning);
      if (variation === null) {
        return;
      }
      if (isExposure(event) && event.event_properties.flag_key === flag) {
        row(variation).exposed.add(user);
        if (before !== null && isSameDecision(before, event)) {
          before = null;
        } else {
          row(variation).exposures++;
          before = event;
        }
      }
      if (matches(event, segment, flag)) {
        row(variation).segment.events++;
        row(variation).segment.users.add(user);
      }
    });
    if (current !== null) {
      row(current).users++;
    }
    for (const [variation, made] of progress.made) {
      for (let step = 0; step < made; step++) {
        row(variation).funnel[step]++;
      }
    }
    activity.tell(now, orLater, (variation, index, returned) => {
      const day = row(variation).retention[index];
      day.users++;
      day.returned += returned;
    });
  }
  return [...rows.values()]
    .sort((a, b) => (a.variation < b.variation ? -1 : 1))
    .map((one) => one.toJSON());
}

/**
 * Summarize what can be analysed, the most frequent first: the flags with their users, and the event types with
 * their events and the mean of their times, which shows what usually comes first.
 */
function summarize(users) {
  const flags = new Map();
  const types = new Map();
  const times = new Map();
  const count = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);
  for (const user of users) {
    const mine = new Set();
    for (const name of user.properties.keys()) {
      const flag = flagOf(name);
      if (flag !== null) {
        mine.add(flag);
      }
    }
    for (const event of user.events) {
      if (!isUpdate(event)) {
        count(types, event.event_type);
        times.set(event.event_type, (times.get(event.event_type) ?? 0) + event.time);
      }
      if (isExposure(event)) {
        mine.add(event.event_properties.flag_key);
      }
    }
    mine.forEach((flag) => count(flags, flag));
  }
  const byCount = (map) => [...map].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return {
    flags: byCount(flags).map(([flag, total]) => ({ flag, users: total })),
    types: byCount(types).map(([type, events]) => ({
      type,
      events,
      meanTime: times.get(type) / events,
    })),
  };
}

/** Whether an event may belong to a decision, for pairDecisions(). */
const tellsOfDecision = (event) => isUpdate(event) || isExposure(event);

/**
 * The decisions behind events, oldest first: `{time, user, flag, variation, rule, enabled, event, exposure,
 * identify}`. A property update comes before its exposures; the `$exposure` and the event of a decision are neighbours.
 * An update without an exposure, as the format `identify` sends it, is a decision of which only the value is known.
 */
function pairDecisions(events) {
  const updates = new Map(); // user -> the last update and its flags that no exposure has named yet
  const decisions = [];
  for (const event of events) {
    const user = event.user_id ?? event.device_id;
    const set = event.event_type === '$identify' ? event.user_properties?.$set : undefined;
    if (set !== undefined) {
      const flags = Object.keys(set)
        .map(flagOf)
        .filter((flag) => flag !== null);
      addUntold(updates.get(user), user, decisions);
      updates.set(user, { event, set, untold: new Set(flags) });
    } else if (isExposure(event)) {
      addTold(updates.get(user), user, event, decisions);
    }
  }
  for (const [user, update] of updates) {
    addUntold(update, user, decisions);
  }
  return decisions;
}

/** Whether an event is what a decision lacks: the `$exposure` of its event, or the event of its `$exposure`. */
function isOtherPart({ event: own, exposure }, event) {
  const [part, none] = own === null ? [exposure, own] : [own, exposure];
  return part !== null && none === null && isSameDecision(part, event);
}

function addTold(update, user, event, decisions) {
  const told = decisionOf(event);
  const last = decisions.at(-1);
  if (last?.user === user && isOtherPart(last, event)) {
    Object.assign(last, isExperiments(event) ? { exposure: event } : { ...told, event });
    return;
  }
  const isUpdated =
    update !== undefined && Object.keys(update.set).some((name) => name.endsWith(told.flag));
  update?.untold.delete(told.flag);
  decisions.push({
    time: event.time,
    user,
    ...told,
    event: isExperiments(event) ? null : event,
    exposure: isExperiments(event) ? event : null,
    identify: isUpdated ? update.event : null,
  });
}

function addUntold(update, user, decisions) {
  for (const flag of update?.untold ?? []) {
    const name = propertiesOf(flag).find((each) => Object.hasOwn(update.set, each));
    decisions.push({
      time: update.event.time,
      user,
      flag,
      variation: update.set[name],
      rule: null,
      enabled: null,
      event: null,
      exposure: null,
      identify: update.event,
    });
  }
}

module.exports = { RETENTION_DAYS, analyse, pairDecisions, summarize, tellsOfDecision };
