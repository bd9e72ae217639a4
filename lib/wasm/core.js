'use strict';

/**
 * One dispatcher of the core, in an instance of its WebAssembly module: passes values into its memory and reads what it
 * reports. It has no clock, no timer and no network; ./dispatcher.js has.
 *
 * The memory may grow in any call that allocates, and a view of it is empty then, so each use asks for it anew.
 */

const PAGE_BYTES = 64 * 1024;
/** Of an id: as in the module. An id has 1024 characters at most, so what fills this is too long. */
const ID_BYTES = 4096;
/** A shorter id is copied byte by byte, which takes less time than a call of the encoder. */
const SHORT_ID = 48;
const ABSENT = -1;
const MALFORMED = -2;
const FIRST_SCRATCH_BYTES = 4096;
/** Less memory than this is not worth another instance. */
const MIN_SPARE_PAGES = 16;

const NOTICES = ['cancel', 'attempt', 'log', 'drop', 'flush'];

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Whether a string has half of a surrogate pair, which UTF-8 cannot hold: it would merge users. */
const isMalformed =
  typeof String.prototype.isWellFormed === 'function'
    ? (text) => !text.isWellFormed()
    : (text) => /\p{Surrogate}/u.test(text);

class Core {
  #module;
  #exports;
  #view;
  #ids; // the address of the two ids of a decision
  #scratch = 0; // of texts, allocated
  #scratchBytes = 0;

  constructor(module) {
    this.#module = module;
    this.#use(new WebAssembly.Instance(module, {}));
    this.#exports._initialize();
    this.#ids = this.#exports.ids();
  }

