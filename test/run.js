'use strict';

/*
 * `npm test`: runs everything that checks the project, the cheap steps first.
 *
 *   npm test                          the steps that every change has to pass
 *   npm test -- --all                 also the extra steps, such as fuzzers and prebuilt addons; CI runs
 *                                     it, and no sanitizer may be missing
 *   npm test -- --only js,core        some steps
 *   npm test -- --only js FILE...     some files of node:test
 *
 * The last line is `N passed, N failed`, over all test programs. A step that fails without naming a
 * test (a linter, a crash) counts as one failure.
 */

const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { obstacle } = require('./python/run.js');
const { filesBelow } = require('./support/util/files.js');

const ROOT = path.join(__dirname, '..');

const PREBUILT = path.join(
  ROOT,
  'prebuilds',
  `${process.platform}-${process.arch}`,
  'optimizely-amplitude.node',
);

const NODE_TEST_TIMEOUT_MS = 300_000; // of one file: a test that hangs is named before CI ends the job

/** The tests of what a dispatcher does, which are the same for both of its engines. */
const DISPATCHER_TESTS = [
  ...['lambda', 'lambda-delivery'].map((name) => `test/js/${name}.test.js`),
  ...(
    'attach before-send cost diagnostics exits exposure fairness faults fleet handles hostile identity lambda memory ' +
    'network parity payloads rules secrets signals soak track volume workers'
  )
    .split(' ')
    .map((name) => `test/e2e/${name}.test.js`),
];
/** Of these, what may differ between versions of Node. */
const VERSION_TESTS = ['attach', 'exits', 'identity', 'network', 'payloads', 'track'].map(
  (name) => `test/e2e/${name}.test.js`,
);
const WASM = { OA_ENGINE: 'wasm' };
/** Tests that never load the addon of this clone: they are about other engines, or install the package. */
const WITHOUT_ADDON = 'browser bundles contract edge next page tarball windows zip'
  .split(' ')
  .map((name) => path.join('test', 'e2e', `${name}.test.js`));

/** What a step returns instead of a command when it has nothing to do here. */
const skip = (reason) => ({ skip: reason });

const STEPS = [
  { name: 'lint', title: 'ESLint', command: () => tool('eslint/bin/eslint.js', '.') },
  {
    name: 'format',
    title: 'Prettier',
    command: () => tool('prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.'),
  },
  { name: 'format-c', title: 'clang-format', command: () => make('lint') },
  { name: 'types', title: 'TypeScript declarations', command: types },
  { name: 'core', title: 'C core and hosts', command: () => make('check') },
  {
    name: 'core-imports',
    title: 'C core: it imports only memory and string functions, and cJSON',
    command: () => make('imports'),
  },
  {
    name: 'core-asan',
    title: 'C core under ASan and UBSan',
    command: (all) => sanitized('check-asan', 'address,undefined', all),
  },
  {
    name: 'core-tsan',
    title: 'C core under TSan',
    extra: true,
    command: (all) => sanitized('check-tsan', 'thread', all),
  },
  {
    name: 'core-wasm',
    title: 'C core for WebAssembly',
    extra: true,
    command: () => make('wasm'),
  },
  {
    name: 'fuzz',
    title: 'fuzzers, a quarter of a minute each',
    extra: true,
    command: () => [...make('fuzz'), 'FUZZ_SECONDS=15'],
  },
  {
    name: 'runtimes',
    title: 'download of other versions of Node and npm',
    extra: true,
    command: () => [process.execPath, 'test/support/setup/runtimes.js'],
  },
  {
    name: 'prebuild',
    title: 'prebuilt addons and WebAssembly',
    extra: true,
    command: () => ['npm', 'run', '--silent', 'prebuild'],
  },
  { name: 'js', title: 'JavaScript and end to end', command: nodeTests },
  { name: 'python', title: 'Python package', command: python },
  {
    name: 'nodes',
    title: 'the same addon on other versions of Node',
    extra: true,
    command: (all, files) => [process.execPath, 'test/support/setup/nodes.js', ...files],
  },
  {
    name: 'js-wasm',
    title: 'what a dispatcher does, with WebAssembly',
    extra: true,
    env: WASM,
    command: (all, files) => nodeTests(all, files.length > 0 ? files : DISPATCHER_TESTS),
  },
  {
    name: 'nodes-wasm',
    title: 'WebAssembly on other versions of Node',
    extra: true,
    env: WASM,
    command: (all, files) => [
      process.execPath,
      'test/support/setup/nodes.js',
      ...(files.length > 0 ? files : VERSION_TESTS),
    ],
  },
  {
    name: 'js-prebuilt',
    title: 'JavaScript and end to end with the prebuilt addon',
    extra: true,
    env: { OPTIMIZELY_AMPLITUDE_BINDING: PREBUILT },
    command: withPrebuilt,
  },
];

function make(target) {
  return ['make', '--no-print-directory', '-j2', '-C', 'test/core', target];
}

/** A JavaScript program of a development package. */
function tool(file, ...args) {
  return [process.execPath, path.join('node_modules', file), ...args];
}

function types() {
  return filesBelow(path.join(ROOT, 'test', 'types'), '.ts').length > 0
    ? tool('typescript/bin/tsc', '--noEmit', '-p', 'test/types')
    : skip('there are none yet');
}

/** Some systems have no sanitizers (musl, for example); in CI they are required. */
function sanitized(target, sanitizer, all) {
  const probe = spawnSync(
    process.env.CC || 'cc',
    [`-fsanitize=${sanitizer}`, '-x', 'c', '-', '-o', '/dev/null'],
    { input: 'int main(void) { return 0; }\n' },
  );
  return all || probe.status === 0
    ? make(target)
    : skip('the C compiler of this machine has no such sanitizer');
}

