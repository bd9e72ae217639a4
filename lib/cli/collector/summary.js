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

class Summary {
  #flags = new Map(); // flag -> users
  #rules = new Map(); // flag -> rule -> variation -> users
  #types = new Map(); // type -> events
  #exposures = new Map(); // type of an exposure -> events
  #numbers = new Map(); // type -> properties that are numbers
  #properties = new Map(); // a property to break down by -> users
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

  /** The event types that are most frequent, in the order in which most users do them first. */
  #steps(people) {
    const types = byCount(this.#types)
      .slice(0, MAX_ORDERED)
      .map(([type]) => type);
    if (types.length < 2) {
      return types;
    }
    const places = new Map(types.map((type, place) => [type, place]));
    const lead = types.map(() => types.map(() => 0)); // users who did the one before the other
    for (const person of people) {
      const firsts = types.map(() => Infinity);
      for (const { type, time } of person.records) {
        const place = places.get(type);
        if (place !== undefined && time < firsts[place]) {
          firsts[place] = time;
        }
      }
      firsts.forEach((time, one) =>
        firsts.forEach((other, two) => {
          lead[one][two] += time < other && other !== Infinity;
        }),
      );
    }
    const wins = (one) => lead[one].filter((count, two) => count > lead[two][one]).length;
    return types
      .slice(0, MAX_STEPS - 1)
      .map((type, place) => ({ type, place, wins: wins(place) }))
      .sort(
        (a, b) =>
          lead[b.place][a.place] - lead[a.place][b.place] || b.wins - a.wins || a.place - b.place,
      )
      .map(({ type }) => type);
  }

  result(people) {
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
      steps: this.#steps(people),
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
  return summary.result(store.people());
}

module.exports = { Summary, summarize };
