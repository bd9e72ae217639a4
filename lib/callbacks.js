'use strict';

/**
 * The long way of a decision: with the application's callbacks, or with the rule looked up. Loaded only
 * where an option asks for it. Each callback that throws costs what it was asked for.
 */

const { toMembers } = require('./properties.js');
const { isPromise, reasonOf } = require('./reason.js');
const { RuleTypes, NO_RULE } = require('./rules.js');

const OWN_PROPERTIES = ['flag_key', 'variation_key', 'rule_key', 'enabled'];

class Callbacks {
  #options;
  #log;

  constructor(options, log) {
    this.#options = options;
    this.#log = log;
  }

  /** Return what is known of a client's rules; the caller owes it a close(). */
  rulesOf(client) {
    return new RuleTypes(client, this.#log);
  }

  /**
   * Ask for user and properties, and return `record(id, userId, deviceId, eventProperties, userProperties)`,
   * or `ignored` when the decision is to be kept out. Throws when the user cannot be told.
   */
  record(record, ignored, id, decision, notification, rules) {
    const { resolveUser, eventProperties, userProperties, includeRollouts, propertyPrefix } = this.#options;
    const rule = rules === null ? NO_RULE : rules.find(decision.flagKey, decision.ruleKey);
    if (!includeRollouts && rule.ruleType === 'rollout') {
      return ignored;
    }
    const user = resolveUser === null ? notification : resolveUser(notification);
    if (isPromise(user)) {
      throw new Error('resolveUser returned a promise: it has to answer at once');
    }
    if (user === null) {
      return ignored;
    }
    return record(
      id,
      user.userId,
      user.deviceId,
      this.#enrich('eventProperties', eventProperties, notification, rule, OWN_PROPERTIES),
      this.#enrich('userProperties', userProperties, notification, rule, [propertyPrefix + decision.flagKey]),
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

module.exports = { Callbacks };
