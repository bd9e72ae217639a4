/** A function for Vercel's Edge runtime, as a script: `addEventListener` in place of exports. */

import {
  createInstance,
  createStaticProjectConfigManager,
} from '@optimizely/optimizely-sdk/universal';
import { createDispatcher } from 'optimizely-amplitude/edge';

import datafile from '../../examples/datafile.json';

let event;

const optimizely = createInstance({
  projectConfigManager: createStaticProjectConfigManager({ datafile: JSON.stringify(datafile) }),
});
const dispatcher = createDispatcher({
  apiKey: 'test-key',
  serverUrl: globalThis.AMPLITUDE_URL,
  flushIntervalMillis: 20,
  waitUntil: (promise) => event.waitUntil(promise),
});
dispatcher.attach(optimizely);

globalThis.addEventListener('fetch', (fetched) => {
  event = fetched;
  const user = new URL(fetched.request.url).searchParams.get('user');
  const { enabled } = optimizely.createUserContext(user).decide('homepage_banner');
  fetched.respondWith(Response.json({ enabled }));
});
