/**
 * Dispatchers in whatever runtime there is, for tests that call them from outside: what each call does. It needs nothing
 * of Node.js.
 */

const silent = { debug() {}, info() {}, warn() {}, error() {} };
/** A window that hardly ends between two runs which are compared. */
const YEAR_MILLIS = 365 * 24 * 60 * 60 * 1000;

const toCamel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
const camelKeys = (object) =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [toCamel(name), value]));

/** What the SDK for JavaScript would notify, of a case in test/python/cases.json. */
function notificationOf(type, userId, attributes, info) {
  const decisionInfo = camelKeys(info);
  if (decisionInfo.sourceInfo) {
    decisionInfo.sourceInfo = camelKeys(decisionInfo.sourceInfo);
  }
  return { type, userId, attributes, decisionInfo };
}

/** Callbacks return what the attributes of a decision say; those of test_parity.py do the same. */
const CALLBACKS = {
  resolveUser: ({ userId, attributes }) =>
    attributes.none ? null : { userId, ...camelKeys(attributes.fields ?? {}) },
  eventProperties: ({ attributes }) => attributes.event,
  userProperties: ({ attributes }) => attributes.user,
  beforeSend: (event) =>
    event.event_type === '$identify' ? event : { ...event, platform: 'redacted' },
};

/** The options of a dispatcher for a case. */
export const optionsOf = ({ options, callbacks = [] }) => ({
  logger: silent,
  ...options,
  dedupe: { windowMillis: YEAR_MILLIS },
  ...Object.fromEntries(callbacks.map((name) => [name, CALLBACKS[name]])),
});

/** Take the steps of a case. */
export function takeSteps(dispatcher, steps) {
  for (const [step, ...rest] of steps) {
    if (step === 'decide') {
      dispatcher.onDecision(notificationOf(...rest));
    } else {
      dispatcher[step](...rest.map((value) => value ?? undefined));
    }
  }
}

/** Make a function that answers calls, { method, dispatcher, argument } in JSON; `dispatcher` is what 'create' returned. */
export function createActor(createDispatcher) {
  const dispatchers = [];
  const methods = {
    create(none, { devices, ...options }) {
      const resolveUser = devices ? ({ userId }) => ({ deviceId: userId }) : undefined;
      return dispatchers.push(createDispatcher({ logger: silent, resolveUser, ...options })) - 1;
    },
    /** Play a case from its beginning to its end. */
    async play(none, { steps, ...rest }) {
      const dispatcher = createDispatcher(optionsOf(rest));
      takeSteps(dispatcher, steps);
      await dispatcher.close();
      return dispatcher.stats();
    },
    decide: (dispatcher, notifications) => notifications.forEach(dispatcher.onDecision),
    flush: (dispatcher, options) => dispatcher.flush(options),
    stats: (dispatcher) => dispatcher.stats(),
    close: (dispatcher) => dispatcher.close({ timeoutMillis: 0 }),
  };
  return async (text) => {
    const { method, dispatcher, argument } = JSON.parse(text);
    const result = await methods[method](dispatchers[dispatcher], argument);
    return JSON.stringify(result ?? null);
  };
}