  #use({ exports }) {
    this.#exports = exports;
    this.#view = new Uint8Array(exports.memory.buffer);
  }

  /** The memory, whatever it has become. */
  get #bytes() {
    if (this.#view.length === 0) {
      this.#view = new Uint8Array(this.#exports.memory.buffer);
    }
    return this.#view;
  }

  // ---- texts ----------------------------------------------------------------------------------------

  /** Write an id to its place; returns its length, or one of those above. */
  #writeId(id, at) {
    if (typeof id !== 'string' || id === '') {
      return ABSENT;
    }
    const bytes = this.#bytes;
    const from = this.#ids + at;
    const { length } = id;
    if (length <= SHORT_ID) {
      let i = 0;
      for (; i < length; i++) {
        const unit = id.charCodeAt(i);
        if (unit > 0x7f) {
          break;
        }
        bytes[from + i] = unit;
      }
      if (i === length) {
        return length;
      }
    }
    const { written } = encoder.encodeInto(id, bytes.subarray(from, from + ID_BYTES - 1));
    return written > length && isMalformed(id) ? MALFORMED : written;
  }

  /** Have room for `size` bytes of texts; returns its address. Throws when there is no memory for it. */
  #reserve(size) {
    if (size > this.#scratchBytes) {
      this.#exports.free(this.#scratch);
      this.#scratchBytes = Math.max(size, FIRST_SCRATCH_BYTES);
      this.#scratch = this.#exports.alloc(this.#scratchBytes);
      if (this.#scratch === 0) {
        this.#scratchBytes = 0;
        throw new RangeError('memory ran out');
      }
    }
    return this.#scratch;
  }

  /** Write strings one behind the other; returns their lengths, where anything but a string is absent. */
  #writeTexts(...texts) {
    let size = 0;
    for (const text of texts) {
      size += typeof text === 'string' ? 3 * text.length : 0; // UTF-8 needs no more
    }
    let at = this.#reserve(size);
    const bytes = this.#bytes;
    return texts.map((text) => {
      if (typeof text !== 'string') {
        return ABSENT;
      }
      const { written } = encoder.encodeInto(text, bytes.subarray(at));
      at += written;
      return written;
    });
  }

  #report(length) {
    const from = this.#exports.report_text();
    return JSON.parse(decoder.decode(this.#bytes.subarray(from, from + length)));
  }

  /** Copy numbers into the scratch; returns its address. */
  #writeAnswers(answers) {
    const at = this.#reserve(4 * Math.max(answers.length, 1));
    new Int32Array(this.#bytes.buffer, at, answers.length).set(answers);
    return at;
  }

  // ---- creation -------------------------------------------------------------------------------------

  /** What the module says of itself: `keys` of its configuration, statuses, and versions. */
  describe() {
    const { keys, ...rest } = this.#report(this.#exports.describe());
    const pairs = [];
    for (let i = 0; i < keys.length; i += 2) {
      pairs.push({ key: keys[i], kind: keys[i + 1] });
    }
    return { ...rest, keys: pairs };
  }

  /** Make the dispatcher, from the values of `keys` in order; returns a status. */
  create(keys, options, [high, low]) {
    const texts = [];
    keys.forEach(({ key, kind }, index) => {
      const value = options[key];
      if (kind !== 'text') {
        this.#exports.configure(index, 0, ABSENT, Number(value));
      } else if (typeof value === 'string') {
        const encoded = encoder.encode(value);
        const at = this.#exports.alloc(Math.max(encoded.length, 1));
        this.#bytes.set(encoded, at);
        texts.push(at);
        this.#exports.configure(index, at, encoded.length, 0);
      }
    });
    const status = this.#exports.create(high, low);
    texts.forEach((at) => this.#exports.free(at));
    return status;
  }

  /** Returns the id of a variant, or a negative number when memory ran out. */
  addVariant(flagKey, variationKey, ruleKey, enabled) {
    const [flag, variation, rule] = this.#writeTexts(flagKey, variationKey, ruleKey);
    return this.#exports.add_variant(this.#scratch, flag, variation, rule, enabled ? 1 : 0);
  }

  forgetVariants() {
    this.#exports.forget_variants();
  }

  // ---- decisions and events -------------------------------------------------------------------------

  /** The hot call; see module.c for the result. */
  record(wall, monotonic, variantId, userId, deviceId) {
    const user = this.#writeId(userId, 0);
    const device = deviceId === undefined ? ABSENT : this.#writeId(deviceId, ID_BYTES);
    return this.#exports.record(
      wall,
      monotonic,
      variantId,
      user,
      device,
      0,
      ABSENT,
      ABSENT,
      ABSENT,
      0,
    );
  }

  recordWith(wall, monotonic, variantId, userId, deviceId, texts, rendered) {
    const lengths = this.#writeTexts(...texts);
    const user = this.#writeId(userId, 0);
    const device = this.#writeId(deviceId, ID_BYTES);
    return this.#exports.record(
      wall,
      monotonic,
      variantId,
      user,
      device,
      this.#scratch,
      ...lengths,
      rendered ? 1 : 0,
    );
  }

  track(wall, monotonic, userId, deviceId, event) {
    const [length] = this.#writeTexts(event);
    const user = this.#writeId(userId, 0);
    const device = this.#writeId(deviceId, ID_BYTES);
    return this.#exports.track(wall, monotonic, user, device, this.#scratch, length);
  }

  setOptOut(optOut) {
    this.#exports.set_opt_out(optOut ? 1 : 0);
  }

  purge() {
    this.#exports.purge();
  }

  stats(wall, monotonic) {
    return this.#report(this.#exports.stats(wall, monotonic));
  }

  // ---- waiting and ending ---------------------------------------------------------------------------

  /** Each returns a status; a notice with the ticket comes when it is 0. */
  flush(wall, monotonic, timeoutMillis, abort, ticket) {
    return this.#exports.flush(wall, monotonic, timeoutMillis, abort ? 1 : 0, ticket);
  }

  close(wall, monotonic, timeoutMillis, ticket) {
    return this.#exports.close(wall, monotonic, timeoutMillis, ticket);
  }

  abort() {
    return this.#exports.abort();
  }

  /** The monotonic moment at which step() is due, or Infinity. */
  nextDue(wall, monotonic) {
    return this.#exports.next_due(wall, monotonic);
  }

  step(wall, monotonic) {
    this.#exports.step(wall, monotonic);
  }

  /** The next notice, { kind, values }, or null. */
  nextNotice() {
    const kind = this.#exports.next_notice();
    if (kind < 0) {
      return null;
    }
    const length = this.#exports.report_len();
    return { kind: NOTICES[kind], values: length === 0 ? null : this.#report(length) };
  }

  // ---- attempts: numbers that the module knows them by -----------------------------------------------

  /** The next attempt, or 0. */
  takeAttempt(wall, monotonic) {
    return this.#exports.take_attempt(wall, monotonic);
  }

  /** What to ask of the store, or to write to it; null: nothing. */
  ask(attempt) {
    return this.#storeCall(this.#exports.attempt_ask(attempt));
  }

  write(attempt) {
    return this.#storeCall(this.#exports.attempt_write(attempt));
  }

  #storeCall(length) {
    if (length === 0) {
      return null;
    }
    const call = { keys: [], buckets: [], texts: [], counts: [], expiries: [] };
    const lists = Object.values(call);
    this.#report(length).forEach((value, index) => lists[index % lists.length].push(value));
    return call;
  }

  /** Take the answers of the store; returns whether anything is left to send. */
  learn(attempt, answers) {
    return this.#exports.attempt_learn(attempt, this.#writeAnswers(answers), answers.length) !== 0;
  }

  confirm(attempt, answers) {
    this.#exports.attempt_confirm(attempt, this.#writeAnswers(answers), answers.length);
  }

  /** Render the body, and return { body, gzip }; null when memory ran out. */
  render(attempt) {
    if (this.#exports.attempt_render(attempt) !== 0) {
      return null;
    }
    const from = this.#exports.attempt_body(attempt);
    const length = this.#exports.attempt_body_len(attempt);
    return {
      body: this.#bytes.slice(from, from + length), // it may move while it is sent
      gzip: this.#exports.attempt_is_gzip(attempt) !== 0,
    };
  }

  /** Pass in an answer: { statusCode, body, retryAfterSeconds, location }, or { error }, or { aborted: true }. */
  answer(attempt, answer, sentBytes, durationMillis) {
    const {
      statusCode = 0,
      aborted = false,
      body,
      error,
      retryAfterSeconds = 0,
      location,
    } = answer;
    const isAnswer = statusCode !== 0;
    const first = isAnswer ? body : encoder.encode(error ?? '');
    const second = encoder.encode(location ?? '');
    const at = this.#reserve(first.length + second.length);
    this.#bytes.set(first, at);
    this.#bytes.set(second, at + first.length);
    this.#exports.attempt_answer(
      attempt,
      statusCode,
      aborted ? 1 : 0,
      sentBytes,
      durationMillis,
      retryAfterSeconds,
      at,
      first.length,
      location === undefined ? ABSENT : second.length,
    );
  }

  giveBack(wall, monotonic, attempt) {
    this.#exports.give_back(wall, monotonic, attempt);
  }

  // ---- memory ---------------------------------------------------------------------------------------

  get memoryBytes() {
    return this.#bytes.length;
  }

  /**
   * Go on in another instance, without the end of the memory that a long queue has left free: a memory cannot become
   * smaller. What is in use lies below, and is copied as it is; no call is under way, so there is nothing else. Where
   * there is no memory for a copy, it stays as it is.
   */
  shrink() {
    const pages = this.#bytes.length / PAGE_BYTES;
    if (pages < 2 * MIN_SPARE_PAGES) {
      return;
    }
    const needed = this.#exports.pages_needed();
    if (pages - needed < MIN_SPARE_PAGES) {
      return;
    }
    const instance = this.#instanceOf(needed);
    if (instance === null) {
      return;
    }
    this.#exports.pages_cut(needed);
    const used = this.#bytes.subarray(0, needed * PAGE_BYTES);
    new Uint8Array(instance.exports.memory.buffer).set(used);
    this.#use(instance);
  }

  /** Make an instance with that much memory at least; null when there is none. */
  #instanceOf(pages) {
    try {
      const instance = new WebAssembly.Instance(this.#module, {});
      const { memory } = instance.exports;
      memory.grow(Math.max(pages - memory.buffer.byteLength / PAGE_BYTES, 0));
      return instance;
    } catch {
      return null;
    }
  }
}

module.exports = { ABSENT, Core };
