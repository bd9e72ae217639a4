'use strict';

/** Settings of the bridge that no flag has: `npx optimizely-amplitude agent --config bridge.js`. */

module.exports = {
  // A function is asked for a token for each connection: they expire.
  accessToken: () => process.env.OPTIMIZELY_AGENT_TOKEN,
  resolveUser: ({ userId }) => (userId.startsWith('bot_') ? null : { userId, platform: 'Server' }),
};
