'use strict';

/** What Agent streams of a decision is the notification of Optimizely's Go SDK. Pure. */

const orNull = (key) => (key === '' || key === undefined ? null : key);

/**
 * Return the notification as the JavaScript SDK gives it to listeners; null for a message that is no decision, such as a
 * conversion. Agents filter by type in two contrary ways, depending on their version, so a decision is known by its shape.
 */
function readNotification(message) {
  const { Type: type, UserContext: user, DecisionInfo: info } = Object(message);
  if (typeof type !== 'string' || typeof user?.ID !== 'string' || Object(info) !== info) {
    return null;
  }
  const decisionInfo =
    type === 'flag'
      ? { ...info, variationKey: orNull(info.variationKey), ruleKey: orNull(info.ruleKey) }
      : readLegacy(info);
  return { type, userId: user.ID, attributes: user.Attributes ?? {}, decisionInfo };
}

/** Go has the information of a feature one level deeper. */
function readLegacy(info) {
  return Object(info.feature) === info.feature
    ? info.feature
    : { ...info, variationKey: orNull(info.variationKey) };
}

module.exports = { readNotification };
