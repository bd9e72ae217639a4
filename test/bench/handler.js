'use strict';

/**
 * A request handler: an HTTP server that decides with the real SDK, under a bounded load from this process. Each server
 * process is measured in turns: without a listener, with an empty one (which costs time in the SDK, too), and with the
 * measured one, so that all three have the same conditions. The listener's later work is part of its turn.
 */

const { fork } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const { createClient } = require('../support/optimizely/sdk.js');
const { cpuMicros, median, quantile, serveChild, sleep } = require('./measure.js');
const { NAMES, connect } = require('./subjects.js');

const REQUESTS_PER_MILLI = 1;
const CONNECTIONS = 32;
const BEAT_MILLIS = 4;
const WARM_UP = 1500;

// ---- the server ------------------------------------------------------------------------------------

async function child({ subject, serverUrl }) {
  const client = createClient();
  const { onDecision, flush, close, dispatcher } = await connect(subject, {
    serverUrl,
    flushIntervalMillis: 1000,
  });
  const server = http.createServer((request, response) => {
    const user = client.createUserContext(request.url.slice(1), { country: 'US', plan: 'premium' });
    const { variationKey, enabled } = user.decide('checkout_flow');
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ variationKey, enabled }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { notificationCenter } = client;
  const listen = (listener) => {
    const id = notificationCenter.addNotificationListener('DECISION', listener);
    return () => notificationCenter.removeNotificationListener(id);
  };
  const attach = {
    none: () => () => {},
    empty: () => listen(() => {}),
    full: () => dispatcher?.attach(client) ?? listen(onDecision),
  };
  let detach = () => {};
  let before = 0;
  process.on('message', async ({ begin, measure, end, exit }) => {
    if (begin) {
      detach = attach[begin]();
      process.send({});
    } else if (measure) {
      await flush();
      before = cpuMicros();
      process.send({});
    } else if (end) {
      detach();
      await flush();
      process.send({ cpu: cpuMicros() - before });
    } else if (exit) {
      await close();
      process.exit();
    }
  });
  return { port: server.address().port };
}

/** The client side of the server process: ask(message) resolves to its answer. */
async function startServer(options) {
  const server = fork(__filename, ['--child'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ask = async (message) => {
    server.send(message);
    const [answer] = await once(server, 'message');
    return answer;
  };
  const { port } = await ask(options);
  return { port, ask, stop: () => server.send({ exit: true }) };
}

// ---- the load --------------------------------------------------------------------------------------

/** Send so many requests, evenly in time; resolves to the milliseconds of each, from the moment when it was due. */
async function load(port, count, firstUser) {
  const latencies = [];
  const idle = [];
  const due = []; // of requests that wait for a connection
  const sockets = [];
  let sent = 0;
  let finished;
  const done = new Promise((resolve) => {
    finished = resolve;
  });
  const send = (socket, dueAt) => {
    socket.dueAt = dueAt;
    socket.write(`GET /user_${firstUser + sent++} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  };
  for (let i = 0; i < CONNECTIONS; i++) {
    const socket = net.connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket
      .setNoDelay(true)
      .setEncoding('latin1')
      .on('data', (text) => {
        if (!text.endsWith('}')) {
          throw new Error(`the answer came in pieces: ${text}`);
        }
        latencies.push(performance.now() - socket.dueAt);
        if (latencies.length === count) {
          finished();
        } else if (due.length > 0) {
          send(socket, due.shift());
        } else {
          idle.push(socket);
        }
      });
    sockets.push(socket);
    idle.push(socket);
  }
  const started = performance.now();
  for (let planned = 0; planned < count;) {
    await sleep(BEAT_MILLIS);
    const target = Math.min(count, Math.floor((performance.now() - started) * REQUESTS_PER_MILLI));
    for (; planned < target; planned++) {
      const dueAt = performance.now();
      if (idle.length > 0) {
        send(idle.pop(), dueAt);
      } else {
        due.push(dueAt);
      }
    }
  }
  await done;
  for (const socket of sockets) {
    socket.destroy();
  }
  return latencies;
}

async function turn({ port, ask }, begin, count, firstUser) {
  await ask({ begin });
  // With another listener V8 recompiles the SDK's code, which happens once in a server's life.
  await load(port, WARM_UP, firstUser + count);
  await ask({ measure: true });
  const latencies = await load(port, count, firstUser);
  const { cpu } = await ask({ end: true });
  return { cpu: cpu / count, p99: quantile(latencies, 0.99) };
}

const KINDS = ['none', 'empty', 'full'];

/** Rounds of a turn of each kind, in changing order. */
async function measure(subject, { serverUrl, rounds, count }) {
  const server = await startServer({ subject, serverUrl });
  const results = [];
  let user = 0;
  for (let round = -1; round < rounds; round++) {
    // the first warms up
    const result = {};
    for (let i = 0; i < KINDS.length; i++) {
      const kind = KINDS[(i + round + KINDS.length) % KINDS.length];
      result[kind] = await turn(server, kind, count, user);
      user += count + WARM_UP;
    }
    if (round >= 0) {
      results.push(result);
    }
  }
  server.stop();
  const of = (pick) => median(results.map(pick));
  const added = (from, to) => of((result) => 100 * (result[to].cpu / result[from].cpu - 1));
  return {
    cpu: KINDS.map((kind) => of((result) => result[kind].cpu)),
    p99: KINDS.map((kind) => of((result) => result[kind].p99)),
    added: [added('none', 'empty'), added('none', 'full'), added('empty', 'full')],
  };
}

async function run({ serverUrl, quick }) {
  const count = quick ? 2000 : 4000;
  const ours = await measure('ours', { serverUrl, rounds: quick ? 3 : 8, count });
  const amplitude = await measure('amplitude', { serverUrl, rounds: quick ? 1 : 3, count });
  const rows = ({ cpu, p99, added }, name) => [
    ['no listener', cpu[0], '', '', p99[0]],
    [NAMES.none, cpu[1], added[0], '', p99[1]],
    [name, cpu[2], added[1], added[2], p99[2]],
  ];
  return {
    tables: [
      {
        title: `A request handler with the real SDK, a new user for each request, ${1000 * REQUESTS_PER_MILLI} requests a second`,
        columns: [
          '',
          'CPU of a request (µs)',
          'added to no listener (%)',
          'added to an empty one (%)',
          'p99 (ms)',
        ],
        rows: [...rows(ours, NAMES.ours), ...rows(amplitude, NAMES.amplitude)],
      },
    ],
    bars: [
      {
        what: 'added CPU of a request, the listener itself included',
        unit: '%',
        value: ours.added[1],
        most: 3,
      },
      {
        what: 'added CPU of a request, to an empty listener',
        unit: '%',
        value: ours.added[2],
        most: 3,
      },
    ],
  };
}

module.exports = { run };

serveChild(module, child);
