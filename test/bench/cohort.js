'use strict';

/** Membership: the core by itself (cohort.c), and what peers do: JSON.parse() and a Set. */

const { execFileSync } = require('node:child_process');
const path = require('node:path');
const { cpuMicros, inChild, serveChild } = require('./measure.js');

const PROGRAM = path.join(__dirname, '../../build/bench/cohort');
const LOOK_UPS = 1_000_000;

/** The body of a cohort API, as one string: a Set of it is limited by that of strings, too. */
function bodyOf(members) {
  const parts = [];
  for (let i = 0; i < members; i++) {
    parts.push(`user${String(i * 982_451_653).padStart(16, '0')}`);
  }
  return JSON.stringify({ cohortId: 'c', memberIds: parts });
}

async function child({ members }) {
  let body = bodyOf(members);
  const started = cpuMicros();
  let set = new Set(JSON.parse(body).memberIds);
  const loadSeconds = (cpuMicros() - started) / 1e6;
  const ids = Array.from({ length: LOOK_UPS }, (_, i) => {
    const n = (i * 7919) % (2 * members);
    return `user${String(n * 982_451_653).padStart(16, '0')}`;
  });
  const lookUps = cpuMicros();
  let found = 0;
  for (const id of ids) {
    found += set.has(id) ? 1 : 0;
  }
  const nanos = ((cpuMicros() - lookUps) / LOOK_UPS) * 1000;
  body = undefined;
  ids.length = 0;
  global.gc();
  const withSet = process.memoryUsage.rss();
  const size = set.size;
  set = undefined;
  global.gc();
  const bytesPerMember = (withSet - process.memoryUsage.rss()) / size;
  return { found, loadSeconds, bytesPerMember, nanos };
}

async function run({ quick }) {
  const millions = quick ? 1 : 8; // what a Set holds in every version of Node.js
  const ours = JSON.parse(
    execFileSync(PROGRAM, [millions, quick ? 10 : 100].map(String), { encoding: 'utf8' }),
  );
  const set = await inChild(__filename, { members: millions * 1_000_000 }, [
    '--expose-gc',
    '--max-old-space-size=8192',
  ]);
  const refreshSeconds = ours.refreshReadSeconds + ours.refreshMergeSeconds;
  return {
    tables: [
      {
        title: `Membership: a cohort of ${millions} million users, ids of 20 bytes`,
        columns: ['', 'the core', 'JSON.parse() and a Set'],
        rows: [
          ['bytes a member, resident', ours.bytesPerMember, set.bytesPerMember],
          ['a refresh, s of CPU', refreshSeconds, set.loadSeconds],
          ['its memory beyond the old and the new one, MB', ours.refreshPeakBytes / 1e6, ''],
          ['a look-up of a member, ns', ours.memberNanos, ''],
          ['a look-up of another user, ns', ours.otherNanos, ''],
          ['a look-up, of a member in every second one, with hashing, ns', '', set.nanos],
          ['an image checked and opened, ms of CPU', ours.openMillis, ''],
          [`wrong members in ${ours.probes} look-ups`, ours.wrongMembers, ''],
        ],
      },
      {
        title: `Membership: 8 cohorts, ${millions} million users, each in four of them`,
        columns: ['', 'one table', 'a table for each'],
        rows: [
          ['bytes a user, resident', ours.eightBytesPerUser, ours.eightTablesBytesPerUser],
          ['all cohorts of a user, ns', ours.eightNanos, ours.eightTablesNanos],
        ],
      },
    ],
    bars: [
      {
        what: 'a member of one cohort',
        unit: 'bytes',
        value: ours.bytesPerMember,
        most: 12,
      },
      {
        what: 'a user in several of 8 cohorts',
        unit: 'bytes',
        value: ours.eightBytesPerUser,
        most: 20,
      },
      {
        what: 'parsing and building 10 million members',
        unit: 's',
        value: (refreshSeconds * 10) / millions,
        most: 2,
      },
      {
        what: 'peak of a refresh beyond both tables',
        unit: 'MB',
        value: ours.refreshPeakBytes / 1e6,
        most: 8,
      },
      { what: 'members missing', value: ours.membersMissing, most: 0 },
      { what: 'wrong members', value: ours.wrongMembers, most: 0 },
    ],
  };
}

module.exports = { run };

serveChild(module, child);
