'use strict';

/* global addEventListener, document, location */

/**
 * A headless Chromium for tests, driven by its DevTools protocol over a pipe: no package, no port.
 * A page's logged errors, exceptions and violations of its Content-Security-Policy are kept in `errors`.
 */

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const CANDIDATES = [
  process.env.CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost',
  '--remote-debugging-pipe',
];
const TIMEOUT_MILLIS = 20_000;

/** The path of a Chromium, or undefined. */
const findChromium = () => CANDIDATES.find((file) => file && fs.existsSync(file));

class Page {
  errors = [];
  #browser;
  #session;

  constructor(browser, session) {
    this.#browser = browser;
    this.#session = session;
  }

  /** Take an event of the protocol. */
  note(method, params) {
    if (method === 'Runtime.exceptionThrown') {
      this.errors.push(
        params.exceptionDetails.exception?.description ?? params.exceptionDetails.text,
      );
    } else if (method === 'Log.entryAdded' && params.entry.level === 'error') {
      this.errors.push(`${params.entry.text} ${params.entry.url ?? ''}`);
    }
  }

  send(method, params) {
    return this.#browser.send(method, params, this.#session);
  }

  /** Load a page in place of this one. */
  async navigate(url) {
    await this.send('Page.navigate', { url });
    await this.evaluate(
      () =>
        new Promise((resolve) => {
          document.readyState === 'complete'
            ? resolve()
            : addEventListener('load', () => resolve());
        }),
    );
  }

  /** Close the tab. */
  close() {
    return this.send('Page.close');
  }

  /** Call a function in the page; resolve to its result. Arguments and result are JSON. */
  async evaluate(fn, ...args) {
    const expression = `(${fn})(...${JSON.stringify(args)})`;
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  }

  /** Resolve to the result of a function in the page as soon as it is truthy; it is called at every change of the page. */
  waitFor(fn, ...args) {
    return this.evaluate(
      `async (...args) => {
      const ask = ${fn};
      return new Promise((resolve, reject) => {
        const check = () => {
          const value = ask(...args);
          if (value) {
            observer.disconnect();
            clearTimeout(timer);
            resolve(value);
          }
        };
        const observer = new MutationObserver(check);
        const timer = setTimeout(() => reject(new Error('timed out; the page says: ' + document.body.innerText)), ${TIMEOUT_MILLIS});
        observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
        check();
      });
    }`,
      ...args,
    );
  }

  /** Go to a part of the page, as a link does. */
  go(hash) {
    return this.evaluate((target) => {
      location.hash = target;
    }, hash);
  }

  async press(key) {
    const text = { Enter: '\r', ' ': ' ' }[key];
    await this.send('Input.dispatchKeyEvent', {
      type: 'keyDown',
      key,
      code: key === ' ' ? 'Space' : key,
      text,
      windowsVirtualKeyCode: { Enter: 13, ' ': 32, Tab: 9 }[key],
    });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', key });
  }
}

class Chromium {
  #child;
  #pending = new Map();
  #pages = new Map();
  #last = 0;
  #rest = '';
  #profile;

  constructor(child, profile) {
    this.#child = child;
    this.#profile = profile;
    child.stdio[4].setEncoding('utf8').on('data', (text) => this.#read(text));
  }

  #read(text) {
    const messages = (this.#rest + text).split('\0');
    this.#rest = messages.pop();
    for (const message of messages.map((one) => JSON.parse(one))) {
      const pending = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (pending === undefined) {
        this.#pages.get(message.sessionId)?.note(message.method, message.params);
      } else if (message.error) {
        pending.reject(new Error(message.error.message));
      } else {
        pending.resolve(message.result);
      }
    }
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#last;
    this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
    });
  }

  /** Make a context: pages in it share cookies and storage with each other alone. Resolves to its id. */
  async createContext() {
    return (await this.send('Target.createBrowserContext')).browserContextId;
  }

  /** Open a page, in a context of its own if one is given. */
  async open(url, browserContextId = undefined) {
    const { targetId } = await this.send('Target.createTarget', {
      url: 'about:blank',
      browserContextId,
    });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, sessionId);
    this.#pages.set(sessionId, page);
    for (const domain of ['Runtime', 'Log', 'Page']) {
      await page.send(`${domain}.enable`);
    }
    await page.navigate(url);
    return page;
  }

  async close() {
    const exited = once(this.#child, 'exit');
    this.send('Browser.close').catch(() => {});
    await exited;
    // Child processes of the browser may still write.
    fs.rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

/** Start a browser, which reaches nothing but this machine. */
async function startChromium() {
  if (findChromium() === undefined) {
    throw new Error('Chromium is not installed');
  }
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-chromium-'));
  const child = spawn(findChromium(), [...FLAGS, `--user-data-dir=${profile}`], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
  });
  await once(child, 'spawn');
  child.stdio[3].on('error', () => {}); // the browser is gone, and callers that wait time out
  return new Chromium(child, profile);
}

module.exports = { findChromium, startChromium };
