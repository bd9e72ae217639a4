/**
 * Next.js on Vercel: app/checkout/[userId]/route.js. GET /checkout/user_9?country=US&plan=premium
 *
 * In next.config.js: serverExternalPackages: ['optimizely-amplitude'], which has a native addon.
 */

import { after } from 'next/server'; // since Next.js 15.1
import { createDispatcher } from 'optimizely-amplitude';
import { withFlush } from 'optimizely-amplitude/lambda';
import { optimizely } from './optimizely.mjs';

export const runtime = 'nodejs';

const dispatcher = createDispatcher({
  apiKey: process.env.AMPLITUDE_API_KEY,
  serverUrl: process.env.AMPLITUDE_SERVER_URL, // only to try it locally; Amplitude is the default
});
dispatcher.attach(optimizely);
const ready = optimizely
  .onReady({ timeout: 3000 })
  .catch(({ message }) => console.warn(`Optimizely: ${message}`));

/** A flush with the patience of withFlush(): 1.5 s at most, and 500 ms while Amplitude fails. */
const deliver = withFlush(async () => {}, dispatcher);

export async function GET(request, { params }) {
  after(deliver); // when the answer is sent, and before the instance is suspended
  const { userId } = await params;
  await ready;
  const { searchParams } = new URL(request.url);
  const user = optimizely.createUserContext(userId, Object.fromEntries(searchParams));
  const { variationKey } = user.decide('checkout_flow');
  return Response.json({ variation: variationKey });
}
