'use strict';

/**
 * The application's callbacks for a decision: resolveUser, eventProperties and userProperties, the rule that they are
 * given, and the filter by its kind. Loaded only when an option needs it.
 *
 * A resolveUser that throws costs the decision; one of the others costs its properties, and a field that is wrong
 * costs itself. For beforeSend see there.
 */

const { toFieldMembers } = require('./event-fields.js');
const { toMembers } = require('./properties.js');
const { isPromise, reasonOf } = require('./reason.js');
const { NO_RULE, ROLLOUT, Rules, UNKNOWN_RULE, notifiedRule } = require('./sdk/rules.js');

class UserCallbacks {
  #options;
  #log;
  #record;
  #ignored;
  #needsRules;
  #toldUnknown = false;
  /** What decisions were sent without, because it could not be sent. */
  leftOut = { fields: 0, properties: 0, events: 0 };
  #beforeSend; // null: the addon renders the events

  /** `record` is the addon's function; `beforeSend` may be null; `ignored` has the status of a decision that an option keeps out, by its name. */
  constructor(options, log, record, beforeSend, ignored) {
    this.#options = options;
    this.#log = log;
    this.#record = record;
    this.#ignored = ignored;
    const { eventProperties, userProperties, send } = options;
    this.#needsRules =
      send === 'experiments' || eventProperties !== null || userProperties !== null;
    this.#beforeSend = beforeSend;
  }

  /** Return the rules of a client, or null if no option needs them. */
  rulesOf(client) {
    return this.#needsRules ? new Rules(client) : null;
  }

  /**
   * Get the user and the properties, and pass the decision to the addon; returns its result. Throws when resolveUser
   * returns something invalid.
   */
  record(id, decision, notification, rules) {
    const { resolveUser, eventProperties, userProperties, send, propertyPrefix, format } =
      this.#options;
    const rule = this.#needsRules ? this.#ruleOf(decision, notification, rules) : NO_RULE;
    if (send === 'experiments' && (rule === ROLLOUT || rule === NO_RULE)) {
      return this.#ignored.send;
    }
    const user = resolveUser === null ? notification : resolve(resolveUser, notification);
    if (user === null) {
      return this.#ignored.resolveUser;
    }
    const added = {
      fields: resolveUser === null ? undefined : toFieldMembers(user, this.#noteField),
      eventProperties: this.#enrich(
        'eventProperties',
        eventProperties,
        notification,
        rule,
        format.ownProperties,
      ),
      userProperties: this.#enrich('userProperties', userProperties, notification, rule, [
        propertyPrefix + decision.flagKey,
      ]),
    };
    return this.#beforeSend === null
      ? this.#record(
          id,
          user.userId,
          user.deviceId,
          added.eventProperties,
          added.userProperties,
          added.fields,
        )
      : this.#recordRendered(id, this.#beforeSend.takeDecision(decision, user, added));
  }

  /** Pass a decision's events to the addon, as beforeSend left them. */
  #recordRendered(id, rendered) {
    if (rendered === null) {
      return this.#ignored.beforeSend;
    }
    const { userId, deviceId, event, identify, exposure, left } = rendered;
    this.leftOut.events += left;
    return this.#record(id, userId, deviceId, event, identify, exposure, true);
  }

  #noteField = (name, error) => {
    this.leftOut.fields++;
    this.#log.warn(
      `resolveUser ${name}`,
      `resolveUser: ${reasonOf(error)}; the decision is sent without its ${name}`,
    );
  };

  /** Return the rule that decided; `rules` is null for a listener that the application has registered. */
  #ruleOf(decision, notification, rules) {
    const rule = notifiedRule(notification);
    if (rule !== UNKNOWN_RULE) {
      return rule;
    }
    if (rules === null) {
      this.#tellUnknown(
        'a listener that is registered by hand does not know the client; use dispatcher.attach(client)',
      );
      return UNKNOWN_RULE;
    }
    try {
      return rules.find(decision);
    } catch (error) {
      const { flagKey, ruleKey } = decision;
      this.#tellUnknown(`rule '${ruleKey}' of flag '${flagKey}': ${reasonOf(error)}`);
      return UNKNOWN_RULE;
    }
  }

  /** Log once that a rule is unknown, if an option makes a difference by it. */
  #tellUnknown(reason) {
    const { eventProperties, userProperties, send } = this.#options;
    const isRuleTaken = (callback) => callback !== null && callback.length > 1;
    if (
      this.#toldUnknown ||
      !(send === 'experiments' || isRuleTaken(eventProperties) || isRuleTaken(userProperties))
    ) {
      return;
    }
    this.#toldUnknown = true;
    this.#log.warn(
      'rules',
      `the kind of rule that decided is unknown, so such decisions are sent, with a ruleType of null: ${reason}`,
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
      this.leftOut.properties++;
      this.#log.warn(
        name,
        `${name}: ${reasonOf(error)}; the decision is sent without its properties`,
      );
      return undefined;
    }
  }
}

/** Return what resolveUser returns, a user with valid types of ids or null; throws an error that says what is wrong. */
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
  return user;
}

module.exports = { UserCallbacks };
