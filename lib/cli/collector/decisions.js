'use strict';

/** The decisions behind records, as the page lists them. Pure. */

const { isSameDecision } = require('./exposures.js');

/** Whether a record may belong to a decision, for pairDecisions(). */
const tellsOfDecision = (record) => record.isUpdate || record.exposure !== null;

/**
 * The decisions behind records, oldest first: `{time, user, flag, variation, rule, enabled, event, exposure,
 * identify}`, the last three are records or null. A property update comes before its exposures; the `$exposure` and the
 * event of a decision are neighbours. An update without an exposure, as the format `identify` sends it, is a decision
 * of which only the value is known.
 */
function pairDecisions(records, prefixes) {
  const updates = new Map(); // person -> the last update and its flags that no exposure has named yet
  const decisions = [];
  for (const record of records) {
    const { person, changes, exposure } = record;
    if (person === null) {
      continue; // forgotten
    }
    if (exposure !== null) {
      addTold(updates.get(person), record, decisions);
    } else if (changes !== null) {
      addUntold(updates.get(person), decisions);
      updates.set(person, updateOf(record, prefixes));
    }
  }
  updates.forEach((update) => addUntold(update, decisions));
  return decisions;
}

/** An update with its values by flag. */
function updateOf(record, prefixes) {
  const values = new Map();
  for (let at = 0; at < record.changes.length; at += 2) {
    const flag = prefixes.flagOf(record.changes[at]);
    if (flag !== null && record.changes[at + 1] !== undefined) {
      values.set(flag, record.changes[at + 1]);
    }
  }
  return { record, values, untold: new Set(values.keys()) };
}

/** Whether a record is what a decision lacks: the `$exposure` of its event, or the event of its `$exposure`. */
function isOtherPart({ event: own, exposure }, record) {
  const [part, none] = own === null ? [exposure, own] : [own, exposure];
  return (
    part !== null &&
    none === null &&
    part.isExperiments !== record.isExperiments &&
    part.time === record.time &&
    isSameDecision(part.exposure, record.exposure)
  );
}

function addTold(update, record, decisions) {
  const { exposure: told, isExperiments, person, time } = record;
  const last = decisions.at(-1);
  if (last?.user === person.id && isOtherPart(last, record)) {
    Object.assign(last, isExperiments ? { exposure: record } : { ...told, event: record });
    return;
  }
  const isUpdated = update?.values.has(told.flag);
  update?.untold.delete(told.flag);
  decisions.push({
    time,
    user: person.id,
    ...told,
    event: isExperiments ? null : record,
    exposure: isExperiments ? record : null,
    identify: isUpdated ? update.record : null,
  });
}

function addUntold(update, decisions) {
  for (const flag of update?.untold ?? []) {
    decisions.push({
      time: update.record.time,
      user: update.record.person?.id,
      flag,
      variation: update.values.get(flag),
      rule: null,
      enabled: null,
      event: null,
      exposure: null,
      identify: update.record,
    });
  }
}

module.exports = { pairDecisions, tellsOfDecision };