function allNodeTests() {
  return ['test/js', 'test/e2e'].flatMap((folder) =>
    filesBelow(path.join(ROOT, folder), '.test.js').map((file) => path.join(folder, file)),
  );
}

function nodeTests(all, files) {
  const chosen = files.length > 0 ? files : allNodeTests();
  if (chosen.length === 0) {
    return skip('there are none yet');
  }
  const args = ['--test', '--test-reporter=spec'];
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 11)) {
    args.push(`--test-timeout=${NODE_TEST_TIMEOUT_MS}`);
  }
  return [process.execPath, ...args, ...chosen];
}

/** In CI a Python is required; elsewhere many machines have none that can build an extension. */
function python(all) {
  const reason = obstacle();
  return reason === null || all
    ? [process.execPath, 'test/python/run.js', ...(all ? ['--all'] : [])]
    : skip(reason);
}

function withPrebuilt(all, files) {
  if (!fs.existsSync(PREBUILT)) {
    return skip('there is none for this system');
  }
  const chosen = allNodeTests().filter((file) => !WITHOUT_ADDON.includes(file));
  return nodeTests(all, files.length > 0 ? files : chosen);
}

/** Run a command and show its output; resolves to the output and whether the command succeeded. */
function run([program, ...args], env) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    const texts = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) {
      child[name].setEncoding('utf8').on('data', (text) => {
        texts[name] += text;
        process[name].write(text);
      });
    }
    child.on('error', (error) => resolve({ ok: false, text: '', reason: error.message }));
    child.on('close', (code, signal) =>
      resolve({
        ok: code === 0,
        text: texts.stdout + texts.stderr,
        reason: signal ?? `exit code ${code}`,
      }),
    );
  });
}

/** The numbers of tests by result, from the closing lines of cmocka, of node:test and of pytest. */
function countTests(text) {
  const sum = (pattern) =>
    [...text.matchAll(pattern)].reduce((total, match) => total + Number(match[1]), 0);
  return {
    passed:
      sum(/^\[ {2}PASSED {2}\] (\d+) test/gm) +
      sum(/^[#ℹ] pass (\d+)$/gm) +
      sum(/^(?:\d+ failed, )?(\d+) passed.* in [\d.]+s/gm),
    failed:
      sum(/^\[ {2}FAILED {2}\] (\d+) test\(s\)/gm) +
      sum(/^[#ℹ] (?:fail|cancelled) (\d+)$/gm) +
      sum(/^(\d+) failed.* in [\d.]+s/gm),
    skipped:
      sum(/^\[ {2}SKIPPED {2}\] (\d+) test/gm) +
      sum(/^[#ℹ] (?:skipped|todo) (\d+)$/gm) +
      sum(/(\d+) skipped.* in [\d.]+s/gm),
  };
}

async function runStep(step, all, files) {
  console.log(`\n=== ${step.title} (${step.name})`);
  const started = Date.now();
  const command = step.command(all, files);
  if (command.skip) {
    console.log(`not run: ${command.skip}`);
    return {
      name: step.name,
      verdict: 'not run',
      detail: command.skip,
      passed: 0,
      failed: 0,
      skipped: 0,
    };
  }
  const { ok, text, reason } = await run(command, step.env);
  const counts = countTests(text);
  if (!ok && counts.failed === 0) {
    counts.failed = 1;
  }
  const seconds = `${((Date.now() - started) / 1000).toFixed(1)} s`;
  return {
    name: step.name,
    verdict: ok ? 'ok' : 'FAILED',
    detail: ok ? seconds : `${seconds}, ${reason}`,
    ...counts,
  };
}

function parse(argv) {
  const names = STEPS.map(({ name }) => name);
  try {
    const { values, positionals } = parseArgs({
      args: argv,
      options: { all: { type: 'boolean', default: false }, only: { type: 'string' } },
      allowPositionals: true,
    });
    const only = values.only?.split(',');
    const unknown = only?.find((name) => !names.includes(name));
    if (unknown !== undefined) {
      throw new Error(`there is no step "${unknown}"`);
    }
    return { all: values.all, only, files: positionals };
  } catch (error) {
    console.error(
      `${error.message}\nusage: npm test -- [--all] [--only ${names.join(',')}] [FILE...]`,
    );
    return null;
  }
}

async function main() {
  const options = parse(process.argv.slice(2));
  if (options === null) {
    return 2;
  }
  const { all, only, files } = options;
  const setup = spawnSync(
    process.execPath,
    ['test/support/setup/setup.js', '--for', all ? 'ci' : 'test'],
    { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] },
  );
  if (setup.status !== 0) {
    return 1;
  }

  const results = [];
  for (const step of STEPS) {
    if (only ? only.includes(step.name) : all || !step.extra) {
      results.push(await runStep(step, all, files));
    }
  }

  console.log('\n=== Summary');
  for (const { name, verdict, detail } of results) {
    console.log(`${verdict.padEnd(8)} ${name.padEnd(10)} ${detail}`);
  }
  const total = (key) => results.reduce((sum, result) => sum + result[key], 0);
  const skipped = total('skipped') > 0 ? `, ${total('skipped')} skipped` : '';
  console.log(`\n${total('passed')} passed, ${total('failed')} failed${skipped}`);
  return results.some(({ verdict }) => verdict === 'FAILED') ? 1 : 0;
}

main().then((code) => {
  process.exitCode = code;
});
