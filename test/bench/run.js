'use strict';

/*
 * `npm run bench`: the costs of this package and of the alternatives, as Markdown.
 *
 *   npm run bench                       all of it, about 15 minutes
 *   npm run bench -- --quick            less of each
 *   npm run bench -- listener start     some of it
 *   npm run bench -- --docs             all of it, and the tables of docs/costs.md are those of this run
 *
 * Times are medians; compare them within one run only. The last table compares with the project's goals.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { format, markdown, startSink } = require('./measure.js');

const BENCHMARKS = [
  'production',
  'listener',
  'parts',
  'delivery',
  'memory',
  'spool',
  'writeback',
  'handler',
  'start',
  'cold',
  'stall',
  'fairness',
  'growth',
  'cohort',
  'audiences',
  'store',
];

function parse() {
  const { values, positionals } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      docs: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  const unknown = positionals.find((name) => !BENCHMARKS.includes(name));
  if (unknown !== undefined) {
    throw new Error(`there is no benchmark '${unknown}', but ${BENCHMARKS.join(', ')}`);
  }
  return { ...values, names: positionals.length > 0 ? positionals : BENCHMARKS };
}

function isMet({ value, most, least }) {
  return most === undefined ? value >= least : value <= most;
}

function summary(bars) {
  return {
    title: 'Summary',
    columns: ['', 'measured', 'bar', 'met'],
    rows: bars.map((bar) => {
      const { what, unit, value, most, least } = bar;
      const withUnit = (number) =>
        unit === undefined ? format(number) : `${format(number)} ${unit}`;
      return [
        what,
        withUnit(value),
        most === undefined ? `at least ${withUnit(least)}` : `at most ${withUnit(most)}`,
        isMet(bar) ? 'yes' : 'no',
      ];
    }),
  };
}

/** Put the tables in place of those in docs/costs.md that have the same columns. */
function writeDocs(tables) {
  const file = path.join(__dirname, '../../docs/costs.md');
  let text = fs.readFileSync(file, 'utf8');
  for (const table of tables) {
    const lines = markdown(table).trimEnd().split('\n').slice(2); // without its title
    const from = text.indexOf(`${lines[0]}\n`);
    if (from >= 0) {
      const to = text.indexOf('\n\n', from);
      text = text.slice(0, from) + lines.join('\n') + text.slice(to);
    }
  }
  fs.writeFileSync(file, text);
}

async function main() {
  const { quick, docs, names } = parse();
  execFileSync('make', ['--no-print-directory', '-C', __dirname], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  console.log(
    `Node ${process.version}, ${os.cpus().length} × ${os.cpus()[0].model}, load ${os.loadavg()[0].toFixed(2)} before\n`,
  );
  const sink = await startSink();
  const bars = [];
  const tables = [];
  for (const name of names) {
    const result = await require(`./${name}.js`).run({ serverUrl: sink.url, quick });
    result.tables.forEach((table) => console.log(markdown(table)));
    tables.push(...result.tables);
    bars.push(...result.bars);
  }
  await sink.stop();
  console.log(markdown(summary(bars)));
  if (docs) {
    writeDocs([...tables, summary(bars)]);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
