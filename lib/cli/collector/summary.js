'use strict';

/** What can be analysed: flags with their rules and variations, event types, and properties. Pure. */

const MAX_ORDERED = 5;
const MAX_NAMES = 200;
const MAX_STEPS = 3;

const byCount = (map) => [...map].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));

const add = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);
const get = (map, key, make) => {
  if (!map.has(key)) {
    map.set(key, make());
  }
  return map.get(key);
};

/** In which order users do a few types of events first. */
class Lead {
  #types;
  #places;
  #firsts;
  #before; // by two types: the users who did the one before the other

  /** `counts` are [type, events], the most frequent first. */
  constructor(counts) {
    this.#types = counts.map(([type]) => type);
    this.#places = new Map(this.#types.map((type, place) => [type, place]));
    this.#firsts = this.#types.map(() => Infinity);
    this.#before = this.#types.map(() => this.#types.map(() => 0));
  }

  add({ records }) {
    const firsts = this.#firsts.fill(Infinity);
    for (const { type, time } of records) {
      const place = this.#places.get(type);
      if (place !== undefined && time < firsts[place]) {
        firsts[place] = time;
      }
    }
    for (let one = 0; one < firsts.length; one++) {
      for (let two = 0; two < firsts.length; two++) {
        this.#before[one][two] += firsts[one] < firsts[two] && firsts[two] !== Infinity;
      }
    }
  }

  /** The most frequent types, in the order in which most users do them first. */
  steps() {
    const before = this.#before;
    const wins = (one) => before[one].filter((count, two) => count > before[two][one]).length;
    return this.#types
      .slice(0, MAX_STEPS - 1)
      .map((type, place) => ({ type, place, wins: wins(place) }))
      .sort(
        (a, b) =>
          before[b.place][a.place] - before[a.place][b.place] ||
          b.wins - a.wins ||
          a.place - b.place,
      )
      .map(({ type }) => type);
  }
}

class Summary {
  #flags = new Map(); // flag -> users
  #rules = new Map(); // flag -> rule -> variation -> users
  #types = new Map(); // type -> events
  #exposures = new Map(); // type of an exposure -> events
  #numbers = new Map(); // type -> properties that are numbers
  #properties = new Map(); // a property to break down by -> users
  #lead = null;
  #prefixes;

  constructor(prefixes) {
    this.#prefixes = prefixes;
  }

  add(person) {
    const flags = new Set();
    const seen = new Set();
    const names = new Set();
    for (const name of person.properties.keys()) {
      const flag = this.#prefixes.flagOf(name);
      if (flag !== null) {
        flags.add(flag);
      } else {
        names.add(name);
      }
    }
    for (const record of person.records) {
      if (record.exposure !== null) {
        flags.add(record.exposure.flag);
        this.#addRule(record.exposure, seen);
        factNames(record).forEach((name) => names.add(name));
      }
      if (!record.isUpdate) {
        add(record.exposure === null ? this.#types : this.#exposures, record.type);
      }
      if (record.exposure === null && record.facts !== null) {
        this.#addNumbers(record);
      }
    }
    flags.forEach((flag) => add(this.#flags, flag));
    names.forEach((name) => {
      if (this.#properties.size < MAX_NAMES || this.#properties.has(name)) {
        add(this.#properties, name);
      }
    });
  }

  #addRule({ flag, rule, variation }, seen) {
    const variations = get(
      get(this.#rules, flag, () => new Map()),
      rule,
      () => new Map(),
    );
    const key = `${flag}\n${rule}\n${variation}`;
    if (!seen.has(key)) {
      seen.add(key);
      add(variations, variation ?? 'off');
    }
  }

  #addNumbers({ type, facts }) {
    const numbers = get(this.#numbers, type, () => new Map());
    for (let at = 0; at < facts.length; at += 2) {
      if (
        typeof facts[at + 1] === 'number' &&
        (numbers.size < MAX_NAMES || numbers.has(facts[at]))
      ) {
        add(numbers, facts[at]);
      }
    }
  }

  /** Note which of the most frequent event types a user did before which; to be called when all users are added. */
  order(person) {
    this.#lead ??= new Lead(byCount(this.#types).slice(0, MAX_ORDERED));
    this.#lead.add(person);
  }

  result() {
    const others = byCount(this.#types).filter(([type]) => !this.#exposures.has(type));
    const all = [...byCount(this.#exposures), ...others];
    return {
      flags: byCount(this.#flags).map(([flag, users]) => ({
        flag,
        users,
        rules: [...(this.#rules.get(flag) ?? [])]
          .map(([rule, variations]) => ({
            rule,
            variations: byCount(variations).map(([variation, count]) => ({
              variation,
              users: count,
            })),
          }))
          // An experiment before a rollout, which has one variation.
          .sort(
            (a, b) =>
              (b.variations.length > 1) - (a.variations.length > 1) || usersOf(b) - usersOf(a),
          ),
      })),
      types: all
        .map(([type, events]) => ({
          type,
          events,
          isExposure: this.#exposures.has(type),
          numbers: byCount(this.#numbers.get(type) ?? new Map()).map(([name]) => name),
        }))
        .sort((a, b) => b.events - a.events || (a.type < b.type ? -1 : 1)),
      steps: this.#lead?.steps() ?? [],
      properties: byCount(this.#properties).map(([name]) => name),
      prefixes: this.#prefixes.list,
    };
  }
}

const usersOf = ({ variations }) => variations.reduce((sum, { users }) => sum + users, 0);

function factNames({ facts }) {
  return facts === null ? [] : facts.filter((item, at) => at % 2 === 0);
}

/** Summarize the users of a store. */
function summarize(store) {
  const summary = new Summary(store.prefixes);
  for (const person of store.people()) {
    summary.add(person);
  }
  for (const person of store.people()) {
    summary.order(person);
  }
  return summary.result();
}

module.exports = { Summary, summarize };
