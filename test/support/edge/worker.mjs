/** A Worker that decides, with the real SDK of Optimizely. What it is asked for is in the query of the URL. */

import {
  createInstance,
  createStaticProjectConfigManager,
} from '@optimizely/optimizely-sdk/universal';
import * as workers from 'cloudflare:workers';
import { createDispatcher } from 'optimizely-amplitude/edge';

import datafile from '../../examples/datafile.json';

let isLost = false; // the current request does not stay

// All at module scope, where there is neither a clock nor a network.
const createClient = () =>
  createInstance({
    projectConfigManager: createStaticProjectConfigManager({ datafile: JSON.stringify(datafile) }),
  });
const optimizely = createClient();
const control = createClient(); // nothing listens to it
const dispatcher = createDispatcher({
  apiKey: 'test-key',
  serverUrl: globalThis.AMPLITUDE_URL,
  requestTimeoutMillis: globalThis.REQUEST_TIMEOUT,
  flushIntervalMillis: globalThis.FLUSH_INTERVAL,
  resolveUser: ({ userId }) => ({ userId, deviceId: `device-of-${userId}` }),
  send: 'all',
  waitUntil: (promise) => {
    if (!isLost) {
      workers.waitUntil(promise);
    }
  },
});
dispatcher.attach(optimizely);
if (globalThis.USER_AT_IMPORT) {
  optimizely.createUserContext(globalThis.USER_AT_IMPORT).decide('homepage_banner');
}

export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === '/stats') {
      return Response.json(dispatcher.stats());
    }
    if (pathname === '/flush') {
      return Response.json(await dispatcher.flush({ timeoutMillis: globalThis.FLUSH_TIMEOUT }));
    }
    isLost = searchParams.has('lost');
    const client = pathname === '/control' ? control : optimizely;
    const context = client.createUserContext(searchParams.get('user'));
    const { enabled } = context.decide('homepage_banner');
    isLost = false;
    if (searchParams.has('stay')) {
      await new Promise((resolve) => setTimeout(resolve, Number(searchParams.get('stay'))));
    }
    if (searchParams.has('throw')) {
      throw new Error('the handler throws');
    }
    return Response.json({ enabled });
  },
};
