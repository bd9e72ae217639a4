'use strict';

/** The formats of a decision: which events it becomes, and which of them go together. */

/** The properties that each format's events have of their own. */
const EVENT_PROPERTIES = ['flag_key', 'variation_key', 'rule_key', 'enabled'];
const EXPOSURE_PROPERTIES = ['flag_key', 'variant', 'experiment_key'];

/**
 * What a format sends: a `$identify`, an event of the type `eventType`, a `$exposure`; and whether the event sets the
 * user property by itself.
 */
const FORMATS = {
  event: { sendsIdentify: true, sendsEvent: true },
  merged: { sendsEvent: true, eventSetsProperty: true },
  exposure: { sendsExposure: true },
  identify: { sendsIdentify: true },
};

/** What several formats send together. */
function partsOf(formats) {
  const has = (part) => formats.some((format) => FORMATS[format][part] === true);
  const [sendsEvent, sendsExposure] = [has('sendsEvent'), has('sendsExposure')];
  return {
    sendsIdentify: has('sendsIdentify'),
    sendsEvent,
    eventSetsProperty: has('eventSetsProperty'),
    setsProperty: has('sendsIdentify') || has('eventSetsProperty'),
    sendsExposure,
    ownProperties: [
      ...new Set([
        ...(sendsEvent ? EVENT_PROPERTIES : []),
        ...(sendsExposure ? EXPOSURE_PROPERTIES : []),
      ]),
    ],
  };
}

/** Say why formats do not go together; null if they do. Only `$exposure` adds something to another one. */
function clashOf(formats) {
  const twice = formats.find((format, i) => formats.indexOf(format) < i);
  if (twice !== undefined) {
    return `'${twice}' twice`;
  }
  const [first, second] = formats.filter((format) => format !== 'exposure');
  return second === undefined
    ? null
    : `'${first}' and '${second}', which both set the user property`;
}

module.exports = { FORMATS, clashOf, partsOf };
