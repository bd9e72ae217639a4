/** A Vercel Function: api/checkout/[userId].js. GET /checkout/user_9?country=US&plan=premium */

import { waitUntil } from '@vercel/functions';
import { createDispatcher } from 'optimizely-amplitude';
import { withFlush } from 'optimizely-amplitude/lambda';
import { optimizely } from './optimizely.mjs';

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

export async function GET(request) {
  await ready;
  const { pathname, searchParams } = new URL(request.url);
  const userId = pathname.split('/').at(-1);
  const user = optimizely.createUserContext(userId, Object.fromEntries(searchParams));
  const { variationKey } = user.decide('checkout_flow');
  waitUntil(deliver()); // after the last decision: a flush covers what was decided before it
  return Response.json({ variation: variationKey });
}
