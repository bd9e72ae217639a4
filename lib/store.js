'use strict';

/**
 * The store of exposures that a fleet shares, in Redis or Valkey: what the core asks and writes (src/core/store.h)
 * becomes calls of two scripts.
 *
 * The store is a help and never a condition. A call that takes longer than `timeoutMillis`, fails, or is answered by
 * something else leaves its pairs unknown, and they are sent; then the store is left alone for some seconds, so that
 * the offline queue of a client does not grow.
 */

const { reasonOf } = require('./reason.js');
const { senderOf } = require('./store-client.js');
const { runScript, script } = require('./store-scripts.js');

/** What the core takes as an answer: see OA_STORE_UNKNOWN in src/core/oa.h. */
const UNKNOWN = -2;
const ABSENT = -1;

/** Short enough for other users of the server: a script of so many pairs takes a fraction of a millisecond. */
const MOST_PAIRS = 250;
const MAX_VERSION = 2 ** 30;

/** The least deadline of the first call: a client that was just made may still connect, as in a short process. */
const CONNECT_MILLIS = 500;
const FIRST_PAUSE_MILLIS = 2_000;
const LAST_PAUSE_MILLIS = 30_000;
/** For what has to be fixed by someone. */
const LONG_PAUSE_MILLIS = 60_000;
/** Of the message of an error: some clients put the whole command in. */
const MAX_MESSAGE_CHARACTERS = 400;

/**
 * A hash for each user and window: field -> 12 digits of the value, and its version. The answer has a letter for each
 * pair, so that no client takes it for a number: n for none, r or c and the version for the same value or another.
 */
const ASK = script(`local out = {}
for i, key in ipairs(KEYS) do
  local fields, values = {}, {}
  for field, value in string.gmatch(ARGV[i], '(............)(............)') do
    fields[#fields + 1], values[#values + 1] = field, value
  end
  for n, stored in ipairs(redis.call('HMGET', key, unpack(fields))) do
    local version = stored and string.match(stored, '^............(%d+)$')
    if not version then
      out[#out + 1] = 'n'
    else
      out[#out + 1] = (string.sub(stored, 1, 12) == values[n] and 'r' or 'c') .. version
    end
  end
end
return table.concat(out, ',')`);

/**
 * Write a value if the version is still the one that was asked about, or the value is the same: k. Otherwise another
 * process wrote meanwhile: x, and its version. Only the turns of one value rise, so a late write undoes nothing.
 */
const WRITE = script(`local out = {}
for i, key in ipairs(KEYS) do
  local sets = {}
  local items = string.gmatch(ARGV[2 * i], '(............)(............)(%d+):(%d*),')
  for field, value, turn, base in items do
    local stored = redis.call('HGET', key, field)
    local version = stored and string.match(stored, '^............(%d+)$')
    local same = version and string.sub(stored, 1, 12) == value
    if version and version ~= base and not same then
      out[#out + 1] = 'x' .. version
    else
      if not same or tonumber(version) < tonumber(turn) then
        sets[#sets + 1], sets[#sets + 2] = field, value .. turn
      end
      out[#out + 1] = 'k'
    end
  end
  if #sets > 0 then
    redis.call('HSET', key, unpack(sets))
    redis.call('PEXPIREAT', key, ARGV[2 * i - 1])
  end
end
return table.concat(out, ',')`);

/** By how an error of the server begins that someone has to mend: what it does, and what helps. */
const REFUSALS = [
  [/^NOPERM/, 'refuses its scripts', 'allow its user the commands and keys of docs/fleet.md'],
  [
    /^(NOAUTH|WRONGPASS|ERR invalid password)/,
    "refuses the client's credentials",
    "check the user name and password that the application's client has",
  ],
  [
    /^CROSSSLOT/,
    'refuses its scripts',
    'it is a cluster: set dedupe.store.buckets, the same for the whole fleet',
  ],
  [
    /unknown command/i,
    'refuses its scripts',
    'it needs a server, or a proxy, that runs scripts (EVALSHA)',
  ],
  [/^WRONGTYPE/, 'refuses its scripts', 'another program uses its keys: set dedupe.store.prefix'],
];

