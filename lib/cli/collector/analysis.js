'use strict';

/**
 * The usual charts of Amplitude, computed from the collector's records: a segment, a funnel and retention, by the
 * variation of a flag, and what a comparison of the variations needs. Pure.
 *
 * Variations are those of a rule (an experiment), as its exposures say; or without a rule those of the user property at
 * the time of an event, as in Amplitude. Names may be anything, so flags and variations are keys of Maps only.
 */

const { isSameDecision } = require('./exposures.js');

const DAY_MILLIS = 24 * 60 * 60 * 1000;
const RETENTION_DAYS = [1, 7, 30];
/**
 * The type that stands for any exposure of the flag, whatever its event is called; in the format `identify`, for the
 * property.
 */
const EXPOSED = '$exposed';
const SERIES_POINTS = 60;
const MAX_GROUPS = 12;
const NO_VALUE = '(none)';
const OTHER_VALUES = '(other)';

/** The variation in an exposure's own properties, as the user property has it by default. */
const toldBy = ({ variation, enabled }) =>
  enabled === false || variation === null ? 'off' : asText(variation);
/** The variation of a rule: its name, also where the flag is off in it. */
const variationOf = ({ variation }) => (variation === null ? 'off' : asText(variation));
const asText = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

/**
 * Whether a record is an exposure of the flag, and of the rule if there is one. A `$exposure` without a variant only
 * unsets a property.
 */
const isWanted = ({ exposure, isUpdate }, { flag, rule }) =>
  exposure !== null &&
  !isUpdate &&
  exposure.flag === flag &&
  (rule === null || exposure.rule === rule);

/** Records in order of time; at the same time, in order of arrival. `values` go with them. */
function inOrder(records, values) {
  if (records.every((record, i) => i === 0 || records[i - 1].time <= record.time)) {
    return [records, values];
  }
  const order = records.map((record, i) => i).sort((a, b) => records[a].time - records[b].time);
  return [order.map((i) => records[i]), values.map((list) => order.map((i) => list[i]))];
}

/** The value of a property at each of a user's records, as text or undefined. */
function historyOf(name, person) {
  let value = person.base.get(name);
  return person.records.map(({ changes }) => {
    for (let at = 0; changes !== null && at < changes.length; at += 2) {
      if (changes[at] === name) {
        value = changes[at + 1];
      }
    }
    return value;
  });
}

/** What a user did in one variation. */
class Arm {
  exposures = 0;
  segmentEvents = 0;
  sum = 0;
  convertedAt = null;
  first = null; // the time of the first exposure
  activeSince = null; // the time of the first event
  /**
   * For each step, when the latest way to it began. Of the ways to a step only that one matters: its window closes
   * last.
   */
  begins = [];

  constructor(row) {
    this.row = row;
  }

  get made() {
    return this.begins.length;
  }
}

/** The counts of one variation. */
class Row {
  users = 0; // with this value of the property now
  exposed = 0;
  exposures = 0;
  segment = { users: 0, events: 0 };
  metric = { users: 0, active: 0, sum: 0, squares: 0 };

  constructor(variation, steps) {
    this.variation = variation;
    this.funnel = steps.map(() => 0);
    this.retention = RETENTION_DAYS.map((day) => ({ day, users: 0, returned: 0 }));
    /** Users who were exposed to this variation alone, and by step those who made it: the comparison takes these. */
    this.assigned = 0;
    this.compared = steps.map(() => 0);
  }
}

const DEFAULTS = {
  rule: null,
  returning: null,
  orLater: false,
  metric: null,
  by: null,
  from: -Infinity,
  to: Infinity,
};

