'use strict';

/** The decisions that are made in the benchmarks. */

const { nextTurn } = require('./measure.js');

/** A server does other things in between, too. */
const DECISIONS_IN_TURN = 1000;

/** A notification as the SDK makes it. */
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
