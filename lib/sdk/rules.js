'use strict';

/**
 * The kind of rule that decided. Notifications of the older APIs tell it; for a flag it is looked up in the
 * configuration of the client.
 *
 * That is the SDK's own project configuration, by which decide() has just decided. It is parsed already, and replaced
 * as a whole with each datafile, so a look-up is right at any moment, also right after an update, and takes less than a
 * microsecond: there is nothing to prepare, to keep or to invalidate.
 *
 * A client that hides it, such as a wrapper, is asked for getOptimizelyConfig(), which the SDK builds at the first call
 * after each update: 10 to 40 ms for a datafile of 0.9 MB. prepare() has that done outside of decide().
 */

const { projectOf } = require('./config.js');

const rule = (ruleType) => Object.freeze({ ruleType });
const EXPERIMENT = rule('experiment');
const ROLLOUT = rule('rollout');
const HOLDOUT = rule('holdout');
/** No rule decided: the user is in none of the flag's, or the decision is forced. */
const NO_RULE = rule(null);
/** A rule decided, and its kind cannot be found out. */
const UNKNOWN_RULE = rule(null);

/** The `source` in notifications of isFeatureEnabled() and getFeatureVariable...(). */
const RULES_OF_SOURCES = new Map([
  ['feature-test', EXPERIMENT],
  ['experiment', EXPERIMENT],
  ['rollout', ROLLOUT],
  ['holdout', HOLDOUT],
]);

/** Return the rule as far as a notification tells it by itself. */
function notifiedRule({ type, decisionInfo }) {
  if (type === 'flag') {
    return isAbsent(decisionInfo.ruleKey) ? NO_RULE : UNKNOWN_RULE;
  }
  if (type === 'ab-test' || type === 'feature-test') {
    return isAbsent(decisionInfo.variationKey) ? NO_RULE : EXPERIMENT;
  }
  return RULES_OF_SOURCES.get(decisionInfo.source) ?? UNKNOWN_RULE;
}

/** The rules of one client. */
class Rules {
  #client;

  constructor(client) {
    this.#client = client;
  }

  /** Have the configuration built in the next turn of the event loop, if find() would build it otherwise. */
  prepare() {
    const immediate = setImmediate(() => {
      try {
        if (projectOf(this.#client) === undefined) {
          this.#client.getOptimizelyConfig();
        }
      } catch {
        // find() meets the same error, and reports it when a decision needs the rule.
      }
    });
    immediate.unref?.(); // fake timers may return something else
  }

  /** Return the rule of a flag's decision. Throws an error that says why it is unknown. */
  find(decision) {
    const project = projectOf(this.#client);
    const found =
      project === undefined
        ? findInConfig(this.#client.getOptimizelyConfig(), decision)
        : findInProject(project, decision);
    if (found === undefined) {
      throw new Error("it is not in the client's datafile");
    }
    return found;
  }
}

const isAbsent = (value) => value === null || value === undefined;

/** Keys are unique within a flag, but for holdouts; SDK v6 also notifies the id. */
const isRule = (candidate, { ruleKey, experimentId }) =>
  candidate?.key === ruleKey &&
  (isAbsent(experimentId) || isAbsent(candidate.id) || candidate.id === experimentId);

const hasRule = (candidates, decision) =>
  Array.isArray(candidates) && candidates.some((candidate) => isRule(candidate, decision));

/** Look a rule up in a project configuration; undefined if it is not there. */
function findInProject(project, decision) {
  const flag = project?.featureKeyMap[decision.flagKey];
  if (flag?.experimentIds?.some((id) => isRule(project.experimentIdMap[id], decision))) {
    return EXPERIMENT;
  }
  if (hasRule(project?.rolloutIdMap[flag?.rolloutId]?.experiments, decision)) {
    return ROLLOUT;
  }
  // The local ones are those of some rules.
  const isHoldout =
    hasRule(project?.holdouts, decision) || hasRule(project?.localHoldouts, decision);
  return isHoldout ? HOLDOUT : undefined;
}

/** Look a rule up in an OptimizelyConfig; undefined if its flag is not there. It lists all rules but the holdouts. */
function findInConfig(config, decision) {
  const flag = config?.featuresMap?.[decision.flagKey];
  if (hasRule(flag?.experimentRules, decision)) {
    return EXPERIMENT;
  }
  if (hasRule(flag?.deliveryRules, decision)) {
    return ROLLOUT;
  }
  return Array.isArray(flag?.deliveryRules) ? HOLDOUT : undefined;
}

module.exports = { NO_RULE, ROLLOUT, Rules, UNKNOWN_RULE, notifiedRule };
