'use strict';

/**
 * The kind of rule that decided. A notification does not have it, so it is looked up in the client's configuration,
 * which is read once for each datafile.
 */

const { registerConfigUpdates } = require('./notifications.js');
const { reasonOf } = require('../reason.js');

const rule = (ruleType) => Object.freeze({ ruleType });
const NO_RULE = rule(null);
const EXPERIMENT = rule('experiment');
const ROLLOUT = rule('rollout');
const HOLDOUT = rule('holdout');

class RuleTypes {
  #client;
  #log;
  #flags = null; // flag key -> Map of rule key -> rule; null: to be read
  #holdouts = new Set();
  #stopListening = null;

  constructor(client, log) {
    this.#client = client;
    this.#log = log;
  }

  /** Return the kind of a flag's rule: `{ ruleType }`. */
  find(flagKey, ruleKey) {
    if (ruleKey === null || ruleKey === undefined) {
      return NO_RULE;
    }
    if (this.#flags === null) {
      this.#read();
    }
    return (
      this.#flags.get(flagKey)?.get(ruleKey) ?? (this.#holdouts.has(ruleKey) ? HOLDOUT : NO_RULE)
    );
  }

  close() {
    this.#stopListening?.();
  }

  #read() {
    this.#flags = new Map();
    try {
      this.#stopListening ??= registerConfigUpdates(this.#client, () => {
        this.#flags = null;
      });
      const config = this.#client.getOptimizelyConfig();
      for (const [flagKey, flag] of Object.entries(config?.featuresMap ?? {})) {
        this.#flags.set(flagKey, rulesOf(flag));
      }
      this.#holdouts = holdoutsOf(config);
    } catch (error) {
      this.#log.warn(
        'rules',
        `the kinds of rules are unknown: getOptimizelyConfig() threw: ${reasonOf(error)}`,
      );
    }
  }
}

function rulesOf(flag) {
  const rules = new Map();
  for (const { key } of flag.deliveryRules ?? []) {
    rules.set(key, ROLLOUT);
  }
  for (const { key } of flag.experimentRules ?? []) {
    rules.set(key, EXPERIMENT);
  }
  return rules;
}

/** The keys of holdouts, which are in the datafile, but not in the rules of a flag. */
function holdoutsOf(config) {
  const datafile = JSON.parse(config?.getDatafile?.() ?? '{}');
  return new Set((datafile.holdouts ?? []).map(({ key }) => key));
}

module.exports = { RuleTypes, NO_RULE };
