/** What a user of the Optimizely SDK v6 writes. */

import {
  createInstance,
  createStaticProjectConfigManager,
  NOTIFICATION_TYPES,
} from '@optimizely/optimizely-sdk';
import type { Client, DecisionNotificationPayload } from '@optimizely/optimizely-sdk';
import { createDispatcher } from 'optimizely-amplitude';
import type { AnyNotification, DecisionNotification, OptimizelyClient } from 'optimizely-amplitude';

const client: Client = createInstance({
  projectConfigManager: createStaticProjectConfigManager({ datafile: '{}' }),
});
const dispatcher = createDispatcher({ apiKey: 'key' });

const detach: () => void = dispatcher.attach(client);
detach();

client.notificationCenter.addNotificationListener(
  NOTIFICATION_TYPES.DECISION,
  dispatcher.onDecision,
);
client.notificationCenter.addNotificationListener('DECISION', (notification) =>
  dispatcher.onDecision(notification),
);

const structural: OptimizelyClient = client;

// The SDK's notifications are what onDecision takes, and ours are not narrower than they are.
declare const payload: DecisionNotificationPayload;
const any: AnyNotification = payload;
if (payload.type === 'flag') {
  const { type, decisionInfo, userId, attributes = {} } = payload;
  const flag: DecisionNotification<'flag'> = { type, decisionInfo, userId, attributes };
  dispatcher.onDecision(flag);
}

export { any, structural };
