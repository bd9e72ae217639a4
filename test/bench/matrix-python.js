'use strict';

/**
 * `OA_PYTHON=build/python/venv/bin/python node test/bench/matrix-python.js`: the fault matrix through the Python package
 * and through the usual listener on amplitude-analytics, with its arguments repaired, an awaited flush() and shutdown().
 */

const { ROWS, audit, playRow } = require('../support/amplitude/matrix.js');
const { connectPython } = require('../support/python/actor.js');

const AT_ONCE = 6;

const measure = (row, subject) =>
  playRow(row, connectPython(subject), async ({ amplitude, client, decided }) => {
    await client.close();
    return audit(row, decided, amplitude.store);
  });

const cells = ({ lost, duplicated, outOfOrder }) => [lost, duplicated, outOfOrder].join(' / ');

async function main() {
  const lines = new Map();
  const rows = [...ROWS];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let row = rows.shift(); row !== undefined; row = rows.shift()) {
        const ours = await measure(row, 'ours');
        const theirs = await measure(row, 'theirs');
        lines.set(row, `| ${row.name} | ${ours.decisions} | ${cells(ours)} | ${cells(theirs)} |`);
      }
    }),
  );
  console.log(
    [
      'Lost / duplicated / out of order, of the decisions that Amplitude would take:',
      '',
      '| fault | decisions | optimizely-amplitude | amplitude-analytics |',
      '| --- | ---: | ---: | ---: |',
      ...ROWS.map((row) => lines.get(row)),
    ].join('\n'),
  );
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
