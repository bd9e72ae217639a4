'use strict';

/*
 * `npm run bench`: the costs of this package and of the alternatives, as Markdown.
 *
 *   npm run bench                       all of it, about 15 minutes
 *   npm run bench -- --quick            less of each
 *   npm run bench -- listener start     some of it
 *
 * Times are medians; compare them within one run only. The last table compares with the project's goals.
 */

const { execFileSync } = require('node:child_process');
const os = require('node:os');
const { parseArgs } = require('node:util');
const { format, markdown, startSink } = require('./measure.js');

const BENCHMARKS = [
  'production',
  'listener',
  'parts',
  'delivery',
  'memory',
  'handler',
  'start',
  'cold',
  'stall',
  'fairness',
  'growth',
  'cohort',
  'audiences',
];

function parse() {
  const { values, positionals } = parseArgs({
    options: { quick: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const unknown = positionals.find((name) => !BENCHMARKS.includes(name));
  if (unknown !== undefined) {
    throw new Error(`there is no benchmark '${unknown}', but ${BENCHMARKS.join(', ')}`);
  }
  return { quick: values.quick, names: positionals.length > 0 ? positionals : BENCHMARKS };
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

async function main() {
  const { quick, names } = parse();
  execFileSync('make', ['--no-print-directory', '-C', __dirname], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  console.log(
    `Node ${process.version}, ${os.cpus().length} × ${os.cpus()[0].model}, load ${os.loadavg()[0].toFixed(2)} before\n`,
  );
  const sink = await startSink();
  const bars = [];
  for (const name of names) {
    const result = await require(`./${name}.js`).run({ serverUrl: sink.url, quick });
    result.tables.forEach((table) => console.log(markdown(table)));
    bars.push(...result.bars);
  }
  await sink.stop();
  console.log(markdown(summary(bars)));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