/**
 * The analysis of users by the variations of a flag.
 *
 * query: `flag`; `rule`, the key of one rule (null: any, by the user property); `steps`, the event types of the funnel,
 * and `windowMillis`, its longest duration; `segment`, an event type; `returning`, the event type that counts as coming
 * back (null: any); `orLater`, whether later days count for a day, too; `metric`, { type, property }, whose sum is
 * taken for each user, or null; `by`, a property to break down by, or null; `from` and `to`, the times of the events
 * that count; `now`, the moment that decides which days are over.
 */
class Analysis {
  /** Users who saw more than one variation. */
  switched = 0;
  #query;
  #names;
  #rows = new Map();
  #exposed = []; // of users who saw one variation: [row, time, when they had made all steps or null, group], in turn

  constructor(query, prefixes) {
    this.#query = { ...DEFAULTS, ...query };
    this.#names = prefixes.propertiesOf(query.flag);
  }

  #row(variation) {
    let row = this.#rows.get(variation);
    if (row === undefined) {
      row = new Row(variation, this.#query.steps);
      this.#rows.set(variation, row);
    }
    return row;
  }

  add(person) {
    const { records } = person;
    const { rule } = this.#query;
    const names = rule === null ? this.#names.filter((name) => hasHad(name, person)) : [];
    const isExposed = records.some((record) => isWanted(record, this.#query));
    if (!isExposed && names.length === 0) {
      return;
    }
    const { by } = this.#query;
    const histories = names.map((name) => historyOf(name, person));
    const [ordered, [groups, ...held]] = inOrder(records, [
      by === null ? [] : historyOf(by, person),
      ...histories,
    ]);
    const user = new Walk(this.#query, (variation) => this.#row(variation), isExposed);
    const last = user.walk(ordered, held, groups);
    if (rule === null) {
      const now = histories.map((history) => history.at(-1)).find((value) => value !== undefined);
      const current = now ?? (user.isProperty ? null : last);
      if (current !== null) {
        this.#row(current).users++;
      }
    }
    this.#count(user);
  }

  #count(user) {
    const seen = user.arms.filter(({ exposures }) => exposures > 0);
    for (const arm of user.arms) {
      const { row } = arm;
      row.exposed += arm.exposures > 0;
      row.exposures += arm.exposures;
      row.segment.users += arm.segmentEvents > 0;
      row.segment.events += arm.segmentEvents;
      for (let step = 0; step < arm.made; step++) {
        row.funnel[step]++;
      }
      this.#countRetention(arm, user.times);
    }
    this.switched += seen.length > 1;
    if (seen.length === 1) {
      const [arm] = seen;
      for (let step = 0; step < arm.made; step++) {
        arm.row.compared[step]++;
      }
      arm.row.assigned++;
      arm.row.metric.users++;
      arm.row.metric.active += arm.sum !== 0;
      arm.row.metric.sum += arm.sum;
      arm.row.metric.squares += arm.sum * arm.sum;
      this.#exposed.push(arm.row, arm.first, arm.convertedAt, user.group);
    }
  }

  #countRetention({ row, activeSince }, times) {
    const { now, orLater } = this.#query;
    if (activeSince === null) {
      return;
    }
    for (const day of row.retention) {
      const from = activeSince + day.day * DAY_MILLIS;
      const to = from + DAY_MILLIS;
      if (to <= now) {
        day.users++;
        day.returned += times.some((time) => time >= from && (orLater || time < to));
      }
    }
  }

  /** The rows, by the name of the variation. */
  get rows() {
    return [...this.#rows.values()].sort((a, b) => (a.variation < b.variation ? -1 : 1));
  }

  #places() {
    return new Map(this.rows.map((row, place) => [row, place]));
  }

  /**
   * Users and conversions so far, at SERIES_POINTS moments: { times, users, converted }, both by variation; null
   * without any.
   */
  series() {
    let [from, to] = [Infinity, -Infinity];
    for (let at = 0; at < this.#exposed.length; at += 4) {
      from = Math.min(from, this.#exposed[at + 1]);
      to = Math.max(to, this.#exposed[at + 1], this.#exposed[at + 2] ?? -Infinity);
    }
    if (from >= to) {
      return null;
    }
    const step = (to - from) / SERIES_POINTS;
    const bucket = (time) => Math.min(SERIES_POINTS - 1, Math.floor((time - from) / step));
    const empty = () => this.rows.map(() => zeros(SERIES_POINTS));
    const [users, converted] = [empty(), empty()];
    const places = this.#places();
    for (let at = 0; at < this.#exposed.length; at += 4) {
      const place = places.get(this.#exposed[at]);
      const convertedAt = this.#exposed[at + 2];
      users[place][bucket(this.#exposed[at + 1])]++;
      if (convertedAt !== null) {
        converted[place][bucket(convertedAt)]++;
      }
    }
    [...users, ...converted].forEach((list) => {
      list.forEach((count, i) => {
        list[i] += i === 0 ? 0 : list[i - 1];
      });
    });
    const times = Array.from({ length: SERIES_POINTS }, (item, i) =>
      Math.round(from + (i + 1) * step),
    );
    return { times, users, converted };
  }

  /** By value of the property: [{ value, users, converted }], both by variation, most users first. */
  breakdown() {
    const size = this.#rows.size;
    const places = this.#places();
    const groups = new Map();
    for (let at = 0; at < this.#exposed.length; at += 4) {
      const value = this.#exposed[at + 3] ?? NO_VALUE;
      if (!groups.has(value)) {
        groups.set(value, { value, all: 0, users: zeros(size), converted: zeros(size) });
      }
      const group = groups.get(value);
      const place = places.get(this.#exposed[at]);
      group.all++;
      group.users[place]++;
      group.converted[place] += this.#exposed[at + 2] !== null;
    }
    const sorted = [...groups.values()].sort(
      (a, b) => b.all - a.all || (a.value < b.value ? -1 : 1),
    );
    const rest = sorted.splice(MAX_GROUPS);
    if (rest.length > 0) {
      const sum = (field) =>
        zeros(size).map((none, i) => rest.reduce((all, group) => all + group[field][i], 0));
      sorted.push({ value: OTHER_VALUES, users: sum('users'), converted: sum('converted') });
    }
    return sorted.map(({ value, users, converted }) => ({ value, users, converted }));
  }
}

const zeros = (length) => new Array(length).fill(0);

/** Whether a user has, or had, a property. */
const hasHad = (name, person) =>
  person.properties.has(name) ||
  person.base.has(name) ||
  person.records.some(({ changes }) => changes !== null && changes.includes(name));

/** The records of one user, in order of time. */
class Walk {
  arms = [];
  /** All that the user did of what counts as coming back. */
  times = [];
  /** The value of the property of the breakdown at the first exposure. */
  group = undefined;
  /** Whether the variation is that of a property, and ends with it. */
  isProperty = false;
  #query;
  #row;
  #hasExposures;
  #before = null; // the exposure before, unless it is the second one of a decision

  /** `row` returns the row of a variation; `hasExposures`: there is no need to take the property's update for one. */
  constructor(query, row, hasExposures) {
    this.#query = query;
    this.#row = row;
    this.#hasExposures = hasExposures;
  }

  /** Return the variation in the end, or null. `held` are the values of the properties at each record. */
  walk(records, held, groups) {
    const { rule, from, to, by } = this.#query;
    let variation = null;
    for (let i = 0; i < records.length; i++) {
      const record = records[i];
      const before = variation;
      variation =
        rule === null
          ? this.#byProperty(record, held, i, variation)
          : this.#byRule(record, variation);
      const isExposure =
        isWanted(record, this.#query) ||
        (!this.#hasExposures &&
          rule === null &&
          record.isUpdate &&
          variation !== null &&
          variation !== before);
      if (record.time < from || record.time >= to || (record.isUpdate && !isExposure)) {
        continue;
      }
      if (isExposure && by !== null && !this.arms.some(({ exposures }) => exposures > 0)) {
        this.group = groupOf(record, by, groups[i]);
      }
      this.#visit(record, variation, isExposure);
    }
    return variation;
  }

  #byRule(record, variation) {
    return isWanted(record, this.#query) ? variationOf(record.exposure) : variation;
  }

  #byProperty(record, held, i, variation) {
    const value = held.map((history) => history[i]).find((each) => each !== undefined);
    const wasProperty = this.isProperty;
    this.isProperty = value !== undefined;
    if (value !== undefined) {
      return value;
    }
    if (isWanted(record, this.#query)) {
      return toldBy(record.exposure);
    }
    return wasProperty ? null : variation;
  }

  #arm(variation) {
    let arm = this.arms.find(({ row }) => row.variation === variation);
    if (arm === undefined) {
      arm = new Arm(this.#row(variation));
      this.arms.push(arm);
    }
    return arm;
  }

  /** Whether a record is of a type; one that names a flag counts for that flag only. */
  #matches(record, type, isExposure) {
    return type === EXPOSED
      ? isExposure
      : record.type === type && (record.exposure === null || isExposure);
  }

  #visit(record, variation, isExposure) {
    const { steps, segment, returning, metric, windowMillis } = this.#query;
    if (!record.isUpdate && (returning === null || this.#matches(record, returning, isExposure))) {
      this.times.push(record.time);
    }
    // Backwards, so that one event is not two steps.
    for (let step = steps.length - 1; step > 0; step--) {
      if (this.#matches(record, steps[step], isExposure)) {
        this.arms.forEach((arm) => stepTo(arm, step, record.time, windowMillis, steps.length));
      }
    }
    if (variation === null) {
      return;
    }
    const arm = this.#arm(variation);
    arm.activeSince ??= record.time;
    if (isExposure) {
      this.#expose(arm, record);
    }
    if (this.#matches(record, steps[0], isExposure)) {
      arm.begins[0] = record.time;
      arm.convertedAt ??= steps.length === 1 ? record.time : null;
    }
    arm.segmentEvents += this.#matches(record, segment, isExposure);
    if (metric !== null && record.type === metric.type && arm.first !== null) {
      arm.sum += record.time - arm.first <= windowMillis ? amountOf(record, metric.property) : 0;
    }
  }

  #expose(arm, record) {
    arm.first ??= record.time;
    const before = this.#before;
    const isSecond =
      before !== null &&
      record.exposure !== null &&
      before.isExperiments !== record.isExperiments &&
      before.time === record.time &&
      isSameDecision(before.exposure, record.exposure);
    arm.exposures += !isSecond;
    this.#before = isSecond || record.exposure === null ? null : record;
  }
}

function stepTo(arm, step, time, windowMillis, steps) {
  const begin = arm.begins[step - 1];
  if (time - begin <= windowMillis) {
    arm.begins[step] = Math.max(arm.begins[step] ?? -Infinity, begin);
    arm.convertedAt ??= step === steps - 1 ? time : null;
  }
}

/** The value of a property on an exposure: the event's own, or the user's. */
function groupOf(record, name, ofUser) {
  const own = record.fact(name);
  return own === undefined ? ofUser : asText(own);
}

/** Squares of larger amounts, and their sums, would leave the range of numbers. */
const MAX_AMOUNT = 1e60;

/** What an event adds to the metric: the number in a property, or 1 without a property. */
function amountOf(record, property) {
  const value = property === '' ? 1 : record.fact(property);
  return typeof value === 'number' && Math.abs(value) <= MAX_AMOUNT ? value : 0;
}

/** Analyse the users of a store at once; see Analysis. */
function analyse(store, query) {
  const analysis = new Analysis(query, store.prefixes);
  for (const person of store.people()) {
    analysis.add(person);
  }
  return analysis;
}

module.exports = { Analysis, EXPOSED, RETENTION_DAYS, analyse };
