'use strict';

/** The planned split of Optimizely's experiments, from a datafile. Pure. */

const list = (value) => (Array.isArray(value) ? value : []);

/** The share of each variation of an experiment: variation -> weight. Traffic that gets no variation has no share. */
function weightsOf({ variations, trafficAllocation }) {
  const names = new Map(list(variations).map(({ id, key }) => [id, key]));
  const weights = new Map();
  let start = 0;
  for (const { entityId, endOfRange } of list(trafficAllocation)) {
    const name = names.get(entityId);
    if (name !== undefined && endOfRange > start) {
      weights.set(name, (weights.get(name) ?? 0) + endOfRange - start);
    }
    start = endOfRange;
  }
  return weights;
}

/**
 * Read the text of a datafile: (flag, rule) => weights, or null for what it does not know. Throws if it is no datafile.
 */
function readAllocations(text) {
  const datafile = JSON.parse(text);
  if (!Array.isArray(datafile?.featureFlags)) {
    throw new TypeError(
      'it has no featureFlags, so it is not a datafile of Feature Experimentation',
    );
  }
  const experiments = new Map(
    [datafile, ...list(datafile.groups)]
      .flatMap((holder) => list(holder.experiments))
      .map((experiment) => [experiment.id, experiment]),
  );
  const flags = new Map();
  for (const { key, experimentIds } of datafile.featureFlags) {
    const rules = new Map();
    for (const experiment of list(experimentIds).map((id) => experiments.get(id))) {
      const weights = experiment === undefined ? new Map() : weightsOf(experiment);
      if (weights.size > 1) {
        rules.set(experiment.key, weights);
      }
    }
    flags.set(key, rules);
  }
  return (flag, rule) => flags.get(flag)?.get(rule) ?? null;
}

/** For want of a datafile. */
const noAllocations = () => null;

module.exports = { noAllocations, readAllocations };
