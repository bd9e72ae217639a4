'use strict';

/** Memory of queued decisions while the server does not answer, and of what remains after delivery. */

const { createNotification } = require('./decisions.js');
const { freePort, inChild, nextTurn, serveChild, startSink } = require('./measure.js');
const { NAMES, connect } = require('./subjects.js');

const WARM_UP = 2000;
const MANY = 1_000_000;
const NEVER_MILLIS = 3_600_000;
const MEBI = 2 ** 20;

async function residentBytes() {
  for (let i = 0; i < 3; i++) {
    global.gc();
    await nextTurn();
  }
  return process.memoryUsage.rss();
}

/** The warm-up's decisions are delivered; then `count` are queued while the server does not answer. */
async function child({ subject, count, dedupe, port }) {
  const options = {
    serverUrl: `http://127.0.0.1:${port}/2/httpapi`,
    dedupe,
    ...(subject === 'ours' && { requestTimeoutMillis: NEVER_MILLIS }),
  };
  const { onDecision, flush, dispatcher } = await connect(subject, options);
  let sink = await startSink({ port });
  const decide = async (from, to) => {
    for (let i = from; i < to; i++) {
      onDecision(createNotification(`user_${String(i).padStart(7, '0')}`));
      if (i % 1000 === 0) {
        await nextTurn();
      }
    }
  };
  await decide(0, WARM_UP);
  await flush();
  await sink.stop();
  sink = await startSink({ port, delayMillis: NEVER_MILLIS });
  const before = await residentBytes();
  await decide(WARM_UP, WARM_UP + count);
  const queued = await residentBytes();
  const queueBytes = dispatcher?.stats().queue.bytes ?? NaN;
  let after = NaN;
  if (subject === 'ours') {
    await sink.stop();
    sink = await startSink({ port });
    await flush();
    after = await residentBytes();
  }
  return {
    before,
    queued,
    after,
    perDecision: (queued - before) / count,
    counted: queueBytes / count,
  };
}

const ID_BYTES = 'user_0000000'.length;

async function run() {
  const rows = [];
  const measure = async (title, subject, count, dedupe) => {
    const result = await inChild(__filename, { subject, count, dedupe, port: await freePort() }, [
      '--expose-gc',
    ]);
    rows.push([
      title,
      count.toLocaleString('en-US'),
      result.counted,
      result.perDecision,
      result.before / MEBI,
      result.queued / MEBI,
      result.after / MEBI,
    ]);
    return result;
  };
  const bare = await measure(`${NAMES.ours}, dedupe: false`, 'ours', MANY, false);
  await measure(`${NAMES.ours}, with de-duplication`, 'ours', MANY, undefined);
  await measure(NAMES.plain, 'plain', MANY);
  await measure(NAMES.amplitude, 'amplitude', 20_000);
  return {
    tables: [
      {
        title: `Memory, user ids of ${ID_BYTES} bytes`,
        columns: [
          '',
          'queued',
          'bytes of one, as counted by stats()',
          'bytes of one, by RSS',
          'RSS before (MiB)',
          'RSS queued',
          'RSS after delivery',
        ],
        rows,
      },
    ],
    bars: [
      {
        what: 'memory of a queued decision, without its user id',
        unit: 'bytes',
        value: Math.max(bare.counted, bare.perDecision) - ID_BYTES,
        most: 75,
      },
    ],
  };
}

module.exports = { run };

serveChild(module, child);
