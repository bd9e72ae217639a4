'use strict';

/**
 * The cold start of a Lambda function: from the start of the process to the first result of the handler, with
 * its decision delivered. Each function is zipped and unpacked, and runs in a fresh process of nodejs22.x.
 *
 * The files are in the page cache, which favours functions with larger files.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { bundle, functionFiles, unpackedBytes, unzip, zip } = require('../lambda/zip.js');
const { notTestable } = require('../support/setup/prebuilds.js');
const { nodes } = require('../support/setup/runtimes.js');
const { medians, repeat } = require('./measure.js');
const { NAMES } = require('./subjects.js');

const FOLDER = path.join(__dirname, '..', 'lambda');
const RUNTIME = path.join(FOLDER, 'runtime.js');

/** The files of each function. */
const SUBJECTS = {
  none: () => ({ 'index.js': bundle(path.join(FOLDER, 'none.js')) }),
  ours: () => functionFiles(process.arch),
  amplitude: () => ({ 'index.js': bundle(path.join(FOLDER, 'pasted.js')) }),
};

/** Zip and unpack a function; returns { module, zipped, unpacked }, sizes in kB. */
function install(dir, subject) {
  const files = SUBJECTS[subject]();
  const zipped = zip(files);
  unzip(zipped, path.join(dir, subject));
  return {
    module: path.join(dir, subject, 'index.js'),
    zipped: zipped.length / 1000,
    unpacked: unpackedBytes(files) / 1000,
  };
}

/** Start a process and invoke the function once: milliseconds. */
function coldStart(node, module, serverUrl) {
  const env = { AMPLITUDE_API_KEY: 'benchmark', AMPLITUDE_SERVER_URL: serverUrl };
  const { started, loaded, done } = JSON.parse(
    execFileSync(node, [RUNTIME, module], { env, encoding: 'utf8' }),
  );
  return { node: started, init: loaded - started, invocation: done - loaded, total: done };
}

async function run({ serverUrl, quick }) {
  const reason = notTestable();
  if (reason) {
    console.log(
      `The cold start is not measured, because the prebuilt addons cannot be used: ${reason}.\n`,
    );
    return { tables: [], bars: [] };
  }
  // Without Node 22 this Node runs all of them.
  const { name, command } =
    nodes().find(
      (node) => node.target === `linux-${process.arch}` && /^Node v?22\b/.test(node.name),
    ) ?? nodes()[0];
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-cold-'));
  try {
    const subjects = Object.keys(SUBJECTS);
    const functions = Object.fromEntries(
      subjects.map((subject) => [subject, install(dir, subject)]),
    );
    const runs = Object.fromEntries(subjects.map((subject) => [subject, []]));
    await repeat(quick ? 6 : 21, (round) => {
      for (let i = 0; i < subjects.length; i++) {
        const subject = subjects[(i + round) % subjects.length];
        runs[subject].push(coldStart(command[0], functions[subject].module, serverUrl));
      }
    });
    const results = Object.fromEntries(
      subjects.map((subject) => [subject, medians(runs[subject])]),
    );
    const added = (subject) => results[subject].total - results.none.total;
    return {
      tables: [
        {
          title: `The cold start of a Lambda function, ${name}: milliseconds, and kB`,
          columns: [
            '',
            'Node itself',
            'init',
            'first invocation',
            'all of it',
            'zipped',
            'unpacked',
          ],
          rows: subjects.map((subject) => {
            const { node, init, invocation, total } = results[subject];
            const { zipped, unpacked } = functions[subject];
            return [
              subject === 'none' ? 'no listener' : NAMES[subject],
              node,
              init,
              invocation,
              total,
              zipped,
              unpacked,
            ];
          }),
        },
      ],
      bars: [
        {
          what: 'added to the cold start of a function',
          unit: 'ms',
          value: added('ours'),
          most: 20,
        },
        {
          what: 'the same, times less than analytics-node',
          value: added('amplitude') / added('ours'),
          least: 1.5,
        },
      ],
    };
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
}

module.exports = { run };
