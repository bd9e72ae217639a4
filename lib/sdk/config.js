'use strict';

/** What a client of the SDK has of its datafile. */

/**
 * Return the project configuration of a client, the parsed datafile by which it decides: null if it has none yet, and
 * undefined if it cannot be reached, as in a wrapper of a client. v4, v5 and v6 have it in the same place, although not
 * in their types. May throw, as whatever asks a client.
 */
function projectOf(client) {
  const manager = client.projectConfigManager;
  if (typeof manager?.getConfig !== 'function') {
    return undefined;
  }
  const project = manager.getConfig() ?? null;
  return project === null ||
    (project.featureKeyMap && project.experimentIdMap && project.rolloutIdMap)
    ? project
    : undefined;
}

/**
 * Whether a client has no datafile yet, as far as can be detected: then decide() returns no variation and sends no
 * notification, in any version of the SDK.
 */
function isUnready(client) {
  try {
    const project = projectOf(client);
    return project === undefined ? client.getOptimizelyConfig() === null : project === null;
  } catch {
    return false;
  }
}

module.exports = { isUnready, projectOf };
