'use strict';

/**
 * The application's callbacks for a decision: resolveUser, eventProperties and userProperties, and the look-up of
 * the rule that they are given. Loaded only when an option needs it.
 *
 * A resolveUser that throws costs the decision; one of the others costs its properties.
 */

const { toMembers } = require('./properties.js');
const { isPromise, reasonOf } = require('./reason.js');
const { RuleTypes, NO_RULE } = require('./sdk/rules.js');

class UserCallbacks {
  #options;
  #log;
  #record;
  #ignored;

  /** `record` is the addon's function; `ignored` is the status of a decision that a callback keeps out. */
  constructor(options, log, record, ignored) {
    this.#options = options;
    this.#log = log;
    this.#record = record;
    this.#ignored = ignored;
  }

  /** Return the rules of a client; the caller has to close() them. */
  rulesOf(client) {
    return new RuleTypes(client, this.#log);
  }

  /**
   * Get the user and the properties, and pass the decision to the addon; returns its status. Throws when resolveUser
   * returns something invalid.
   */
  record(id, decision, notification, rules) {
    const {
      resolveUser,
      eventProperties,
      userProperties,
      includeRollouts,
      propertyPrefix,
      format,
    } = this.#options;
    const rule = rules === null ? NO_RULE : rules.find(decision.flagKey, decision.ruleKey);
    if (!includeRollouts && rule.ruleType === 'rollout') {
      return this.#ignored;
    }
    const user = resolveUser === null ? notification : resolve(resolveUser, notification);
    if (user === null) {
      return this.#ignored;
    }
    return this.#record(
      id,
      user.userId,
      user.deviceId,
      this.#enrich('eventProperties', eventProperties, notification, rule, format.ownProperties),
      this.#enrich('userProperties', userProperties, notification, rule, [
        propertyPrefix + decision.flagKey,
      ]),
    );
  }

  /** Call a callback for properties, and return them as JSON without the outer braces; undefined when there are none. */
  #enrich(name, callback, notification, rule, ownNames) {
    if (callback === null) {
      return undefined;
    }
    try {
      const properties = callback(notification, rule);
      if (isPromise(properties)) {
        throw new Error('it returned a promise, but has to return the properties');
      }
      return toMembers(properties, ownNames);
    } catch (error) {
      this.#log.warn(
        name,
        `${name}: ${reasonOf(error)}; the decision is sent without its properties`,
      );
      return undefined;
    }
  }
}

/** Return what resolveUser returns, { userId, deviceId } or null; throws an error that says what is wrong. */
function resolve(resolveUser, notification) {
  let user;
  try {
    user = resolveUser(notification);
  } catch (error) {
    throw new Error(`resolveUser threw: ${reasonOf(error)}`, { cause: error });
  }
  if (isPromise(user)) {
    throw new Error('resolveUser returned a promise: it has to return the user');
  }
  if (user === null) {
    return null;
  }
  if (typeof user !== 'object') {
    throw new Error(
      `resolveUser returned ${user === undefined ? 'undefined' : `a ${typeof user}`}: return { userId }, { deviceId } or null`,
    );
  }
  const { userId, deviceId } = user;
  for (const [name, id] of [
    ['userId', userId],
    ['deviceId', deviceId],
  ]) {
    if (id !== undefined && id !== null && typeof id !== 'string') {
      throw new Error(
        `resolveUser returned a ${name} that is a ${typeof id}: a string is expected`,
      );
    }
  }
  return { userId, deviceId };
}

module.exports = { UserCallbacks };
