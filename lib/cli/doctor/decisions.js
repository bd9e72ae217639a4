'use strict';

/**
 * Checks of Optimizely's side: the datafile, and the events of a user's decisions. A dispatcher sends these events
 * to a collector in this process.
 */

const { subscribe, unsubscribe } = require('node:diagnostics_channel');

const { HTTP_V2 } = require('../../endpoints.js');
const { createCollector } = require('../collector/index.js');
const { asSent } = require('../collector/record.js');
const { fetchDatafile, sourceOf } = require('../datafile.js');
const { createQuietDispatcher } = require('./quiet.js');

const MAX_NAMES = 20;
/** The channel on which dispatchers publish the outcome of a decision, and the outcomes of those that arrive. */
const DECISIONS = 'optimizely-amplitude:decision';
const ARRIVING = ['queued', 'repeat'];
const SDK = '@optimizely/optimizely-sdk';
/** The options of an application that shape its events; others would write to its files, or reach its servers. */
const SHAPING = [
  ...['eventType', 'propertyPrefix', 'disabledValue', 'decisionTypes', 'groups', 'optOut'],
  ...['resolveUser', 'eventProperties', 'userProperties', 'send', 'includeRollouts', 'beforeSend'],
];
const EXAMPLE = {
  flagKey: 'example_flag',
  variationKey: 'on',
  ruleKey: 'example_rule',
  enabled: true,
};

const excerpt = (text) => JSON.stringify(text.slice(0, 40));

/** Check the datafile; return its text, or null. */
async function checkDatafile(settings, resolveProxy, report) {
  const source = sourceOf(settings);
  if (source === undefined) {
    report.skip('datafile', 'give --sdk-key or --datafile to check it');
    return null;
  }
  let text;
  let content;
  try {
    text = await fetchDatafile(source, settings.accessToken, resolveProxy);
    content = JSON.parse(text);
  } catch (error) {
    if (error.code === 'UNCHECKED') {
      report.passOver('datafile', error.message, error.remedy);
    } else if (error.remedy !== undefined) {
      report.fail('datafile', error.message, error.remedy);
    } else {
      report.fail(
        'datafile',
        `${source} is not JSON; it begins with ${excerpt(text)}`,
        'a login page or a wrong file? It should be the one at cdn.optimizely.com',
      );
    }
    return null;
  }
  const flags = content?.featureFlags;
  if (!Array.isArray(flags)) {
    report.fail(
      'datafile',
      `${source} is JSON, but not a datafile: it has no featureFlags`,
      'use the datafile of Feature Experimentation for this SDK key',
    );
    return null;
  }
  const names = flags
    .slice(0, MAX_NAMES)
    .map(({ key }) => key)
    .join(', ');
  report.pass(
    'datafile',
    `revision ${content.revision}, environment ${content.environmentKey ?? 'unknown'}, ${flags.length} flags` +
      `${flags.length > 0 ? `: ${names}${flags.length > MAX_NAMES ? ', ...' : ''}` : ''}`,
  );
  return text;
}

/** The variations of each flag's experiments that have the flag off: [{ flag, experiment, variation }]. */
function disabledVariations({ featureFlags, experiments, groups }) {
  const all = [experiments, ...(groups ?? []).map((group) => group.experiments)].flatMap(
    (list) => list ?? [],
  );
  return featureFlags.flatMap(({ key, experimentIds = [] }) =>
    all
      .filter(({ id }) => experimentIds.includes(id))
      .flatMap(({ key: experiment, variations = [] }) =>
        variations
          // A variation named off is recorded correctly.
          .filter((variation) => variation.featureEnabled === false && variation.key !== 'off')
          .map((variation) => ({ flag: key, experiment, variation: variation.key })),
      ),
  );
}

/** Check whether the values of the user properties tell an experiment's variations from a flag that is off. */
function checkVariations(datafile, options, report) {
  if (datafile === null) {
    return;
  }
  if (options !== null && !options.format.setsProperty) {
    report.pass('variations', 'a $exposure has the variation, whether its flag is on or off');
    return;
  }
  if (options?.disabledValue === 'variation') {
    report.pass('variations', 'the user property has the variation, whether its flag is on or off');
    return;
  }
  const disabled = disabledVariations(JSON.parse(datafile));
  if (disabled.length === 0) {
    report.pass('variations', 'the flag is on in every variation of an experiment');
    return;
  }
  const told = disabled
    .slice(0, MAX_NAMES)
    .map(({ flag, experiment, variation }) => `${flag} in ${variation} (${experiment})`);
  const [{ variation }] = disabled;
  report.warn(
    'variations',
    `an experiment's variation has its flag off: ${told.join(', ')}${disabled.length > MAX_NAMES ? ', ...' : ''}`,
    `decide() says ${JSON.stringify(variation)}, and the user property will be "off"; to record the variation, ` +
      "set the option disabledValue: 'variation'",
  );
}

