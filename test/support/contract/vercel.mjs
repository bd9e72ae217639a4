/** The actor as a function for Vercel's Edge runtime. */

import { createDispatcher } from 'optimizely-amplitude/edge';

import { createActor } from './actor.mjs';

let event;
const answer = createActor((options) =>
  createDispatcher({ ...options, waitUntil: (promise) => event.waitUntil(promise) }),
);

globalThis.addEventListener('fetch', (fetched) => {
  event = fetched;
  const answered = fetched.request.text().then((text) => {
    event = fetched; // of the request that decides
    return answer(text);
  });
  fetched.respondWith(answered.then((text) => new Response(text)));
});
