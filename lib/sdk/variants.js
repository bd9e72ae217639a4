'use strict';

/**
 * The addon's id of each variant, which is the constant part of a decision: flag, variation, rule, enabled. There
 * are a few hundred of them and thousands of decisions a second, so a decision goes to the addon as a number.
 */

const { MAX_STRING_LENGTH, isText } = require('../text.js');

/** More than any datafile has; it bounds the memory when an application makes up keys. */
const MAX_VARIANTS = 10_000;
class VariantIds {
  #native;
  #flags = new Map(); // flag key -> Map of variation key -> [{ flagKey, variationKey, ruleKey, enabled, id }]
  #last = null; // the variant of the last decision, which often is the next one's, too
  #count = 0;

  constructor(native) {
    this.#native = native;
  }

  /** Return the id of a decision's variant, or -1 if the decision cannot be sent. */
  get(decision) {
    const { flagKey, variationKey, ruleKey, enabled } = decision;
    const last = this.#last;
    if (
      last !== null &&
      last.flagKey === flagKey &&
      last.variationKey === variationKey &&
      last.ruleKey === ruleKey &&
      last.enabled === enabled
    ) {
      return last.id;
    }
    const variants = this.#flags.get(flagKey)?.get(variationKey);
    if (variants !== undefined) {
      for (let i = 0; i < variants.length; i++) {
        if (variants[i].ruleKey === ruleKey && variants[i].enabled === enabled) {
          this.#last = variants[i];
          return variants[i].id;
        }
      }
    }
    return checkDecision(decision) === null ? this.#add(decision) : -1;
  }

  #add({ flagKey, variationKey, ruleKey, enabled }) {
    if (this.#count === MAX_VARIANTS) {
      this.#native.forgetVariants();
      this.#flags.clear();
      this.#last = null;
      this.#count = 0;
    }
    const id = this.#native.addVariant(flagKey, variationKey, ruleKey, enabled);
    const variations = entry(this.#flags, flagKey, () => new Map());
    entry(variations, variationKey, () => []).push({ flagKey, variationKey, ruleKey, enabled, id });
    this.#count++;
    return id;
  }
}

function entry(map, key, make) {
  if (!map.has(key)) {
    map.set(key, make());
  }
  return map.get(key);
}

const isAbsent = (value) => value === null || value === undefined;

/** Return what is wrong with a decision, or null. */
function checkDecision({ flagKey, variationKey, ruleKey, enabled }) {
  if (!isText(flagKey, 1)) {
    return `its flagKey is not a string of 1 to ${MAX_STRING_LENGTH} characters`;
  }
  if (!isAbsent(variationKey) && !isText(variationKey)) {
    return `its variationKey is neither null nor a string of at most ${MAX_STRING_LENGTH} characters`;
  }
  if (!isAbsent(ruleKey) && !isText(ruleKey)) {
    return `its ruleKey is neither null nor a string of at most ${MAX_STRING_LENGTH} characters`;
  }
  return typeof enabled === 'boolean' ? null : 'its enabled is neither true nor false';
}

module.exports = { VariantIds, checkDecision };
