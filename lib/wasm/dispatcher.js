'use strict';

/**
 * A dispatcher of the core as WebAssembly, on timers and a transport of JavaScript: the counterpart of the addon's
 * (src/host/node/uv.c and binding.cc), with the same methods.
 *
 * What it runs on is given as a platform:
 *
 *   module                  the compiled WebAssembly.Module
 *   monotonic()             a clock that never goes back, in ms
 *   random()                two numbers of 32 random bits
 *   hold(object)            a weak reference, { deref() }
 *   openTransport(options)  { post({ body, gzip }, done), close() }; see ./http.js
 *   startTimer(call, ms)    a timer { unref(), stop() }, which keeps the process alive; 0 ms: the loop's next turn
 *   createContext()         { run(call), end() }: what timers, requests and handlers run in
 */

const { Core } = require('./core.js');

const MAX_TIMER_MILLIS = 2 ** 31 - 1;
/** Of drops that are told in one turn of the loop; a million decisions may drop. */
const MAX_DROP_NOTICES = 64;
const MAX_DROPS_MILLIS = 5;
/** A result of the core has what the host is to do above what the caller gets. */
const RESULT_BITS = 0xffffff;
const WAKE_SHIFT = 24;
const WAKE_COLLECT = 2;
const LOG_ERROR = 3;
const NO_ANSWERS = Object.freeze([]);

const wall = Date.now;

class WasmDispatcher {
  #platform;
  #create; // makes the core
  #made = null; // the core, once it is made
  #statusNames;
  #statusMessages;
  #weakHandlers; // they may close over what holds this dispatcher
  #handlers = null; // the same, while there is something to deliver or to tell
  #context;
  #transport; // null once it is closed
  #needsTrust;
  #hasStore;
  #lastStoreCall = 0; // its number
  #timer = null;
  #out = new Set(); // the attempts that are out: { attempt, stage, storeCall, post, bytes, began }
  #waits = new Map(); // by ticket: { resolve, reject, closes }
  #lastTicket = 0;
  #cameBack = false; // an attempt was cancelled
  #isCollecting = false;
  #hasDrops = false; // to tell, in the next turn
  #fault = null; // the error after which nothing more is sent

