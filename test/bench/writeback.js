'use strict';

/**
 * The longest calls of the listener while another process writes as much as it can to the disk of the spool: a store
 * to a page that the kernel is writing may wait. Compared with the same decisions and writes, and no spool.
 */

const { execFileSync, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { createNotification } = require('./decisions.js');
const { inChild, medians, quantile, repeat, serveChild, sleep } = require('./measure.js');
const { connect } = require('./subjects.js');

const DECISIONS_IN_SLICE = 200;
const SLICE_MILLIS = 10;
const WRITTEN_MIB = 1024;

async function child({ serverUrl, directory, seconds }) {
  const { onDecision, close } = await connect('ours', {
    serverUrl,
    ...(directory !== null && { spool: { directory } }),
  });
  const micros = [];
  const until = performance.now() + 1000 * seconds;
  for (let i = 0; performance.now() < until;) {
    for (const end = i + DECISIONS_IN_SLICE; i < end; i++) {
      const notification = createNotification(`user_${i}`);
      const started = performance.now();
      onDecision(notification);
      micros.push(1000 * (performance.now() - started));
    }
    await sleep(SLICE_MILLIS);
  }
  await close();
  return {
    longest: quantile(micros, 1) / 1000,
    p9999: quantile(micros, 0.9999),
    p50: quantile(micros, 0.5),
  };
}

/** Write one file again and again, until stop(). */
function writeMuch(folder) {
  const file = path.join(folder, 'load');
  const loop = `while :; do dd if=/dev/zero of='${file}' bs=1M count=${WRITTEN_MIB} conv=fdatasync; done`;
  const writer = spawn('sh', ['-c', loop], { stdio: 'ignore', detached: true });
  return {
    async stop() {
      process.kill(-writer.pid, 'SIGKILL');
      await once(writer, 'exit');
      fs.rmSync(file, { force: true });
    },
  };
}

/** Mount an overlay in a folder; its path, or null where that is not possible. */
function mountOverlay(parent) {
  const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) =>
    path.join(parent, name),
  );
  [lower, upper, work, merged].forEach((folder) => fs.mkdirSync(folder));
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  try {
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, merged], { stdio: 'ignore' });
    return merged;
  } catch {
    return null;
  }
}

async function run({ serverUrl, quick }) {
  const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-bench-'));
  const memory = fs.existsSync('/dev/shm') ? fs.mkdtempSync('/dev/shm/oa-bench-') : null;
  const overlay = mountOverlay(parent);
  const rows = [
    { title: 'without a spool', folder: parent, directory: null },
    { title: os.tmpdir(), folder: parent, directory: path.join(parent, 'spool') },
    { title: 'an overlay of it', folder: overlay, directory: overlay && `${overlay}/spool` },
    { title: '/dev/shm', folder: memory, directory: memory && `${memory}/spool` },
  ].filter(({ folder }) => folder !== null);
  try {
    for (const row of rows) {
      row.runs = await repeat(quick ? 1 : 5, async () => {
        const writer = writeMuch(row.folder);
        try {
          return await inChild(__filename, {
            serverUrl,
            directory: row.directory,
            seconds: quick ? 10 : 20,
          });
        } finally {
          await writer.stop();
        }
      });
    }
  } finally {
    if (overlay !== null) {
      execFileSync('umount', [overlay]);
    }
    [parent, memory].filter(Boolean).forEach((folder) => fs.rmSync(folder, { recursive: true }));
  }
  return {
    tables: [
      {
        title:
          'Calls of the listener while another process writes to the same disk, 20,000 decisions a second at most',
        columns: ['', 'longest, ms', '99.99 %, us', 'median, us'],
        rows: rows.map(({ title, runs }) => {
          const { longest, p9999, p50 } = medians(runs);
          return [title, longest, p9999, p50];
        }),
      },
    ],
    bars: [],
  };
}

module.exports = { run };

serveChild(module, child);
