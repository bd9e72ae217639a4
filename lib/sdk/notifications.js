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
 * Register a listener for the decisions of a client; returns `{ renew, remove }`. renew() registers it again, once,
 * in case the application has cleared it. Throws a TypeError with code ERR_OA_CLIENT if the client has no
 * notification centre that takes the listener.
 */
function register(client, listener) {
  const center = client?.notificationCenter;
  if (
    typeof center?.addNotificationListener !== 'function' ||
    typeof center.removeNotificationListener !== 'function'
  ) {
    throw clientError(
      `attach() expects a client of the Optimizely SDK, as createInstance() returns it, got ${describe(client)}`,
    );
  }
  let id = addListener(center, 'DECISION', listener);
  if (id < 0) {
    throw clientError(
      'attach(): the client takes no DECISION listener; Optimizely SDK v4.5, v5 or v6 is needed',
    );
  }
  const remove = () => {
    center.removeNotificationListener(id);
  };
  const renew = () => {
    remove();
    id = addListener(center, 'DECISION', listener);
  };
  return { renew, remove };
}

/** Register a listener for new datafiles, where the client supports that; returns a function that removes it. */
function registerConfigUpdates(client, listener) {
  const center = client.notificationCenter;
  const id = addListener(center, 'OPTIMIZELY_CONFIG_UPDATE', listener);
  return () => {
    if (id >= 0) {
      center.removeNotificationListener(id);
    }
  };
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

/**
 * Whether a client has no datafile yet, as far as can be detected: then decide() returns no variation and sends no
 * notification, in any version of the SDK.
 */
function isUnready(client) {
  try {
    return client.getOptimizelyConfig() === null;
  } catch {
    return false;
  }
}

const clientError = (message) => Object.assign(new TypeError(message), { code: 'ERR_OA_CLIENT' });

module.exports = { isUnready, register, registerConfigUpdates };
