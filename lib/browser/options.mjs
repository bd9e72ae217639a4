/** The options of attachAmplitude(): those of createDispatcher() that have a meaning in a browser. */

const FORMATS = ['event', 'merged', 'exposure', 'identify'];

/** Each format but `exposure` sets the property, so there is one of them at most. */
function isFormat(value) {
  const formats = [value].flat();
  const exposures = formats.filter((format) => format === 'exposure').length;
  return (
    formats.every((format) => FORMATS.includes(format)) &&
    formats.length > 0 &&
    exposures < 2 &&
    formats.length - exposures < 2
  );
}

const isDedupe = (value) =>
  value === false ||
  (typeof value === 'object' &&
    Object.keys(value).every((name) => name === 'windowMillis') &&
    (value.windowMillis ?? 1) >= 1);

/** For each option: what takes its place when it is left out, whether a value is right, and what is. */
const TABLE = {
  format: ['event', isFormat, `one of ${FORMATS}, or exposure and another`],
  eventType: ['Experiment Viewed', (value) => value && value.trim, 'a string'],
  propertyPrefix: ['[Optimizely] ', (value) => value.trim, 'a string'],
  disabledValue: ['off', (value) => /^(off|variation)$/.test(value), 'off or variation'],
  send: ['all', (value) => /^(all|experiments)$/.test(value), 'all or experiments'],
  dedupe: [{}, isDedupe, 'false, or { windowMillis }'],
  resolveUser: [({ userId }) => ({ userId }), (value) => typeof value === 'function', 'a function'],
};

export const typeError = (message, code = 'ERR_OA_OPTION') =>
  Object.assign(new TypeError(message), { code });

/**
 * Check the options, and fill in what is left out. `format` is an array, `windowMillis` is false without
 * de-duplication, and `kind` stands for what is sent of a decision: exposures of another kind are other ones.
 */
export function readOptions(options = {}) {
  const settings = {};
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(TABLE, name)) {
      throw typeError(`unknown option '${name}': the options are ${Object.keys(TABLE).join(', ')}`);
    }
  }
  for (const [name, [byDefault, isRight, expected]] of Object.entries(TABLE)) {
    const value = options[name] ?? byDefault;
    if (!isRight(value)) {
      throw typeError(`option '${name}': expected ${expected}`);
    }
    settings[name] = value;
  }
  const { eventType, propertyPrefix, disabledValue, dedupe } = settings;
  const format = (settings.format = [settings.format].flat());
  settings.windowMillis = dedupe && (dedupe.windowMillis ?? 86_400_000); // a day
  settings.kind = [format, eventType, propertyPrefix, disabledValue];
  return settings;
}
