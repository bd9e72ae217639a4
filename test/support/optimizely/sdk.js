'use strict';

/**
 * Real clients of the Optimizely SDK, majors 6, 5 and 4, that use no network and log nothing.
 *
 * The datafile has three flags. With the attributes US_PREMIUM all three majors decide alike:
 * - checkout_flow: an experiment (user_0 to user_3: control, which is off; user_9, user_10: one_page; qa_user:
 *   always one_page), a targeted delivery for the others (user_11: on); without US_PREMIUM there is a
 *   delivery named off;
 * - homepage_banner: on for all users, by a delivery;
 * - search_ranking: an experiment for all users (user_0: vector, user_4: bm25); no variation for the others
 *   (user_1, user_2).
 * Of the older kind are the experiment legacy_ab (user_1: a) and the event purchase.
 */

const fs = require('node:fs');
const path = require('node:path');

const DATAFILE = fs.readFileSync(
  path.join(__dirname, '..', '..', 'examples', 'datafile.json'),
  'utf8',
);

const MAJORS = [6, 5, 4];
const FLAGS = ['checkout_flow', 'homepage_banner', 'search_ranking'];
const US_PREMIUM = Object.freeze({ country: 'US', plan: 'premium' });

const PACKAGES = { 6: '@optimizely/optimizely-sdk', 5: 'optimizely-sdk-5', 4: 'optimizely-sdk-4' };
/** How each major names the notification. */
const DECISION = {
  6: 'DECISION',
  5: 'DECISION:type, userId, attributes, decisionInfo',
  4: 'DECISION:type, userId, attributes, decisionInfo',
};

const requireSdk = (major) => require(PACKAGES[major]);

const quietly = { dispatchEvent: (event, callback) => callback({ statusCode: 200 }) };

/** Create a client of that major, which decides at once, without onReady(). */
function createClient(major = 6, datafile = DATAFILE) {
  const sdk = requireSdk(major);
  if (major >= 6) {
    return sdk.createInstance({
      projectConfigManager: sdk.createStaticProjectConfigManager({ datafile }),
    });
  }
  sdk.setLogger(null);
  return sdk.createInstance({ datafile, odpOptions: { disabled: true }, eventDispatcher: quietly });
}

/** Create a client of that major that fetches its datafile from `url`, as one with an sdkKey does, and has none yet. */
function createFetchingClient(major, url) {
  const sdk = requireSdk(major);
  if (major >= 6) {
    return sdk.createInstance({
      projectConfigManager: sdk.createPollingProjectConfigManager({
        sdkKey: 'sdk-key',
        urlTemplate: url,
      }),
    });
  }
  sdk.setLogger(null);
  return sdk.createInstance({
    sdkKey: 'sdk-key',
    datafileOptions: { urlTemplate: url },
    odpOptions: { disabled: true },
    eventDispatcher: quietly,
  });
}

/** Give a client another datafile, as polling does. */
function updateDatafile(client, datafile) {
  client.projectConfigManager.handleNewDatafile(datafile);
}

/** A datafile with `change` made to its content, and the next revision. */
function changeDatafile(change, datafile = DATAFILE) {
  const content = JSON.parse(datafile);
  content.revision = String(Number(content.revision) + 1);
  change(content);
  return JSON.stringify(content);
}

/** Make a datafile of 0.9 MB, which has 650 more flags, flag_0 to flag_649, each with the rules of checkout_flow. */
function createLargeDatafile() {
  const content = JSON.parse(DATAFILE);
  const [flag] = content.featureFlags;
  const experiment = content.experiments.find(({ id }) => flag.experimentIds.includes(id));
  const rollout = content.rollouts.find(({ id }) => id === flag.rolloutId);
  /** A copy of a rule without variables, whose ids are its own. */
  const copyRule = (rule, i) => {
    const copy = JSON.parse(JSON.stringify(rule).replace(/"(id|entityId)":"/g, `$&${i}_`));
    copy.key = `${rule.key}_${i}`;
    copy.variations.forEach((variation) => {
      variation.variables = [];
    });
    return copy;
  };
  for (let i = 0; i < 650; i++) {
    const ownExperiment = copyRule(experiment, i);
    const ownRollout = {
      id: `${rollout.id}_${i}`,
      experiments: rollout.experiments.map((rule) => copyRule(rule, i)),
    };
    content.experiments.push(ownExperiment);
    content.rollouts.push(ownRollout);
    content.featureFlags.push({
      ...flag,
      id: `${flag.id}_${i}`,
      key: `flag_${i}`,
      experimentIds: [ownExperiment.id],
      rolloutId: ownRollout.id,
      variables: [],
    });
  }
  return JSON.stringify(content);
}

/** Decide one flag for a user, as an application does; return the decision. */
function decideAs(
  client,
  userId,
  attributes = US_PREMIUM,
  flagKey = 'checkout_flow',
  options = [],
) {
  return client.createUserContext(userId, attributes).decide(flagKey, options);
}

/** Decide all flags for a user. */
function decideAllAs(client, userId, attributes = US_PREMIUM, options = []) {
  return client.createUserContext(userId, attributes).decideAll(options);
}

/** Record every DECISION notification of a client; return the list that grows. */
function recordDecisions(client, major) {
  const notifications = [];
  client.notificationCenter.addNotificationListener(DECISION[major], (notification) => {
    notifications.push(structuredClone(notification));
  });
  return notifications;
}

/** Make a notification as SDK v6 does, without the SDK. */
function createNotification(userId, decisionInfo = {}) {
  return {
    type: 'flag',
    userId,
    attributes: {},
    decisionInfo: {
      flagKey: 'checkout_flow',
      enabled: true,
      variationKey: 'one_page',
      ruleKey: 'checkout_ab',
      variables: {},
      reasons: [],
      decisionEventDispatched: true,
      experimentId: '9400000001',
      variationId: '9410000002',
      ...decisionInfo,
    },
  };
}

module.exports = {
  DATAFILE,
  FLAGS,
  MAJORS,
  US_PREMIUM,
  changeDatafile,
  createClient,
  createFetchingClient,
  createLargeDatafile,
  createNotification,
  decideAllAs,
  decideAs,
  recordDecisions,
  requireSdk,
  updateDatafile,
};
