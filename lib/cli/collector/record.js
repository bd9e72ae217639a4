'use strict';

/**
 * A stored event: its JSON, and the few things that analyses need, so that nothing has to be parsed for them, and its
 * weight is known. Values of any shape are kept as text.
 */

const { decisionOf, isExperiments, isExposure, isUpdate } = require('./exposures.js');
const { ARRAY, OBJECT, SLOT, stringBytes, valueBytes } = require('./weight.js');

/** A time that is later than this after the arrival is in another unit, or of a clock that is wrong. */
const MAX_AHEAD_MILLIS = 366 * 24 * 60 * 60 * 1000;
/** More properties of one event, or longer texts, are not offered for analyses. */
const MAX_FACTS = 40;
const MAX_FACT_CHARS = 100;
/** The object itself, with its slots and its times, and its places in the lists of its store and its user. */
const RECORD_BYTES = 240;

/** What is an exposure's anyway. */
const TOLD = new Set(['flag_key', 'variation_key', 'rule_key', 'enabled', 'variant']);
const AMOUNTS = ['revenue', 'price', 'quantity'];

/** What stands for values that nothing is broken down by, and that may be large. */
const A_LIST = '(a list)';
const AN_OBJECT = '(an object)';

/** A value of a property as text; undefined stays, and means that there is none. */
function textOf(value) {
  if (typeof value === 'object' && value !== null) {
    return Array.isArray(value) ? A_LIST : AN_OBJECT;
  }
  return value === undefined ? undefined : String(value);
}

const isFact = (value) =>
  typeof value === 'number' ||
  typeof value === 'boolean' ||
  (typeof value === 'string' && value.length <= MAX_FACT_CHARS);

/** The properties of an event that are numbers or short texts: [name, value, name, value, ...], or null. */
function factsOf(event, exposed) {
  const facts = [];
  const add = (name, value) => {
    if (isFact(value) && facts.length < 2 * MAX_FACTS) {
      facts.push(name, value);
    }
  };
  const { event_properties: properties } = event;
  for (const name in properties) {
    if (!exposed || !TOLD.has(name)) {
      add(name, properties[name]);
    }
  }
  AMOUNTS.forEach((name) => typeof event[name] === 'number' && add(name, event[name]));
  return facts.length === 0 ? null : facts.slice(); // a copy has no room for more
}

const listBytes = (list) =>
  list === null
    ? 0
    : list.reduce(
        (sum, item) => sum + SLOT + (typeof item === 'string' ? stringBytes(item) : 2 * SLOT),
        ARRAY,
      );

/** Decisions are few, and their parts are shared by the records. */
const MAX_SHARED = 10_000;
const shared = new Map();

/** The same text, which other records have, too. Amplitude's texts are parsed anew with each event. */
function share(text) {
  if (typeof text !== 'string') {
    return text;
  }
  const known = shared.get(text);
  if (known !== undefined) {
    return known;
  }
  if (shared.size >= MAX_SHARED) {
    shared.clear();
  }
  shared.set(text, text);
  return text;
}

function exposureOf(event) {
  const { flag, variation, rule, enabled } = decisionOf(event);
  return { flag: share(flag), variation: share(variation), rule: share(rule), enabled };
}

const exposureBytes = ({ flag, variation, rule }) =>
  [flag, variation, rule].reduce((sum, part) => sum + valueBytes(part), OBJECT);

class Record {
  /** Whose it is; null once it is forgotten. */
  person = null;

  /** `changes` are the properties that it sets, as texts: [name, value or undefined, ...], or null. */
  constructor(event, sequence, changes) {
    const { time, server_received_time: arrived } = event;
    this.sequence = sequence;
    this.arrived = arrived;
    this.time = time > arrived + MAX_AHEAD_MILLIS ? arrived : time;
    this.type = share(event.event_type);
    this.changes = changes;
    this.isUpdate = isUpdate(event);
    const exposed = isExposure(event);
    this.exposure = exposed ? exposureOf(event) : null;
    this.isExperiments = exposed && isExperiments(event);
    this.facts = factsOf(event, exposed);
    this.text = JSON.stringify(event);
    this.bytes =
      RECORD_BYTES +
      stringBytes(this.text) +
      listBytes(changes) +
      listBytes(this.facts) +
      (exposed ? exposureBytes(this.exposure) : 0);
  }

  /** Forget it. */
  clear() {
    this.person = null;
    this.text = '';
    this.changes = null;
    this.facts = null;
    this.exposure = null;
  }

  /** The event, as it was stored. */
  get event() {
    return JSON.parse(this.text);
  }

  /** The value of one of its properties, or undefined. */
  fact(name) {
    for (let at = 0; this.facts !== null && at < this.facts.length; at += 2) {
      if (this.facts[at] === name) {
        return this.facts[at + 1];
      }
    }
    return undefined;
  }
}

/** An event as it came in, without the fields that the store added. */
function asSent(event) {
  const sent = { ...event };
  delete sent.server_received_time;
  if (sent.sent_as !== undefined) {
    sent.event_type = sent.sent_as;
    delete sent.sent_as;
  }
  return sent;
}

module.exports = { Record, asSent, textOf };
