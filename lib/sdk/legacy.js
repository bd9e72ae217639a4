'use strict';

/**
 * Decisions of the SDK's older APIs, translated into decisions of a flag.
 *
 * Their notifications do not name the variation and the rule of a rollout (the variation becomes `on`), and do not
 * distinguish activate() from getVariation().
 */

/**
 * Return {flagKey, variationKey, ruleKey, enabled} of a notification of another type than `flag`.
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
