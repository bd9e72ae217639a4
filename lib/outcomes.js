'use strict';

/** What can become of a decision that the listener gets, by its status, and how to describe it. */

const STATUSES = require('./statuses.js');

/** The core's statuses by name, and their names by number. */
const NAMES = Object.freeze(Object.keys(STATUSES));
const STATUS = Object.freeze(Object.fromEntries(NAMES.map((name, code) => [name, code])));

/** Statuses of decisions that are not passed to the addon; its own are never negative. */
const INVALID = -1;
/** Of those that an option keeps out, by its name. */
const IGNORED = Object.freeze({ decisionTypes: -2, resolveUser: -3, beforeSend: -4, send: -5 });

/** A status with more above it: why an id was left out, in the second byte, and whether it was the device's. */
const STATUS_BITS = 0xff;
const LEFT_OUT_SHIFT = 8;
const LEFT_OUT_DEVICE = 1 << 16;

/** Which id a result above STATUS_BITS says was left out, as the outcome that it alone would have had. */
function leftOutOf(result) {
  return {
    name: (result & LEFT_OUT_DEVICE) === 0 ? 'userId' : 'deviceId',
    outcome: NAMES[(result >> LEFT_OUT_SHIFT) & STATUS_BITS],
  };
}

const MESSAGES = {
  queued: 'queued',
  repeat: 'suppressed: it was sent in this window already',
  ignored: 'ignored: an option keeps it out',
  invalid: 'not sent: it is not complete',
};

/** What to do about an id that Amplitude would refuse. */
const ADVICE = {
  id_missing: 'pass a user id to createUserContext(), or map it with the option resolveUser',
  id_too_short: 'use longer ids, or lower the option minIdLength; Amplitude removes shorter ones',
  id_too_long: 'Amplitude cuts ids at 1024 characters, which would merge users',
  id_forbidden:
    'Amplitude refuses ids such as "anonymous" or "null": give each visitor an id, or return null from resolveUser',
  id_malformed: 'it is not valid Unicode',
};

/** The outcome, by the name that the channel `optimizely-amplitude:decision` publishes. */
function outcomeOf(status) {
  switch (status) {
    case IGNORED.decisionTypes:
    case IGNORED.resolveUser:
    case IGNORED.beforeSend:
    case IGNORED.send:
      return 'ignored';
    case INVALID:
      return 'invalid';
    case STATUS.ok:
      return 'queued';
    default:
      return NAMES[status];
  }
}

/** An outcome in words, and what to do about it; `advice` is undefined where there is nothing to do. */
function describeOutcome(outcome) {
  return {
    message: MESSAGES[outcome] ?? STATUSES[outcome],
    advice: ADVICE[outcome],
  };
}

/** A status in words. */
function describeStatus(status) {
  switch (status) {
    case IGNORED.decisionTypes:
      return 'ignored: decisionTypes does not name its type';
    case IGNORED.resolveUser:
      return 'ignored: resolveUser returned null';
    case IGNORED.beforeSend:
      return 'ignored: beforeSend returned null';
    case IGNORED.send:
      return "ignored: send is 'experiments', and no experiment decided";
    default:
      return describeOutcome(outcomeOf(status)).message;
  }
}

module.exports = {
  IGNORED,
  INVALID,
  STATUS,
  STATUS_BITS,
  describeOutcome,
  describeStatus,
  leftOutOf,
  outcomeOf,
};
