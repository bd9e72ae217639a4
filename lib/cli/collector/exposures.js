'use strict';

/**
 * What events tell of a decision: those of this package, and Amplitude Experiment's. Amplitude stores a `$exposure`
 * as `[Experiment] Exposure`, and sets the user property `[Experiment] <flag>` by it. One without a variant is not
 * stored, and unsets the property; the collector keeps it under its own name, as it keeps a `$identify`.
 */

const SENT_TYPE = '$exposure';
const STORED_TYPE = '[Experiment] Exposure';

/** The prefixes of the user properties that hold a user's variations; the first that a user has counts. */
const PREFIXES = ['[Optimizely] ', '[Experiment] '];

/** The flag that the name of a user property is about, or null. */
function flagOf(name) {
  const prefix = PREFIXES.find((each) => name.startsWith(each));
  return prefix === undefined ? null : name.slice(prefix.length);
}

/** Whether an event tells of a decision. */
const isExposure = (event) => typeof event.event_properties?.flag_key === 'string';

/** Whether it is Amplitude Experiment's. */
const isExperiments = ({ event_type: type }) => type === STORED_TYPE || type === SENT_TYPE;

/** Whether an event only changes the user's properties. */
const isUpdate = ({ event_type: type }) => type === '$identify' || type === SENT_TYPE;

/** The decision that an exposure tells of. */
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

/** Whether two exposures of a user that follow each other are one decision, sent as a `$exposure` and as an event. */
function isSameDecision(before, event) {
  if (isExperiments(before) === isExperiments(event) || before.time !== event.time) {
    return false;
  }
  const [one, other] = [decisionOf(before), decisionOf(event)];
  return one.flag === other.flag && one.variation === other.variation && one.rule === other.rule;
}

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
  PREFIXES,
  decisionOf,
  flagOf,
  isExperiments,
  isExposure,
  isSameDecision,
  isUpdate,
  storeExposure,
};
