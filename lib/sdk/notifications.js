'use strict';

/** The notification centre of an Optimizely client, in the ways of SDK v4, v5 and v6. */

/** v6 knows the first, v4 and v5 the second; each answers -1 to the other's. */
const NAMES = {
  DECISION: ['DECISION', 'DECISION:type, userId, attributes, decisionInfo'],
  OPTIMIZELY_CONFIG_UPDATE: ['OPTIMIZELY_CONFIG_UPDATE'],
};

/** Register a listener under the name that this version of the SDK knows. Returns its id, or -1. */
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
 * Register a listener for the decisions of a client; returns `{ renew, remove }`. renew() makes sure that
 * it is registered, once, whatever the application has cleared meanwhile.
 * Throws a TypeError with code ERR_OA_CLIENT if the client has no notification centre that takes it.
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

/** Register a listener for new datafiles, if the client knows of such; returns a function that removes it. */
function registerConfigUpdates(client, listener) {
  const center = client.notificationCenter;
  const id = addListener(center, 'OPTIMIZELY_CONFIG_UPDATE', listener);
  return () => {
    if (id >= 0) {
      center.removeNotificationListener(id);
    }
  };
}

function describe(client) {
  if (client === null || client === undefined) {
    return `${client}: did createInstance() fail?`;
  }
  if (typeof client.then === 'function') {
    return 'a promise: await it first';
  }
  return typeof client === 'object' ? 'an object without notificationCenter' : `a ${typeof client}`;
}

const clientError = (message) => Object.assign(new TypeError(message), { code: 'ERR_OA_CLIENT' });

module.exports = { register, registerConfigUpdates };
