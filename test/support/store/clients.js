'use strict';

/** The clients of Redis and Valkey, by the name of their package: how an application makes one, and ends it. */

const { once } = require('node:events');

const CLIENTS = {
  redis: async ({ port }) => {
    const client = require('redis').createClient({ url: `redis://127.0.0.1:${port}` });
    client.on('error', () => {}); // its server ends first
    await client.connect();
    return { client, end: () => client.destroy() };
  },
  ioredis: ({ port }) => {
    const client = new (require('ioredis').Redis)(port);
    client.on('error', () => {});
    return { client, end: () => client.disconnect() };
  },
  iovalkey: ({ port }) => {
    const client = new (require('iovalkey').Valkey)(port);
    client.on('error', () => {});
    return { client, end: () => client.disconnect() };
  },
  '@valkey/valkey-glide': async ({ port }) => {
    const { GlideClient } = require('@valkey/valkey-glide');
    const client = await GlideClient.createClient({ addresses: [{ host: '127.0.0.1', port }] });
    return { client, end: () => client.close() };
  },
};

const CLUSTER_CLIENTS = {
  redis: async (nodes) => {
    const { createCluster } = require('redis');
    const client = createCluster({
      rootNodes: nodes.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })),
    });
    await client.connect();
    return { client, end: () => client.destroy() };
  },
  ioredis: async (nodes) => {
    const { Cluster } = require('ioredis');
    const client = new Cluster(nodes.map(({ port }) => ({ host: '127.0.0.1', port })));
    await once(client, 'ready');
    return { client, end: () => client.disconnect() };
  },
  '@valkey/valkey-glide': async (nodes) => {
    const { GlideClusterClient } = require('@valkey/valkey-glide');
    const client = await GlideClusterClient.createClient({
      addresses: nodes.map(({ port }) => ({ host: '127.0.0.1', port })),
    });
    return { client, end: () => client.close() };
  },
};

module.exports = { CLIENTS, CLUSTER_CLIENTS };
