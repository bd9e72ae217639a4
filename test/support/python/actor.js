'use strict';

/** A client of the Python package, or of amplitude-analytics, in a process of its own: see test/python/actor.py. */

const { spawn } = require('node:child_process');
const path = require('node:path');
const readline = require('node:readline');

const ACTOR = path.join(__dirname, '..', '..', 'python', 'actor.py');
/** test/python/run.js names the one in whose environment the package is installed. */
const PYTHON = process.env.OA_PYTHON || 'python3';

/** Make the connect() of playRow() for 'ours' or 'theirs'. */
const connectPython =
  (subject) =>
  async (serverUrl, { devices, requestTimeoutMillis }) => {
    const options = {
      server_url: serverUrl,
      request_timeout_millis: requestTimeoutMillis,
      devices,
    };
    const child = spawn(PYTHON, [ACTOR, subject, JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const waiting = new Map();
    let calls = 0;
    let stats = { decisions: { pending: 0 }, requests: { failed: 0 } };
    const ended = new Promise((resolve) => child.on('close', resolve));
    readline.createInterface({ input: child.stdout }).on('line', (line) => {
      const [number, result] = JSON.parse(line);
      waiting.get(number)(result);
      waiting.delete(number);
    });
    const call = (method, argument = null) =>
      new Promise((resolve) => {
        waiting.set(++calls, resolve);
        child.stdin.write(`${JSON.stringify([calls, method, argument])}\n`);
      });
    const look = async () => {
      stats = await call('stats');
      return stats;
    };
    let closing = null;
    return {
      decide({ userId, decisionInfo: { flagKey, variationKey, enabled } }) {
        call('decide', [[userId, flagKey, variationKey, enabled]]);
      },
      async flush({ timeoutMillis } = {}) {
        await call('flush', timeoutMillis === undefined ? null : timeoutMillis / 1000);
        if (subject === 'ours') {
          await look();
        }
      },
      ...(subject === 'ours' && {
        stats: () => stats,
        async failed() {
          while ((await look()).requests.failed === 0) {
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        },
      }),
      close() {
        closing ??= call('close').then(() => {
          child.stdin.end();
          return ended;
        });
        return closing;
      },
    };
  };

module.exports = { connectPython };
