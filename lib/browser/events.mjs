/** The events of a decision: those that the package sends from a server, without what Amplitude's SDK adds. */

import { hash } from './hash.mjs';

/** Return the events of an exposure, in the order in which they have to be sent. */
export function eventsOf({ key, value, time, decision }, { window, turn }, settings) {
  const { flagKey, variationKey, ruleKey, enabled } = decision;
  const { format: formats, eventType, propertyPrefix, disabledValue } = settings;
  const has = (format) => formats.includes(format);
  const idOf = (...parts) => hash([key, value, window, turn, ...parts]);

  const isOff = !enabled && disabledValue === 'off';
  const userProperties = {
    $set: { [propertyPrefix + flagKey]: isOff ? 'off' : (variationKey ?? 'off') },
  };
  const events = [];
  if (has('event') || has('identify')) {
    events.push({
      event_type: '$identify',
      user_properties: userProperties,
      // Something else may have set the property meanwhile, so it is a repeat of itself alone.
      insert_id: idOf('$identify', time),
    });
  }
  if (has('exposure')) {
    events.push({
      event_type: '$exposure',
      event_properties: {
        flag_key: flagKey,
        ...(variationKey != null && { variant: variationKey }),
        ...(ruleKey != null && { experiment_key: ruleKey }),
      },
      insert_id: idOf('$exposure'),
    });
  }
  if (has('event') || has('merged')) {
    events.push({
      event_type: eventType,
      event_properties: {
        flag_key: flagKey,
        variation_key: variationKey,
        rule_key: ruleKey,
        enabled,
      },
      ...(has('merged') && { user_properties: userProperties }),
      insert_id: idOf(eventType),
    });
  }
  return events.map((event) => ({ ...event, time }));
}
