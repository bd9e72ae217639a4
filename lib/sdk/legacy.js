'use strict';

/**
 * Decisions of the older APIs, as far as they can be told as decisions of a flag.
 *
 * What they cannot tell: a rollout's variation and rule (`on` stands in for the variation), and whether
 * an experiment was activated or only asked for with getVariation().
 */

/**
 * Return {flagKey, variationKey, ruleKey, enabled} of a notification whose type is not `flag`.
 * Throws if it has no decisionInfo.
 */
function readLegacyDecision({ type, decisionInfo }) {
  if (type === 'ab-test' || type === 'feature-test') {
    const { experimentKey, variationKey } = decisionInfo;
    return {
      flagKey: experimentKey,
      variationKey,
      ruleKey: experimentKey,
      enabled: typeof variationKey === 'string',
    };
  }
  const { featureKey, featureEnabled, sourceInfo } = decisionInfo;
  return {
    flagKey: featureKey,
    variationKey: sourceInfo?.variationKey ?? (featureEnabled ? 'on' : null),
    ruleKey: sourceInfo?.experimentKey ?? null,
    enabled: featureEnabled,
  };
}

module.exports = { readLegacyDecision };
