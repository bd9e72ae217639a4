'use strict';

/** Processes with a spool, one life after the other, and a server that counts what arrives of each. */

const assert = require('node:assert/strict');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: wait } = require('node:timers/promises');
const zlib = require('node:zlib');

const { createDispatcher } = require('../../../lib/index.js');
const { quietLogger } = require('../dispatcher/loggers.js');
const { startChild } = require('./child.js');

const SPOOLER = require.resolve('./spooler.js');
const API_KEY = 'spool-key-0123456789';
const MIB = 1024 * 1024;

/** What a server has counted: each insert_id once. */
class Tally {
  fault = () => null; // or 'down': nothing is read; 'lost': it is counted, and nobody knows
  counts = new Map(); // of each life
  repeats = 0;
  inOrder = true; // the lives of a user follow each other
  keepsIds = true; // otherwise a repeat is what is not in order
  #ids = new Set();
  #last = new Map();

  take(events) {
    for (const { event_type: type, user_id: user, insert_id: id, event_properties: of } of events) {
      if (type === '$identify') {
        continue;
      }
      if (this.#ids.has(id)) {
        this.repeats++;
        continue;
      }
      const { life, number } = of;
      const last = this.#last.get(user) ?? { life: -1, number: -1 };
      if (this.keepsIds) {
        this.#ids.add(id);
      }
      assert.ok(
        !this.inOrder || life > last.life || (life === last.life && number > last.number),
        `${user}: ${life}/${number} after ${last.life}/${last.number}`,
      );
      this.#last.set(user, { life, number });
      this.counts.set(life, (this.counts.get(life) ?? 0) + 1);
    }
  }

  count(life) {
    return this.counts.get(life) ?? 0;
  }
}

async function startServer(t) {
  const tally = new Tally();
  const server = http.createServer(async (request, response) => {
    const fault = tally.fault();
    const chunks = [];
    try {
      for await (const chunk of request) {
        chunks.push(chunk);
      }
    } catch {
      return; // its process was killed
    }
    if (fault === 'down') {
      response.writeHead(503).end();
      return;
    }
    const body = Buffer.concat(chunks);
    const json = request.headers['content-encoding'] === 'gzip' ? zlib.gunzipSync(body) : body;
    try {
      tally.take(JSON.parse(json).events);
    } catch (error) {
      tally.error ??= error;
    }
    if (fault === 'lost') {
      request.socket.destroy();
    } else {
      response.end('{"code":200}');
    }
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  tally.url = `http://127.0.0.1:${server.address().port}/2/httpapi`;
  return tally;
}

function makeDirectory(t, isMounted = false) {
  const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-spool-'));
  t.after(() => {
    if (isMounted) {
      spawnSync('umount', ['-l', path.join(parent, 'spool')]); // if it was
    }
    fs.rmSync(parent, { recursive: true, force: true });
  });
  return path.join(parent, 'spool');
}

/** Start a process whose parts are described in spooler.js. */
async function startLife(t, part, options) {
  const child = startChild(t, [SPOOLER, JSON.stringify(part)], options);
  await child.printed('ready');
  return child;
}

/** Whether a dispatcher has a file, and so its lock, and there are no more locks than those of so many others. */
function seesNoOthers(dispatcher, directory, others = 0) {
  const locks = fs.readdirSync(directory).filter((name) => name.endsWith('.lock'));
  return dispatcher.stats().spool.segments > 0 && locks.length <= 1 + others;
}

/**
 * Take over what is left in a directory that so many others are using, and deliver all of it; returns the counts.
 */
async function deliverAll(options, others = 0) {
  const dispatcher = createDispatcher({
    apiKey: API_KEY,
    logger: quietLogger,
    dedupe: false,
    ...options,
  });
  const isAlone = () => seesNoOthers(dispatcher, options.spool.directory, others);
  for (let i = 0; i < 4000 && !(isAlone() && dispatcher.stats().decisions.pending === 0); i++) {
    await dispatcher.flush();
    await wait(5);
  }
  const stats = dispatcher.stats();
  await dispatcher.close();
  return stats;
}

/** How many listeners of a process had returned when it was killed, and how many decisions no file had room for. */
function readProgress(file) {
  const bytes = fs.readFileSync(file);
  const read = (at) => (bytes.length < 16 ? 0 : Number(bytes.readBigUInt64LE(at)));
  return { returned: read(0), unwritten: read(8) };
}

/** Why no small file system can be mounted here, or false. */
function notMountable() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' });
    execFileSync('umount', [folder]);
    return false;
  } catch {
    return 'nothing can be mounted here';
  } finally {
    fs.rmdirSync(folder);
  }
}

const quick = (url, directory, more) => ({
  serverUrl: url,
  spool: { directory },
  flushQueueSize: 100,
  flushIntervalMillis: 20,
  ...more,
});

module.exports = {
  API_KEY,
  MIB,
  SPOOLER,
  deliverAll,
  makeDirectory,
  notMountable,
  quick,
  readProgress,
  seesNoOthers,
  startLife,
  startServer,
};
