/** Options: what they may be, and what is refused by the compiler already. */

import { pino } from 'pino';

import { createDispatcher } from 'optimizely-amplitude';
import type {
  DispatcherOptions,
  Drop,
  DropReason,
  ErrorCode,
  Format,
  RuleType,
} from 'optimizely-amplitude';

const apiKey = 'key';

createDispatcher({
  apiKey,
  serverZone: 'EU',
  useBatch: true,
  serverUrl: 'https://example.com/2/httpapi?x=1',
  minIdLength: 1,
  flushQueueSize: 100,
  flushIntervalMillis: 1000,
  flushMaxRetries: 3,
  maxConcurrent: 4,
  flushTimeoutMillis: 2000,
  requestTimeoutMillis: 2000,
  maxQueueBytes: 2 ** 20,
  compression: false,
  dedupe: {
    windowMillis: 3_600_000,
    refreshMillis: 600_000,
    store: { send: async (argv, routingKey) => argv.concat(routingKey), buckets: 16 },
  },
  eventType: false,
  propertyPrefix: '',
  disabledValue: 'variation',
  decisionTypes: ['flag', 'ab-test'],
  resolveUser: ({ userId, attributes }) =>
    userId === ''
      ? null
      : {
          userId,
          deviceId: attributes['deviceId'] ?? null,
          sessionId: 1,
          appVersion: '2.1',
          platform: 'Web',
          country: 'CH',
          language: null,
          ip: '::1',
          groups: { org: ['a'] },
        },
  eventProperties: (notification, { ruleType }) => {
    const type: 'flag' | 'ab-test' = notification.type;
    const rule: RuleType | null = ruleType;
    if (notification.type === 'ab-test') {
      return { experiment: notification.decisionInfo.experimentKey };
    }
    return { experimentId: notification.decisionInfo.experimentId, type, rule };
  },
  userProperties: () => undefined,
  beforeSend: (event) =>
    event.event_properties?.['secret'] ? null : { ...event, user_id: 'x', ip: null },
  send: 'experiments',
  includeRollouts: false,
  groups: { company: 'acme', team: ['a', 'b'] },
  ingestionMetadata: { sourceName: 'ampli', sourceVersion: '2.0.0' },
  plan: { branch: 'main', source: 'web', version: '1', versionId: 'id' },
  partnerId: 'partner',
  optOut: true,
  logger: console,
  logLevel: 'debug',
  onDrop: ({ reason, message, statusCode, decisions }) => {
    const why: DropReason = reason;
    const [first] = decisions;
    const variation: string | null | undefined = first?.variationKey;
    console.error(why, message, statusCode, variation, first?.userId?.length);
  },
  proxy: 'http://proxy:3128',
  noProxy: 'localhost',
  caFile: '/etc/ca.pem',
});

createDispatcher({ apiKey, format: 'merged', eventType: 'Seen' });
const formats: readonly Format[] = ['exposure', 'identify'];
createDispatcher({ apiKey, format: formats });
// @ts-expect-error there is no such format
createDispatcher({ apiKey, format: 'events' });
// @ts-expect-error there is no such format
createDispatcher({ apiKey, format: ['exposure', 'off'] });

// Only flags come without decisionTypes, so their fields are there without a question.
createDispatcher({
  apiKey,
  eventProperties: ({ decisionInfo }) => ({ rule: decisionInfo.ruleKey }),
});

// What may be there or not is given as it is, for example from the environment.
createDispatcher({
  apiKey,
  serverUrl: process.env['AMPLITUDE_URL'],
  dedupe: false,
  logger: undefined,
});

// As Amplitude's own SDK declares them.
enum AmplitudeLogLevel {
  None = 0,
  Error = 1,
  Warn = 2,
  Verbose = 3,
  Debug = 4,
}
declare const amplitudeLogger: {
  disable(): void;
  enable(logLevel: AmplitudeLogLevel): void;
  log(...args: any[]): void;
  warn(...args: any[]): void;
  error(...args: any[]): void;
  debug(...args: any[]): void;
};
createDispatcher({
  apiKey,
  loggerProvider: amplitudeLogger,
  logLevel: AmplitudeLogLevel.Warn,
});
createDispatcher({ apiKey, logger: pino(), logLevel: 'none' });

const options: DispatcherOptions = { apiKey };
options.onDrop = (drop: Drop) => console.log(drop.decisions.length);
createDispatcher(options);
const many: DispatcherOptions<'flag' | 'feature'> = { apiKey, decisionTypes: ['feature'] };
createDispatcher(many);

// @ts-expect-error there are options
createDispatcher();
// @ts-expect-error apiKey is missing
createDispatcher({});
// @ts-expect-error a variable that may not be set
createDispatcher({ apiKey: process.env['AMPLITUDE_API_KEY'] });
// @ts-expect-error unknown
createDispatcher({ apiKey, flushIntervalMs: 5 });
// @ts-expect-error no such zone
createDispatcher({ apiKey, serverZone: 'DE' });
// @ts-expect-error not a number
createDispatcher({ apiKey, flushQueueSize: '5' });
// @ts-expect-error true says nothing
createDispatcher({ apiKey, dedupe: true });
// @ts-expect-error unknown
createDispatcher({ apiKey, dedupe: { windowMs: 5 } });
// @ts-expect-error
createDispatcher({ apiKey, dedupe: { store: 'redis://localhost' } });
// @ts-expect-error
createDispatcher({ apiKey, dedupe: { store: { client: {} } } });
// @ts-expect-error
createDispatcher({ apiKey, dedupe: { store: { send: (argv: string[]) => argv } } });

// @ts-expect-error no such type
createDispatcher({ apiKey, decisionTypes: ['flags'] });
// @ts-expect-error neither all nor experiments
createDispatcher({ apiKey, send: 'rollouts' });
// @ts-expect-error a logger has four functions
createDispatcher({ apiKey, logger: { error: console.error } });
// @ts-expect-error no such level
createDispatcher({ apiKey, logLevel: 'verbose' });
// @ts-expect-error no such number
createDispatcher({ apiKey, logLevel: 5 });
// @ts-expect-error no promise
createDispatcher({ apiKey, eventProperties: async () => ({}) });
// @ts-expect-error neither id
createDispatcher({ apiKey, resolveUser: () => ({ id: 'x' }) });
// @ts-expect-error: a session is a number
createDispatcher({ apiKey, resolveUser: () => ({ userId: 'x', sessionId: '1' }) });
// @ts-expect-error names are strings
createDispatcher({ apiKey, groups: { company: 5 } });
createDispatcher({
  apiKey,
  // @ts-expect-error flags have no experiment
  eventProperties: ({ decisionInfo }) => ({ key: decisionInfo.experimentKey }),
});

export const isOurs = (code: ErrorCode) => code === 'ERR_OA_OPTION';
// @ts-expect-error no such code
isOurs('ERR_OA_OPTIONS');
