/** The entry for browsers, with the types of Amplitude's browser SDK and of Optimizely's SDK v6 and v5. */

import * as amplitude from '@amplitude/analytics-browser';
import { createInstance } from '@optimizely/optimizely-sdk';
import { createInstance as createInstance5 } from 'optimizely-sdk-5';
import { attachAmplitude, getDeviceId } from 'optimizely-amplitude/browser';
import type { BrowserFormat, BrowserOptions } from 'optimizely-amplitude/browser';

declare const config: Parameters<typeof createInstance>[0];

const client = createInstance(config);
const detach: () => void = attachAmplitude(client, amplitude);
attachAmplitude(client, amplitude.createInstance(), { format: 'exposure' });
const older = createInstance5({ sdkKey: 'key' });
if (older !== null) {
  attachAmplitude(older, amplitude, { disabledValue: 'variation', dedupe: false });
}

const formats: readonly BrowserFormat[] = ['exposure', 'identify'];
const options: BrowserOptions = {
  format: formats,
  eventType: 'Seen',
  propertyPrefix: undefined,
  dedupe: { windowMillis: 60_000 },
  resolveUser: ({ userId, attributes, decisionInfo }) =>
    attributes['bot'] || decisionInfo.ruleKey === null ? null : { userId, deviceId: undefined },
};
attachAmplitude(client, amplitude, options);
const visitor: string = await getDeviceId(amplitude);

// @ts-expect-error unknown
attachAmplitude(client, amplitude, { event: 'x' });
// @ts-expect-error not a format
attachAmplitude(client, amplitude, { format: 'both' });
// @ts-expect-error no Amplitude
attachAmplitude(client, {});
// @ts-expect-error no client
attachAmplitude({}, amplitude);

export { detach, visitor };
