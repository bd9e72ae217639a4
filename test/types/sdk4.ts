/** What a user of the Optimizely SDK v4 writes. */

import * as optimizely from 'optimizely-sdk-4';
import { createDispatcher } from 'optimizely-amplitude';

const client = optimizely.createInstance({ datafile: '{}' });
const dispatcher = createDispatcher({ apiKey: 'key' });

// @ts-expect-error createInstance() of this version may return null
dispatcher.attach(client);

if (client !== null) {
  dispatcher.attach(client)();
  client.notificationCenter.addNotificationListener(
    optimizely.enums.NOTIFICATION_TYPES.DECISION,
    dispatcher.onDecision,
  );
}
