'use strict';

/** The decisions of the benchmarks. */

const { nextTurn } = require('./measure.js');

/** The number of decisions after which the loop turns, as in a server. */
const DECISIONS_IN_TURN = 1000;

/** Make a notification as the SDK does, at the least cost: without spreading objects, unlike the tests' function. */
function createNotification(userId, flagKey = 'checkout_flow', variationKey = 'one_page') {
  return {
    type: 'flag',
    userId,
    attributes: {},
    decisionInfo: {
      flagKey,
      enabled: true,
      variationKey,
      ruleKey: 'checkout_ab',
      variables: {},
      reasons: [],
      decisionEventDispatched: true,
      experimentId: '9400000001',
      variationId: '9410000002',
    },
  };
}

/** Make `count` decisions of as many users, in turns of the loop. */
async function decideMany(onDecision, count, firstUser = 0) {
  for (let made = 0; made < count;) {
    const end = Math.min(count, made + DECISIONS_IN_TURN);
    for (; made < end; made++) {
      onDecision(createNotification(`user_${firstUser + made}`));
    }
    await nextTurn();
  }
}

module.exports = { createNotification, decideMany };
