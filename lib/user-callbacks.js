'use strict';

/**
 * The long way of a decision: with the application's callbacks, or with the rule looked up. Loaded only
 * where an option asks for it. Each callback that throws costs what it was asked for.
 */

const { toMembers } = require('./properties.js');
const { isPromise, reasonOf } = require('./reason.js');
const { RuleTypes, NO_RULE } = require('./sdk/rules.js');

const OWN_PROPERTIES = ['flag_key', 'variation_key', 'rule_key', 'enabled'];

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

  /** Return what is known of a client's rules; the caller owes it a close(). */
  rulesOf(client) {
    return new RuleTypes(client, this.#log);
  }

  /**
   * Ask for the user and the properties, and give the decision to the addon; returns its status.
   * Throws when resolveUser does not answer as it should.
   */
  record(id, decision, notification, rules) {
    const { resolveUser, eventProperties, userProperties, includeRollouts, propertyPrefix } =
      this.#options;
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
      this.#enrich('eventProperties', eventProperties, notification, rule, OWN_PROPERTIES),
      this.#enrich('userProperties', userProperties, notification, rule, [
        propertyPrefix + decision.flagKey,
      ]),
    );
  }

  /** Ask a callback for properties, and return them as JSON without its braces; undefined without any. */
  #enrich(name, callback, notification, rule, ownNames) {
    if (callback === null) {
      return undefined;
    }
    try {
      const properties = callback(notification, rule);
      if (isPromise(properties)) {
        throw new Error('it returned a promise, and has to answer at once');
      }
      return toMembers(properties, ownNames);
    } catch (error) {
      this.#log.warn(name, `${name}: ${reasonOf(error)}; the decision is sent without`);
      return undefined;
    }
  }
}

/** What resolveUser answers: { userId, deviceId } or null. Throws an error that says what is wrong with it. */
function resolve(resolveUser, notification) {
  let user;
  try {
    user = resolveUser(notification);
  } catch (error) {
    throw new Error(`resolveUser threw: ${reasonOf(error)}`, { cause: error });
  }
  if (isPromise(user)) {
    throw new Error('resolveUser returned a promise: it has to answer at once');
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
        `resolveUser returned a ${name} that is a ${typeof id}: it has to be a string`,
      );
    }
  }
  return { userId, deviceId };
}

module.exports = { UserCallbacks };
