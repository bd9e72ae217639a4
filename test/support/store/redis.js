'use strict';

/** Real servers of Redis on free ports of the loopback interface, alone or as a cluster. They keep nothing on disk. */

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

class Redis {
  #args;
  #child = null;
  port;
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-redis-'));

  constructor(port, args) {
    this.port = port;
    this.#args = args;
  }

  /** Resolves when it accepts connections. */
  async start() {
    const fixed = ['--port', this.port, '--bind', '127.0.0.1', '--dir', this.dir];
    const quiet = ['--save', '', '--appendonly', 'no', '--daemonize', 'no'];
    const child = spawn('redis-server', [...fixed, ...quiet, ...this.#args].map(String));
    this.#child = child;
    let text = '';
    for await (const chunk of child.stdout) {
      text += chunk;
      if (text.includes('Ready to accept connections')) {
        child.stdout.resume();
        return this;
      }
    }
    throw new Error(`redis-server: ${text}`);
  }

  /** Stop answering, as a machine that is frozen; go on with 'SIGCONT'. */
  signal(name) {
    this.#child.kill(name);
  }

  /** End it at once, without a word to its clients. */
  async kill() {
    if (this.#child !== null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await ended;
      this.#child = null;
    }
  }

  async end() {
    await this.kill();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Start a server for one test. */
async function startRedis(t, ...args) {
  const redis = new Redis(await freePort(), args);
  t.after(() => redis.end());
  return redis.start();
}

/** Start a cluster of three for one test, and wait until it serves every slot. */
async function startCluster(t) {
  const { Redis: Client } = require('ioredis');
  const nodes = [];
  for (let i = 0; i < 3; i++) {
    nodes.push(await startRedis(t, '--cluster-enabled', 'yes', '--cluster-node-timeout', '5000'));
  }
  const clients = nodes.map(({ port }) => new Client(port));
  const bounds = [0, 5461, 10922, 16384];
  for (const [i, client] of clients.entries()) {
    await client.call('CLUSTER', 'ADDSLOTSRANGE', bounds[i], bounds[i + 1] - 1);
    await client.call('CLUSTER', 'MEET', '127.0.0.1', nodes[0].port);
  }
  for (const client of clients) {
    while (!(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok')) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    client.disconnect();
  }
  return nodes;
}

module.exports = { startCluster, startRedis };