/** Load the SDK of the application, or otherwise one that this package finds; null if there is none. */
function loadSdk() {
  try {
    return require(require.resolve(SDK, { paths: [process.cwd(), __dirname] }));
  } catch {
    return null;
  }
}

function createClient(sdk, datafile) {
  if (typeof sdk.createStaticProjectConfigManager === 'function') {
    return sdk.createInstance({
      projectConfigManager: sdk.createStaticProjectConfigManager({ datafile }),
    });
  }
  sdk.setLogger?.(null);
  const eventDispatcher = { dispatchEvent: (event, callback) => callback({ statusCode: 200 }) };
  return sdk.createInstance({ datafile, odpOptions: { disabled: true }, eventDispatcher });
}

/**
 * Call `decide(dispatcher)`; resolve to { events, refusal }: the events that it would send to Amplitude, and the
 * outcome of the first decision that would not arrive, or undefined.
 */
async function rehearse({ options, format, config }, decide) {
  const collector = createCollector();
  const { url } = await collector.listen();
  const dispatcher = createQuietDispatcher({
    ...Object.fromEntries(
      SHAPING.filter((name) => config?.[name] !== undefined).map((name) => [name, config[name]]),
    ),
    apiKey: 'rehearsal',
    serverUrl: url + HTTP_V2.path,
    proxy: '',
    minIdLength: options.minIdLength,
    format: format ?? config?.format,
  });
  let refusal;
  const note = ({ outcome }) => {
    refusal ??= ARRIVING.includes(outcome) ? undefined : outcome;
  };
  subscribe(DECISIONS, note);
  try {
    await decide(dispatcher);
    await dispatcher.flush();
    return { events: collector.store.events().map(asSent), refusal };
  } finally {
    unsubscribe(DECISIONS, note);
    await dispatcher.close();
    await collector.close();
  }
}

/** Check what a user's decisions are, and which events they become. */
async function checkUser({ user, attributes, format, config }, datafile, options, report) {
  const sdk = datafile === null ? null : loadSdk();
  let decisions = [EXAMPLE];
  const { events, refusal } = await rehearse({ options, format, config }, async (dispatcher) => {
    if (sdk === null) {
      dispatcher.onDecision({ type: 'flag', userId: user, attributes, decisionInfo: EXAMPLE });
      return;
    }
    const client = createClient(sdk, datafile);
    dispatcher.attach(client);
    decisions = Object.values(client.createUserContext(user, attributes)?.decideAll() ?? {});
    await client.close?.();
  });
  if (refusal !== undefined) {
    const { describeOutcome } = require('../../outcomes.js'); // not before it is known that the addon loads
    const { message, advice } = describeOutcome(refusal);
    report.fail(
      'user',
      `the decisions of ${JSON.stringify(user)} would not arrive: ${message}`,
      advice,
    );
    return;
  }
  if (datafile !== null && sdk === null) {
    report.passOver(
      'user',
      `the id is fine; its decisions are unknown, because ${SDK} is not installed here`,
      `run this in the folder of your application, or npm install ${SDK}`,
    );
    return;
  }
  if (events.length === 0) {
    report.warn(
      'user',
      `there are no decisions for ${JSON.stringify(user)}`,
      'the datafile has no flag, or the SDK refuses this id or these attributes',
    );
    return;
  }
  const told = decisions.map(
    ({ flagKey, variationKey, ruleKey, enabled }) =>
      `${flagKey} = ${variationKey ?? 'no variation'} (${enabled ? 'on' : 'off'}${ruleKey ? `, rule ${ruleKey}` : ''})`,
  );
  report.pass(
    'user',
    datafile === null ? 'the id is fine; these are the events of an example:' : told.join('; '),
    undefined,
    { events },
  );
}

module.exports = { checkDatafile, checkUser, checkVariations };
