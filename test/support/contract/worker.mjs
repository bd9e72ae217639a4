/** The actor as a Worker of Cloudflare. */

import { createDispatcher } from 'optimizely-amplitude/edge';

import { createActor } from './actor.mjs';

const answer = createActor(createDispatcher);

export default {
  fetch: async (request) => new Response(await answer(await request.text())),
};
