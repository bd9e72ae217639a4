'use strict';

/** Child processes of tests: they get messages over IPC, and tests check their output and how they end. */

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const { setImmediate: nextTurn } = require('node:timers/promises');

const TIMEOUT_MILLIS = 60_000;

const isProxyVariable = (name) => /^(https?|all|no)_proxy$/i.test(name);

/** The environment without proxies, which would divert a test's requests. */
function plainEnv(more) {
  const entries = Object.entries(process.env).filter(([name]) => !isProxyVariable(name));
  return { ...Object.fromEntries(entries), ...more };
}

class Child {
  stdout = '';
  stderr = '';
  /** Resolves to {code, signal} when the process has ended and its whole output is read. */
  ended;
  #process;
  #checks = new Set();

  constructor(args, { env, cwd, program = process.execPath, timeoutMillis = TIMEOUT_MILLIS } = {}) {
    this.#process = spawn(program, args, {
      cwd,
      env: plainEnv(env),
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const name of ['stdout', 'stderr']) {
      this.#process[name].setEncoding('utf8').on('data', (text) => {
        this[name] += text;
        this.#checks.forEach((check) => check());
      });
    }
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), timeoutMillis);
    this.ended = new Promise((resolve, reject) => {
      this.#process.on('error', reject);
      this.#process.on('close', (code, signal) => {
        clearTimeout(timer);
        resolve({ code, signal });
      });
    });
  }

  get pid() {
    return this.#process.pid;
  }

  /** All that was printed. */
  get output() {
    return this.stdout + this.stderr;
  }

  /** Resolve as soon as the output has `pattern`, `times` times; reject when the process ends before. */
  printed(pattern, times = 1) {
    const every = new RegExp(pattern, 'g');
    return new Promise((resolve, reject) => {
      const check = () => {
        if ((this.output.match(every) ?? []).length >= times) {
          this.#checks.delete(check);
          resolve();
        }
      };
      this.#checks.add(check);
      this.ended.then(
        ({ code, signal }) =>
          reject(
            new Error(`ended (${signal ?? code}) before it printed ${pattern}:\n${this.output}`),
          ),
        reject,
      );
      check();
    });
  }

  send(message) {
    this.#process.send(message);
  }

  /** Send a message; resolve to the child's answer. */
  async ask(message) {
    this.send(message);
    const [answer] = await Promise.race([
      once(this.#process, 'message'),
      this.ended.then(() => []),
    ]);
    assert.ok(answer !== undefined, `ended before it answered:\n${this.output}`);
    return answer;
  }

  kill(signal) {
    this.#process.kill(signal);
  }

  /** Stop the process as Lambda does between two invocations, until thaw(); resolves when it has stopped. */
  freeze() {
    this.kill('SIGSTOP');
    return this.stopped();
  }

  /** Resolve when the process is stopped, by itself or from outside. */
  async stopped() {
    const file = `/proc/${this.pid}/stat`;
    while (fs.existsSync(file) && !/\) T /.test(fs.readFileSync(file, 'latin1'))) {
      await nextTurn();
    }
  }

  thaw() {
    this.kill('SIGCONT');
  }

  /** Wait for the end; fail unless it has this code and signal. */
  async endsWith(code, signal = null) {
    assert.deepEqual(await this.ended, { code, signal }, this.output);
  }
}

/** Start `node args` for a test; it is killed when the test is over. */
function startChild(t, args, { endSignal = 'SIGKILL', ...options } = {}) {
  const child = new Child(args, options);
  t.after(() => {
    child.kill(endSignal);
    return endSignal === 'SIGKILL' ? undefined : child.ended;
  });
  return child;
}

/** Run `node args` to its end; resolve to { code, signal, stdout, stderr }. */
async function runChild(t, args, options) {
  const child = startChild(t, args, options);
  const { code, signal } = await child.ended;
  return { code, signal, stdout: child.stdout, stderr: child.stderr };
}

module.exports = { isProxyVariable, runChild, startChild };
