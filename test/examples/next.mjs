/**
 * Next.js: app/checkout/[userId]/route.js. GET /checkout/user_9?country=US&plan=premium
 *
 * In next.config.js: serverExternalPackages: ['optimizely-amplitude'], which has a native addon.
 * Next.js handles SIGTERM itself, and exits at once, unless NEXT_MANUAL_SIG_HANDLE=true is set for `next start`.
 */

import { closeOnSignal, createDispatcher } from 'optimizely-amplitude';
import { optimizely as client } from './optimizely.mjs';

export const runtime = 'nodejs';

// A hot reload evaluates this module again; the client and its dispatcher stay.
const { optimizely, ready } = (globalThis.experiments ??= start(client));

function start(optimizely) {
  const dispatcher = createDispatcher({
    apiKey: process.env.AMPLITUDE_API_KEY,
    serverUrl: process.env.AMPLITUDE_SERVER_URL, // only to try it locally; Amplitude is the default
  });
  dispatcher.attach(optimizely);
  closeOnSignal(dispatcher);
  const ready = optimizely
    .onReady({ timeout: 3000 })
    .catch(({ message }) => console.warn(`Optimizely: ${message}`));
  return { optimizely, ready };
}

export async function GET(request, { params }) {
  const { userId } = await params;
  await ready;
  const { searchParams } = new URL(request.url);
  const user = optimizely.createUserContext(userId, Object.fromEntries(searchParams));
  const { variationKey } = user.decide('checkout_flow');
  return Response.json({ variation: variationKey });
}
