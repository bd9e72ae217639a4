'use strict';

/** Growth: decisions are queued while the server is down, and delivered once it is back. */

const { decideMany } = require('./decisions.js');
const {
  cpuMicros,
  freePort,
  inChild,
  loopMicros,
  medians,
  repeat,
  serveChild,
  sleep,
  startSink,
} = require('./measure.js');
const { connect } = require('./subjects.js');

async function measured(count, work) {
  const before = { cpu: cpuMicros(), loop: loopMicros(), now: performance.now() };
  await work();
  return {
    cpu: (cpuMicros() - before.cpu) / count,
    loop: (loopMicros() - before.loop) / count,
    wall: (1000 * (performance.now() - before.now)) / count,
  };
}

async function child({ count, port }) {
  const { onDecision, flush, close, dispatcher } = await connect('ours', {
    serverUrl: `http://127.0.0.1:${port}/2/httpapi`,
    flushMaxRetries: 65_535,
  });
  let sink = await startSink({ port });
  await decideMany(onDecision, 100_000);
  await flush();
  await sink.stop();
  const queue = await measured(count, () => decideMany(onDecision, count, 100_000));
  while (dispatcher.stats().requests.failed < 3) {
    await sleep(20);
  }
  const { pending } = dispatcher.stats().decisions;
  if (pending !== count) {
    throw new Error(`${pending} decisions are queued, not ${count}`);
  }
  sink = await startSink({ port });
  const deliver = await measured(count, flush);
  await close();
  await sink.stop();
  return {
    queueCpu: queue.cpu,
    deliverCpu: deliver.cpu,
    deliverLoop: deliver.loop,
    deliverWall: deliver.wall,
  };
}

async function run({ quick }) {
  const results = [];
  for (const count of quick
    ? [10_000, 100_000, 1_000_000]
    : [10_000, 100_000, 1_000_000, 5_000_000]) {
    const times = count > 1_000_000 || quick ? 1 : 3;
    results.push([
      count,
      medians(
        await repeat(times, async () => inChild(__filename, { count, port: await freePort() })),
      ),
    ]);
  }
  const of = (wanted) => results.find(([count]) => count === wanted)[1];
  return {
    tables: [
      {
        title:
          'Growth: decisions queued against a dead server, then delivered to a live one: microseconds for one',
        columns: [
          'queued',
          'CPU to make and queue it',
          'CPU to deliver it',
          'of it on the event loop',
          'elapsed',
        ],
        rows: results.map(([count, { queueCpu, deliverCpu, deliverLoop, deliverWall }]) => [
          count.toLocaleString('en-US'),
          queueCpu,
          deliverCpu,
          deliverLoop,
          deliverWall,
        ]),
      },
    ],
    bars: [
      {
        what: 'delivery of a decision out of a queue of 1 M, times that of 10 k',
        value: of(1_000_000).deliverCpu / of(10_000).deliverCpu,
        most: 1.3,
      },
    ],
  };
}

module.exports = { run };

serveChild(module, child);
