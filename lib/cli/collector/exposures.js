'use strict';

/**
 * What events tell of a decision: those of this package, and Amplitude Experiment's. Amplitude stores a `$exposure`
 * as `[Experiment] Exposure`, and sets the user property `[Experiment] <flag>` by it. One without a variant is not
 * stored, and unsets the property; the collector keeps it under its own name, as it keeps a `$identify`.
 */

const SENT_TYPE = '$exposure';
const STORED_TYPE = '[Experiment] Exposure';

const USUAL = ['[Optimizely] ', '[Experiment] '];
const MAX_PREFIXES = 20;
const MAX_NAMES = 5000;

/**
 * The prefixes of the user properties that hold a user's variations: the usual two, those that are given, and those
 * that the events tell: what a property has before the key of a flag, if it was set to what the exposure says. Of two
 * properties that end with the key, as `[A/B] checkout` and `[A/B] new_checkout` do, the shorter one is meant.
 */
class Prefixes {
  #all; // { prefix, count }: those that explained most exposures first, of those that explained none the given ones
  #bare = new Set(); // flags whose property has no prefix, as any other property has none
  #flags = new Map(); // what flagOf() has found out

  constructor(given = []) {
    this.#all = [...new Set([...given, ...USUAL])].map((prefix) => ({ prefix, count: 0 }));
  }

  get list() {
    return this.#all.map(({ prefix }) => prefix);
  }

  /** Learn from an exposure, and the changes of properties that were made last before it: [name, value, ...], or null. */
  learn({ flag, variation, enabled }, changes, properties) {
    const all = this.#all;
    const known = all.findIndex(({ prefix }) => properties.has(prefix + flag));
    if (known >= 0) {
      all[known].count++;
      this.#noteBare(all[known].prefix, flag);
      this.#raise(known);
      return;
    }
    const told = enabled === false ? [variation, 'off'] : [variation ?? 'off'];
    const [name] = (changes ?? [])
      .filter((item, at) => at % 2 === 0)
      .filter((each) => flag !== '' && each.endsWith(flag) && told.includes(properties.get(each)))
      .sort((a, b) => a.length - b.length);
    if (name !== undefined && all.length < MAX_PREFIXES) {
      const prefix = name.slice(0, name.length - flag.length);
      all.push({ prefix, count: 1 });
      this.#noteBare(prefix, flag);
      this.#flags.clear();
      this.#raise(all.length - 1);
    }
  }

  #noteBare(prefix, flag) {
    if (prefix === '' && this.#bare.size < MAX_NAMES && !this.#bare.has(flag)) {
      this.#bare.add(flag);
      this.#flags.clear();
    }
  }

  #raise(place) {
    const all = this.#all;
    for (let at = place; at > 0 && all[at].count > all[at - 1].count; at--) {
      [all[at - 1], all[at]] = [all[at], all[at - 1]];
      this.#flags.clear();
    }
  }

  /** The flag that the name of a property is about, or null. */
  flagOf(name) {
    let flag = this.#flags.get(name);
    if (flag === undefined) {
      const found = this.#all.find(({ prefix }) =>
        prefix === '' ? this.#bare.has(name) : name.startsWith(prefix) && name !== prefix,
      );
      flag = found === undefined ? null : name.slice(found.prefix.length);
      if (this.#flags.size >= MAX_NAMES) {
        this.#flags.clear();
      }
      this.#flags.set(name, flag);
    }
    return flag;
  }

  /** The properties that may hold the variation of a flag; the first that a user has counts. */
  propertiesOf(flag) {
    return this.#all.map(({ prefix }) => prefix + flag);
  }
}

/** Whether an event tells of a decision. */
const isExposure = (event) => typeof event.event_properties?.flag_key === 'string';

/** Whether it is Amplitude Experiment's. */
const isExperiments = ({ event_type: type }) => type === STORED_TYPE || type === SENT_TYPE;

/** Whether an event only changes the user's properties. */
const isUpdate = ({ event_type: type }) => type === '$identify' || type === SENT_TYPE;

/** The decision that an exposure tells of: { flag, variation, rule, enabled }. */
function decisionOf(event) {
  const properties = event.event_properties;
  return isExperiments(event)
    ? {
        flag: properties.flag_key,
        variation: properties.variant ?? null,
        rule: properties.experiment_key ?? null,
        enabled: null,
      }
    : {
        flag: properties.flag_key,
        variation: properties.variation_key ?? null,
        rule: properties.rule_key ?? null,
        enabled: properties.enabled ?? null,
      };
}

/** Whether two decisions of a user that follow each other are one, sent as a `$exposure` and as an event. */
const isSameDecision = (one, other) =>
  one.flag === other.flag && one.variation === other.variation && one.rule === other.rule;

/** Turn a `$exposure` into what Amplitude stores; return the operations on its user's properties, or null. */
function storeExposure(event) {
  if (event.event_type !== SENT_TYPE || !isExposure(event)) {
    return null;
  }
  const { flag, variation } = decisionOf(event);
  const name = `[Experiment] ${flag}`;
  if (variation === null) {
    return { $unset: { [name]: '-' } };
  }
  event.event_type = STORED_TYPE;
  event.sent_as = SENT_TYPE;
  return { $set: { [name]: variation } };
}

module.exports = {
  Prefixes,
  decisionOf,
  isExperiments,
  isExposure,
  isSameDecision,
  isUpdate,
  storeExposure,
};