/** Of an answer of ASK: the version twice, and 1 more for the same value. */
function readAsked(token) {
  return token === 'n' ? ABSENT : 2 * readVersion(token, 'rc') + Number(token[0] === 'r');
}

/** Digits without an exponent, also for a window that hardly ends. */
const expiry = (millis) => String(Math.min(millis, Number.MAX_SAFE_INTEGER));

const readWritten = (token) => (token === 'k' ? ABSENT : readVersion(token, 'x'));

function readVersion(token, letters) {
  const version = Number(token.slice(1));
  if (!letters.includes(token[0]) || !/^.\d{1,10}$/.test(token) || version >= MAX_VERSION) {
    throw new Error(`an answer that is not the script's: ${JSON.stringify(token.slice(0, 40))}`);
  }
  return version;
}

class Store {
  #send;
  #log;
  #tagOf;
  #buckets;
  #timeoutMillis;
  #connectMillis;
  #random;
  #now;
  /** Until a call has ended. With several lanes others begin before that. */
  #isConnecting = true;
  /** What failed last, of 'ask' and 'write': a server that is full, or a replica, answers one of them. */
  #failing = new Set();
  #isRefusalTold = false; // of this outage
  #failuresInARow = 0;
  #failingSince = 0;
  #lastError = null;
  #skipUntil = 0;
  #counts = { checks: 0, failures: 0, skipped: 0 };

  constructor(
    { client, send, prefix, buckets, timeoutMillis },
    log,
    { random, now, connectMillis },
  ) {
    this.#send = send ?? senderOf(client);
    this.#log = log;
    this.#buckets = buckets;
    this.#timeoutMillis = timeoutMillis;
    this.#connectMillis = connectMillis;
    this.#random = random;
    this.#now = now;
    // All keys of a call are in one slot of a cluster: what is in braces decides on it. The number of buckets is part
    // of it, so that two numbers never look for each other's keys in vain.
    this.#tagOf = (bucket) =>
      buckets === 1 ? `{${prefix}1}:` : `{${prefix}1:${buckets}.${bucket}}:`;
  }

  /** Its part of stats(). */
  get stats() {
    return {
      ...this.#counts,
      state: this.#failing.size === 0 ? 'ok' : 'failing',
      lastError: this.#lastError && { ...this.#lastError },
    };
  }

  /** Whether it may be called now. */
  isReady() {
    const isReady = this.#now() >= this.#skipUntil;
    this.#counts.skipped += Number(!isReady);
    return isReady;
  }