  /** `description` is what Core.describe() says of the module. */
  constructor(options, handlers, platform, { keys, statusNames, statusMessages }) {
    this.#platform = platform;
    this.#statusNames = statusNames;
    this.#statusMessages = statusMessages;
    this.#create = () => {
      const core = new Core(platform.module);
      const status = core.create(keys, options, platform.random());
      if (status !== 0) {
        throw Object.assign(new Error(statusMessages[status]), { code: 'ERR_OA_NATIVE' });
      }
      return core;
    };
    this.#weakHandlers = platform.hold(handlers);
    this.#hasStore = options.store;
    this.#context = platform.createContext();
    this.#transport = platform.openTransport(options);
    this.#needsTrust = this.#transport.needsTrust;
    // Functions of their own, as the addon's are: callers take them off the object.
    this.record = this.#record.bind(this);
    this.track = this.#track.bind(this);
  }

  /** The core. It is made at its first use, since an import of an edge runtime has neither clock nor randomness. */
  get #core() {
    return (this.#made ??= this.#create());
  }

  // ---- what the owner calls ---------------------------------------------------------------------------

  #record(variantId, userId, deviceId, eventProperties, userProperties, fields, rendered) {
    const monotonic = this.#platform.monotonic();
    const result =
      eventProperties === undefined && userProperties === undefined && fields === undefined
        ? this.#core.record(wall(), monotonic, variantId, userId, deviceId)
        : this.#core.recordWith(
            wall(),
            monotonic,
            variantId,
            userId,
            deviceId,
            [eventProperties, userProperties, fields],
            rendered,
          );
    return result <= RESULT_BITS ? result : this.#wake(result);
  }

  #track(userId, deviceId, event) {
    const result = this.#core.track(wall(), this.#platform.monotonic(), userId, deviceId, event);
    return result <= RESULT_BITS ? result : this.#wake(result);
  }

  /** Do what the core asks for; returns the rest of its result. */
  #wake(result) {
    if (result >>> WAKE_SHIFT === WAKE_COLLECT) {
      this.#collect();
    }
    this.#arm(0);
    return result & RESULT_BITS;
  }

  addVariant(flagKey, variationKey, ruleKey, enabled) {
    const id = this.#core.addVariant(flagKey, variationKey, ruleKey, enabled);
    if (id < 0) {
      const message = this.#statusMessages[this.#statusNames.indexOf('no_memory')];
      throw Object.assign(new Error(message), { code: 'ERR_OA_NATIVE' });
    }
    return id;
  }

  forgetVariants() {
    this.#core.forgetVariants();
  }

  flush(timeoutMillis, abort) {
    return this.#wait(false, (ticket, ...now) =>
      this.#core.flush(...now, timeoutMillis, abort, ticket),
    );
  }

  close(timeoutMillis) {
    return this.#wait(true, (ticket, ...now) => this.#core.close(...now, timeoutMillis, ticket));
  }

  /** The number of the last flush() or close(). */
  get lastTicket() {
    return this.#lastTicket;
  }

  /** Whether the flush() or close() of that number goes on. */
  isWaiting(ticket) {
    return this.#waits.has(ticket);
  }

  #wait(closes, begin) {
    return new Promise((resolve, reject) => {
      if (this.#fault !== null) {
        reject(this.#fault);
        return;
      }
      const ticket = ++this.#lastTicket;
      const status = begin(ticket, wall(), this.#platform.monotonic());
      if (status !== 0) {
        reject(new Error(this.#statusMessages[status]));
        return;
      }
      this.#waits.set(ticket, { resolve, reject, closes });
      this.#arm(0);
    });
  }

  abort() {
    this.#cancel();
    return this.#core.abort();
  }

  setOptOut(optOut, purges = false) {
    this.#core.setOptOut(optOut);
    if (purges) {
      this.#core.purge();
      this.#arm(0);
    }
  }

  stats() {
    return this.#core.stats(wall(), this.#platform.monotonic());
  }

  /** The memory of the module, in bytes. */
  get memoryBytes() {
    return this.#core.memoryBytes;
  }

  /** When the oldest request that is under way began, by the monotonic clock; Infinity: there is none. */
  get sendingSince() {
    return Math.min(...[...this.#out].map(({ began }) => began));
  }

  /** Give up what is under way, and what it carries goes again: what was to answer is gone. */
  abandon() {
    this.#guard(() => {
      this.#cancel();
      this.#pump();
      this.#arm(0);
    });
  }

  // ---- time -------------------------------------------------------------------------------------------

  #step() {
    this.#core.step(wall(), this.#platform.monotonic());
  }

  /** Set the timer to the next moment at which something is due, but no closer than `leastMillis`. */
  #arm(leastMillis) {
    if (this.#fault !== null) {
      return;
    }
    const now = this.#platform.monotonic();
    const due = this.#hasDrops ? now : this.#core.nextDue(wall(), now);
    this.#timer?.stop();
    this.#timer = null;
    this.#tellBusy(due !== Infinity || this.#out.size > 0);
    if (due === Infinity) {
      return;
    }
    const millis = Math.min(Math.max(Math.ceil(due - now), leastMillis), MAX_TIMER_MILLIS);
    this.#context.run(() => {
      this.#timer = this.#platform.startTimer(() => this.#onTimer(), millis);
    });
    // What is due at once is done before the process ends.
    if (millis > 0 && this.#waits.size === 0 && !this.#hasDrops) {
      this.#timer.unref();
    }
  }

  #onTimer() {
    this.#guard(() => {
      this.#pump();
      this.#arm(1);
    });
  }

  /** A fault of the module must not end the process: it is logged, and nothing more is sent. */
  #guard(call) {
    try {
      call();
    } catch (error) {
      this.#fault = error;
      this.#timer?.stop();
      this.#transport?.close();
      this.#transport = null;
      this.#call('log', LOG_ERROR, 'wasm', `the WebAssembly module failed: ${error.message}`);
      this.#waits.forEach(({ reject }) => reject(error));
      this.#waits.clear();
    }
  }

  /** Hold the handlers, or hold them no longer. */
  #tellBusy(isBusy) {
    if (!isBusy) {
      this.#handlers = null;
    } else if (this.#handlers === null) {
      this.#handlers = this.#weakHandlers.deref() ?? null;
    }
  }

  #pump() {
    do {
      // What was cancelled ends what waits for it, before more is started.
      this.#cameBack = false;
      this.#step();
      this.#collect();
    } while (this.#cameBack);
    this.#start();
  }

  // ---- an attempt -------------------------------------------------------------------------------------

  /** Begin what is to be sent now; the core says how many may be out at a time. */
  #start() {
    while (this.#transport !== null) {
      const attempt = this.#core.takeAttempt(wall(), this.#platform.monotonic());
      if (attempt === 0) {
        return;
      }
      const out = { attempt, stage: null, storeCall: 0, post: null, bytes: 0, began: 0 };
      this.#out.add(out);
      if (this.#needsTrust) {
        this.#needsTrust = false;
        this.#call('trustNeeded');
      }
      if (this.#callStore(out, 'asking')) {
        continue;
      }
      if (this.#out.has(out) && !this.#sendRest(out, NO_ANSWERS)) {
        this.#giveBack(out);
      }
    }
  }

  /** Begin a call to the store, if it may be called and there is something to say; returns whether its answer is to come. */
  #callStore(out, stage) {
    out.stage = stage;
    if (!this.#hasStore || !this.#call('storeReady')) {
      return false;
    }
    const writes = stage === 'writing';
    const call = writes ? this.#core.write(out.attempt) : this.#core.ask(out.attempt);
    if (call === null) {
      return false;
    }
    out.storeCall = ++this.#lastStoreCall;
    return this.#call('store', { id: out.storeCall, writes, ...call });
  }

  answerStore(id, answers) {
    const out = [...this.#out].find(({ storeCall }) => storeCall === id);
    if (out === undefined) {
      return; // it was cancelled
    }
    this.#guard(() => {
      out.storeCall = 0;
      if (out.stage === 'writing') {
        this.#core.confirm(out.attempt, answers);
      } else if (this.#sendRest(out, answers)) {
        return;
      }
      this.#endAttempt(out);
    });
  }

  /** Send what the store leaves of the attempt; returns whether anything is left. */
  #sendRest(out, answers) {
    if (this.#hasStore && !this.#core.learn(out.attempt, answers)) {
      return false;
    }
    out.stage = 'sending';
    out.began = this.#platform.monotonic();
    const request = this.#core.render(out.attempt);
    out.bytes = request === null ? 0 : request.body.length;
    this.#context.run(() => {
      out.post =
        request === null
          ? this.#platform.startTimer(() => this.#onAnswer(out, null), 0)
          : this.#transport.post(request, (answer) => this.#onAnswer(out, answer));
    });
    return true;
  }

  /** `answer` is null when there was no memory for a body. */
  #onAnswer(out, answer) {
    if (!this.#out.has(out)) {
      return;
    }
    this.#guard(() => {
      if (answer !== null) {
        this.#answer(out, answer);
      }
      if (!this.#callStore(out, 'writing') && this.#out.has(out)) {
        this.#endAttempt(out);
      }
    });
  }

  #answer({ attempt, bytes, began }, answer) {
    this.#core.answer(attempt, answer, bytes, this.#platform.monotonic() - began);
  }

  #giveBack(out) {
    this.#out.delete(out);
    this.#core.giveBack(wall(), this.#platform.monotonic(), out.attempt);
  }

  #endAttempt(out) {
    this.#giveBack(out);
    this.#pump();
    if (this.#out.size === 0) {
      this.#core.shrink();
    }
    this.#arm(0);
  }

  /** Put everything that is out back. */
  #cancel() {
    for (const out of this.#out) {
      if (out.stage === 'sending') {
        out.post.stop();
        this.#answer(out, { aborted: true });
      }
      this.#cameBack = true;
      this.#giveBack(out);
    }
  }

  // ---- notices ----------------------------------------------------------------------------------------

  /** Call a handler, unless they are collected; returns whether its result is true. An error ends here. */
  #call(name, ...values) {
    const handlers = this.#handlers ?? this.#weakHandlers.deref();
    try {
      return this.#context.run(() => handlers?.[name]?.(...values)) === true;
    } catch {
      return false;
    }
  }

  /**
   * Hand notices out: all, or as many drops as fit into a turn. What follows a drop waits with the rest, so the order is
   * kept; what precedes drops is little, and never waits. A handler may call in, and so ask for this once more.
   */
  #collect() {
    if (this.#isCollecting) {
      return;
    }
    this.#isCollecting = true;
    this.#hasDrops = false;
    const until = this.#platform.monotonic() + MAX_DROPS_MILLIS;
    let drops = 0;
    while (!this.#hasDrops) {
      const notice = this.#core.nextNotice();
      if (notice === null) {
        break;
      }
      this.#tell(notice);
      if (notice.kind === 'drop') {
        drops++;
        this.#hasDrops = drops === MAX_DROP_NOTICES || this.#platform.monotonic() >= until;
      }
    }
    this.#isCollecting = false;
  }

  #tell({ kind, values }) {
    switch (kind) {
      case 'cancel':
        this.#cancel();
        return;
      case 'attempt':
        this.#call('requested', ...values);
        return;
      case 'log':
        this.#call('log', ...values);
        return;
      case 'drop':
        if (values !== null) {
          this.#call('dropped', ...values); // without memory to describe them, they are counted
        }
        return;
      case 'flush':
        this.#endWait(...values);
    }
  }

  #endWait(ticket, report) {
    const { resolve, closes } = this.#waits.get(ticket);
    this.#waits.delete(ticket);
    if (closes) {
      this.#transport.close();
      this.#transport = null;
    }
    resolve(report);
    if (closes) {
      this.#context.end();
    }
  }
}

module.exports = { WasmDispatcher };
