/** The clients of Redis and Valkey, with their own types. */

import { GlideClient, GlideClusterClient } from '@valkey/valkey-glide';
import { Cluster, Redis } from 'ioredis';
import { Valkey } from 'iovalkey';
import { createClient, createCluster } from 'redis';

import { createDispatcher, type ExposureStore } from '../../lib/index.js';

declare const glide: GlideClient;
declare const glideCluster: GlideClusterClient;

const stores: ExposureStore[] = [
  { client: createClient() },
  { client: createCluster({ rootNodes: [] }), buckets: 16 },
  { client: new Redis() },
  { client: new Cluster([]), buckets: 16, prefix: 'shop', timeoutMillis: 100 },
  { client: new Valkey() },
  { client: glide },
  { client: glideCluster },
];

createDispatcher({ apiKey: 'key', dedupe: { store: new Redis() } });
createDispatcher({ apiKey: 'key', dedupe: { store: (argv, key) => new Redis().call(key, argv) } });

for (const store of stores) {
  const { store: counts } = createDispatcher({ apiKey: 'key', dedupe: { store } }).stats();
  const repeats: number | undefined = counts?.repeats;
  const state: 'ok' | 'failing' | undefined = counts?.state;
  const at: number | undefined = counts?.lastError?.time;
  const message: string | undefined = counts?.lastError?.message;
  void [repeats, state, at, message];
}
