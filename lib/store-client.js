'use strict';

/**
 * The clients of Redis and Valkey that an application may have, as one function `send(argv, routingKey)`. They are
 * known by their methods, and none of them is required here. `argv` is EVALSHA or EVAL with strings.
 */

/** By the method of a client: how it sends a command. The order matters: ioredis has a sendCommand() of another kind. */
const SENDERS = {
  /** @valkey/valkey-glide */
  customCommand: (client) => (argv) => client.customCommand(argv),
  /** ioredis, iovalkey */
  call: (client) => (argv) => client.call(...argv),
  /** redis: that of a cluster takes the key by which it chooses the node */
  sendCommand: (client) =>
    Array.isArray(client.masters)
      ? (argv, routingKey) => client.sendCommand(routingKey, false, argv)
      : (argv) => client.sendCommand(argv),
  /** @upstash/redis */
  evalsha: (client) => (argv) => {
    const [command, script, count, ...rest] = argv;
    const keys = rest.slice(0, Number(count));
    return client[command.toLowerCase()](script, keys, rest.slice(keys.length));
  },
};

/** Return the function that sends by a client, or null for anything that is none. */
function senderOf(client) {
  if (typeof client !== 'object' || client === null) {
    return null;
  }
  const method = Object.keys(SENDERS).find((name) => typeof client[name] === 'function');
  return method === undefined ? null : SENDERS[method](client);
}

module.exports = { CLIENT_METHODS: Object.keys(SENDERS), senderOf };
