/** What this package needs to know of the Optimizely SDK v4, v5 and v6: a client, and its notifications. */

/** A client of the Optimizely SDK v4, v5 or v6: the members that are used here. */
export interface OptimizelyClient {
  readonly notificationCenter: {
    // The SDK's own parameters differ from one major version to the next; `never` stands for all of them.
    addNotificationListener(notificationType: never, callback: never): number;
    removeNotificationListener(listenerId: number): boolean;
  };
  getOptimizelyConfig?(): unknown;
}

/** Any notification, of any version of the SDK. */
export interface AnyNotification {
  userId: string;
  type?: string;
  attributes?: unknown;
  decisionInfo?: unknown;
}

/** A DECISION notification of one of the types `T`. */
export type DecisionNotification<T extends DecisionType = DecisionType> = {
  [type in T]: {
    type: type;
    userId: string;
    attributes: Record<string, any>;
    decisionInfo: DecisionInfo[type];
  };
}[T];

export type DecisionType = keyof DecisionInfo;

/** The information of each type of decision. */
export interface DecisionInfo {
  /** `decide()` and its relatives. */
  flag: {
    flagKey: string;
    enabled: boolean;
    variationKey: string | null;
    ruleKey: string | null;
    variables: Record<string, unknown>;
    reasons: string[];
    decisionEventDispatched: boolean;
    /** Since SDK v6. */
    experimentId?: string | null;
    /** Since SDK v6. */
    variationId?: string | null;
  };
  /** `isFeatureEnabled()` and `getEnabledFeatures()`. */
  feature: FeatureDecision;
  /** `getFeatureVariable...()`. */
  'feature-variable': FeatureDecision & {
    variableKey: string;
    variableValue: unknown;
    variableType: string;
  };
  /** `getAllFeatureVariables()`. */
  'all-feature-variables': FeatureDecision & {
    variableValues: Record<string, unknown>;
  };
  /** `activate()` and `getVariation()` of an experiment that belongs to no flag. */
  'ab-test': ExperimentDecision;
  /** `activate()` and `getVariation()` of an experiment that belongs to a flag. */
  'feature-test': ExperimentDecision;
}

export interface FeatureDecision {
  featureKey: string;
  featureEnabled: boolean;
  source: string;
  sourceInfo: { experimentKey?: string; variationKey?: string };
}

export interface ExperimentDecision {
  experimentKey: string;
  variationKey: string | null;
}
