'use strict';

/** The notification centre of an Optimizely client, for SDK v4, v5 and v6. */

/** v6 knows the first name, v4 and v5 the second; each returns -1 for the other's. */
const NAMES = {
  DECISION: ['DECISION', 'DECISION:type, userId, attributes, decisionInfo'],
  OPTIMIZELY_CONFIG_UPDATE: ['OPTIMIZELY_CONFIG_UPDATE'],
};

/** Register a listener under the name that the client's version of the SDK knows; returns its id, or -1. */
function addListener(notificationCenter, type, listener) {
  for (const name of NAMES[type]) {
    const id = notificationCenter.addNotificationListener(name, listener);
    if (typeof id === 'number' && id >= 0) {
      return id;
    }
  }
  return -1;
}

/**
 * Register a listener for the decisions of a client, and one for its new datafiles unless that is null. Returns
 * `{ renew, remove }`; renew() registers them again, once, in case the application has cleared them. Throws a TypeError
 * with code ERR_OA_CLIENT if the client has no notification centre that takes the first.
 */
function register(client, onDecision, onConfigUpdate) {
  const center = client?.notificationCenter;
  if (
    typeof center?.addNotificationListener !== 'function' ||
    typeof center.removeNotificationListener !== 'function'
  ) {
    throw clientError(
      `attach() expects a client of the Optimizely SDK, as createInstance() returns it, got ${describe(client)}`,
    );
  }
  let ids = [];
  const add = () => {
    ids = [addListener(center, 'DECISION', onDecision)];
    if (onConfigUpdate !== null) {
      ids.push(addListener(center, 'OPTIMIZELY_CONFIG_UPDATE', onConfigUpdate));
    }
  };
  const remove = () => {
    ids.filter((id) => id >= 0).forEach((id) => center.removeNotificationListener(id));
  };
  add();
  if (ids[0] < 0) {
    remove();
    throw clientError(
      'attach(): the client takes no DECISION listener; Optimizely SDK v4.5, v5 or v6 is needed',
    );
  }
  const renew = () => {
    remove();
    add();
  };
  return { renew, remove };
}

const SDK = "'@optimizely/optimizely-sdk'";
/** How to make a client, with SDK v6 and with earlier ones: guides for one do not work with the other. */
const RECIPE = [
  'A client of SDK v6, which has no createInstance({ sdkKey }) and no enums:',
  `    const { createInstance, createPollingProjectConfigManager } = require(${SDK});`,
  '    const optimizely = createInstance({ projectConfigManager: createPollingProjectConfigManager({ sdkKey }) });',
  'Of SDK v4 and v5: createInstance({ sdkKey })',
].join('\n');

function describe(client) {
  if (client === null || client === undefined) {
    return `${client}: did createInstance() fail?\n${RECIPE}`;
  }
  if (typeof client.then === 'function') {
    return 'a promise: await it first';
  }
  if (typeof client !== 'object') {
    return `a ${typeof client}\n${RECIPE}`;
  }
  const name = Object.keys(client).find((key) => client[key]?.notificationCenter);
  return name === undefined
    ? `an object without notificationCenter\n${RECIPE}`
    : `an object with a client in it: attach its property '${name}'`;
}

const clientError = (message) => Object.assign(new TypeError(message), { code: 'ERR_OA_CLIENT' });

module.exports = { register };
