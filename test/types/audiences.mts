/** What a user of the way back writes, with the types of each version of the SDK. */

import { createInstance, createStaticProjectConfigManager } from '@optimizely/optimizely-sdk';
import defaultExport, { createAudiences } from 'optimizely-amplitude/audiences';
import type {
  Audiences,
  AudiencesOptions,
  AudiencesStatus,
  CohortChange,
  CohortState,
} from 'optimizely-amplitude/audiences';
import type { WebhookOptions, WebhookStatus } from 'optimizely-amplitude/audiences';
import type { ALBHandler, APIGatewayProxyHandler, APIGatewayProxyHandlerV2 } from 'aws-lambda';
import { fastify } from 'fastify';
import { Redis } from 'ioredis';
import { createServer } from 'node:http';
import * as sdk4 from 'optimizely-sdk-4';
import * as sdk5 from 'optimizely-sdk-5';

const audiences = createAudiences({
  apiKey: 'key',
  secretKey: 'secret',
  cohorts: { amplitude_power_user: '7khm89cz', amplitude_churned: 'abcdefgh' },
  onChange({ attribute, state, size }) {
    const name: 'amplitude_power_user' | 'amplitude_churned' = attribute;
    const text: CohortState = state;
    console.log(name, text, size?.toFixed());
  },
});
createAudiences({
  source: 'file',
  secretKey: 'text',
  cohorts: { a: '/a.csv' },
  store: new Redis(),
});
createAudiences({
  apiKey: 'key',
  secretKey: 'secret',
  cohorts: { a: 'b' },
  store: { send: async (argv, routingKey) => [argv, routingKey], prefix: 'mine' },
});
// @ts-expect-error a store of exposures has buckets, and this one has not
createAudiences({ cohorts: { a: 'b' }, store: { client: new Redis(), buckets: 4 } });
const same: typeof createAudiences = defaultExport.createAudiences;

const six = createInstance({
  projectConfigManager: createStaticProjectConfigManager({ datafile: '{}' }),
});
const detach: () => void = audiences.attach(six);
const five = sdk5.createInstance({ datafile: '{}' });
const four = sdk4.createInstance({ datafile: '{}' });
// @ts-expect-error createInstance() of this version may return null
audiences.attach(four);
if (four !== null && five !== null) {
  audiences.attach(five)();
  audiences.attach(four)();
}
// @ts-expect-error a client, and not a promise of one
audiences.attach(Promise.resolve(six));

const status: AudiencesStatus = await audiences.ready({ timeoutMillis: 2000 });
const power = audiences.status().cohorts.amplitude_power_user;
const age: number | null = power.ageMillis;
// @ts-expect-error there is no such attribute
audiences.status().cohorts.amplitude_other;

const is: boolean | undefined = audiences.has('user', 'amplitude_churned');
// @ts-expect-error there is no such attribute
audiences.has('user', 'amplitude_other');
// @ts-expect-error it may be unknown
const sure: boolean = audiences.has('user', 'amplitude_churned');

const attributes = audiences.attributes('user', { plan: 'pro', seats: 3 });
const plan: string = attributes.plan;
const seats: number = attributes.seats;
const maybe: boolean | undefined = attributes.amplitude_power_user;
six.createUserContext('user', attributes);
six.createUserContext('user', audiences.attributes('user'));
if (five !== null && four !== null) {
  five.createUserContext('user', attributes);
  four.createUserContext('user', attributes);
}

const handler = audiences.webhook({ secret: 'sixteen-characters' });
createServer(handler);
createServer((request, response) => handler(request, response));
fastify().post('/cohorts', handler);
const restHandler: APIGatewayProxyHandler = handler;
const httpHandler: APIGatewayProxyHandlerV2 = handler;
const albHandler: ALBHandler = handler;
const webhookOptions: WebhookOptions<'amplitude_power_user'> = {
  secret: ['sixteen-characters', 'and-another-secret'],
  header: 'x-cohort-secret',
  cohorts: { amplitude_power_user: '7khm89cz' },
};
audiences.webhook(webhookOptions);
// @ts-expect-error the secret is required
audiences.webhook({});
// @ts-expect-error there is no such attribute
audiences.webhook({ secret: 'sixteen-characters', cohorts: { amplitude_other: 'x' } });
const webhook: WebhookStatus | null = status.webhook;
const isLeader: boolean | undefined = status.store?.isLeader;
const late: number | undefined = webhook?.late;

// Names that are known at run time only.
const cohorts: Record<string, string> = JSON.parse('{}');
const named: Audiences = createAudiences({ source: 'file', cohorts, holdShrink: 0.3 });
const any: boolean | undefined = named.has('user', 'amplitude_other');
const change: ((change: CohortChange) => void) | undefined = undefined;
const options: AudiencesOptions = { cohorts, onChange: change, maxStaleMillis: undefined };

createAudiences({
  cohorts,
  // @ts-expect-error it is no source
  source: 'redis',
});
// @ts-expect-error cohorts are required
createAudiences({ apiKey: 'key', secretKey: 'secret' });

await audiences.close();
await using closed = named;

export { age, any, closed, detach, is, late, maybe, options, plan, same, seats, status, sure };
