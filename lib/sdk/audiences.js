'use strict';

/** What the audiences of a client's datafile ask for, and how attributes get into its users. For SDK v4, v5 and v6. */

const { reasonOf } = require('../reason.js');

/** Add the names of the attributes in a tree of conditions, such as ['and', { name: 'plan', ... }, ['not', ...]]. */
function addNames(conditions, names) {
  if (Array.isArray(conditions)) {
    conditions.forEach((condition) => addNames(condition, names));
  } else if (typeof conditions?.name === 'string') {
    names.add(conditions.name);
  }
}

/** The attributes that the audiences of a project name, as a Set. */
function namesIn(project) {
  const names = new Set();
  for (const { conditions } of Object.values(project.audiencesById ?? {})) {
    addNames(conditions, names);
  }
  return names;
}

/** Whether the project has an attribute of that key, whether or not an audience names it. */
const hasAttribute = (project, name) => Object.hasOwn(project.attributeKeyMap ?? {}, name);

/**
 * Have createUserContext() of a client add attributes: `add(userId, attributes)` returns those that it is called with.
 * Returns a function that gives the client its own function back.
 *
 * Something else may have wrapped ours meanwhile, and then ours stays, and adds nothing. Whatever add() throws is given
 * to `onError`, and does not reach the application.
 */
function wrapUserContexts(client, add, onError) {
  const own = Object.getOwnPropertyDescriptor(client, 'createUserContext');
  const original = client.createUserContext;
  let isActive = true;
  const wrapped = function createUserContext(userId, attributes, ...rest) {
    let all = attributes;
    if (isActive && isAttributes(attributes)) {
      try {
        all = add(userId, attributes);
      } catch (error) {
        onError(reasonOf(error));
      }
    }
    return Reflect.apply(original, this, [userId, all, ...rest]);
  };
  client.createUserContext = wrapped;
  return () => {
    isActive = false;
    if (client.createUserContext !== wrapped) {
      return;
    }
    if (own === undefined) {
      delete client.createUserContext;
    } else {
      Object.defineProperty(client, 'createUserContext', own);
    }
  };
}

/** What is not, the SDK has to refuse. */
const isAttributes = (value) =>
  value === undefined || (typeof value === 'object' && value !== null && !Array.isArray(value));

/** Throw a TypeError with code ERR_OA_CLIENT unless attributes can be added to the users of a client. */
function checkClient(client) {
  if (typeof client?.createUserContext === 'function') {
    return;
  }
  const got =
    typeof client?.then === 'function'
      ? 'a promise: await it first'
      : 'something without createUserContext(), which SDK v4.5, v5 and v6 have';
  throw Object.assign(
    new TypeError(
      `attach() expects a client of the Optimizely SDK, as createInstance() returns it, got ${got}`,
    ),
    { code: 'ERR_OA_CLIENT' },
  );
}

module.exports = { checkClient, hasAttribute, namesIn, wrapUserContexts };
