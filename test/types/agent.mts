/** Listening to Agents, with dispatchers of any type of decision. */

import { createDispatcher } from 'optimizely-amplitude';
import defaultExport, { listenToAgent } from 'optimizely-amplitude/agent';
import type { AgentListener, AgentOptions, AgentStatus } from 'optimizely-amplitude/agent';

const same: typeof listenToAgent = defaultExport.listenToAgent;
const dispatcher = createDispatcher({ apiKey: 'key' });
const legacy = createDispatcher<'flag' | 'feature'>({
  apiKey: 'key',
  decisionTypes: ['flag', 'feature'],
});

const listener: AgentListener = listenToAgent({ url: 'http://agent', sdkKey: 'key', dispatcher });
listenToAgent({
  url: ['http://one', 'http://two'],
  sdkKey: 'key',
  dispatcher: legacy,
  accessToken: async () => 'token',
  logger: console,
  logLevel: 'info',
});
const options: AgentOptions = { url: [], sdkKey: '', dispatcher, accessToken: undefined };
const status: AgentStatus[] = listener.status();
const away: number | undefined = status[0]?.awayMillis;
const message: string | undefined = status[0]?.lastError?.message;
listener.close();

// @ts-expect-error no dispatcher
listenToAgent({ url: 'http://agent', sdkKey: 'key' });
// @ts-expect-error unknown
listenToAgent({ ...options, urls: [] });
// @ts-expect-error not a token
listenToAgent({ ...options, accessToken: 7 });

export { away, message, same };