  /** Ask about pairs, or write them; `parts` is what the core says. Never rejects: resolves to an Int32Array. */
  async call({ writes, keys, buckets, texts, counts, expiries }) {
    const kind = writes ? 'write' : 'ask';
    const [of, read] = writes ? [WRITE, readWritten] : [ASK, readAsked];
    const answers = new Int32Array(counts.reduce((sum, count) => sum + count, 0)).fill(UNKNOWN);
    const calls = this.#split(counts, buckets).map(({ parts, at, pairs }) => {
      const names = parts.map((i) => this.#tagOf(buckets[i] % this.#buckets) + keys[i]);
      const args = parts.flatMap((i) => (writes ? [expiry(expiries[i]), texts[i]] : [texts[i]]));
      const called = runScript(this.#send, of, names, args).then((reply) => {
        const tokens = String(reply).split(',');
        if (tokens.length !== pairs) {
          throw new Error(`an answer to ${tokens.length} pairs, and not to ${pairs}`);
        }
        const values = tokens.map(read);
        let token = 0;
        parts.forEach((i, n) => {
          answers.set(values.slice(token, token + counts[i]), at[n]);
          token += counts[i];
        });
      });
      called.catch((error) => this.#note(error)); // also after the deadline: it may say more than that
      return called;
    });
    const failuresBefore = this.#failuresInARow;
    const failure = await this.#settled(calls);
    if (failure === undefined) {
      this.#counts.checks += Number(!writes);
      this.#succeed(kind);
    } else {
      // Calls of several lanes that fail together are one failure.
      this.#failuresInARow += Number(this.#failuresInARow <= failuresBefore);
      this.#fail(kind, this.#note(failure.reason));
    }
    return answers.slice(); // what comes too late is written into another array
  }

  /** Group the parts by bucket, in calls of so many pairs: [{ parts, at: where their pairs begin, pairs }]. */
  #split(counts, buckets) {
    const open = new Map();
    const calls = [];
    let start = 0;
    counts.forEach((count, i) => {
      const bucket = buckets[i] % this.#buckets;
      let call = open.get(bucket);
      if (call === undefined || call.pairs + count > MOST_PAIRS) {
        call = { parts: [], at: [], pairs: 0 };
        open.set(bucket, call);
        calls.push(call);
      }
      call.parts.push(i);
      call.at.push(start);
      call.pairs += count;
      start += count;
    });
    return calls;
  }

  /** Wait for all calls, or for the deadline. Resolves to { reason } of the first failure, or to undefined. */
  async #settled(calls) {
    const millis = this.#isConnecting
      ? Math.max(this.#timeoutMillis, this.#connectMillis)
      : this.#timeoutMillis;
    let timer;
    const late = new Promise((resolve) => {
      const error = new Error(
        `the client gave no answer in ${millis} ms; its own 'error' event may say why`,
      );
      // Answers that came while the application held the loop are read before the immediate, and after the timer.
      timer = setTimeout(() => setImmediate(resolve, [{ reason: error }]), millis);
      timer.unref?.();
    });
    const results = await Promise.race([Promise.allSettled(calls), late]);
    this.#isConnecting = false;
    clearTimeout(timer);
    return results.find(({ status }) => status !== 'fulfilled');
  }

  /** Keep an error for stats(). Returns its message. */
  #note(error) {
    const message = reasonOf(error).slice(0, MAX_MESSAGE_CHARACTERS);
    this.#lastError = { message, time: Date.now() };
    return message;
  }

  #succeed(kind) {
    if (!this.#failing.delete(kind) || this.#failing.size > 0) {
      return;
    }
    this.#failuresInARow = 0;
    this.#isRefusalTold = false;
    const seconds = Math.round((this.#now() - this.#failingSince) / 1000);
    this.#log.warn('store-back', `the store of exposures works again, after ${seconds} s`);
  }

  #fail(kind, reason) {
    const refusal = REFUSALS.find(([pattern]) => pattern.test(reason));
    const begins = this.#failing.size === 0;
    if (begins) {
      this.#failingSince = this.#now();
    }
    this.#failing.add(kind);
    this.#counts.failures++;
    const pause =
      refusal === undefined
        ? Math.min(FIRST_PAUSE_MILLIS * 2 ** (this.#failuresInARow - 1), LAST_PAUSE_MILLIS)
        : LONG_PAUSE_MILLIS;
    this.#skipUntil = this.#now() + pause * (0.5 + this.#random() / 2);
    if (refusal !== undefined) {
      this.#tellRefusal(reason, refusal);
    } else if (begins) {
      const does =
        kind === 'write'
          ? 'the store of exposures cannot be written to'
          : 'the store of exposures fails';
      this.#log.warn('store', `${does} (${reason}): decisions are sent without it until it works`);
    }
  }

  /** Once in an outage, also when it began with something else: a server that is back may refuse the client. */
  #tellRefusal(reason, [, does, advice]) {
    if (this.#isRefusalTold) {
      return;
    }
    this.#isRefusalTold = true;
    this.#log.error(
      'store-refuses',
      `the store of exposures ${does} (${reason}): ${advice}; decisions are sent without it`,
    );
  }
}

/** Make the store of a dispatcher from the option `dedupe.store`, as options.js resolves it. */
function createStore(
  options,
  log,
  { random = Math.random, now = () => performance.now(), connectMillis = CONNECT_MILLIS } = {},
) {
  return new Store(options, log, { random, now, connectMillis });
}

module.exports = { createStore };
