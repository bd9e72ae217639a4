'use strict';

/**
 * What the processes of a fleet know together, in Redis or Valkey: the calls, and the names of the keys.
 *
 *     lease          the token of the process that asks the source; it ends by itself
 *     head           state, rev: what the leader says, and its name; epoch, seq: of the log; writing, damaged: versions
 *     log            a stream of the last messages of the webhook, numbered from 1 in each epoch
 *     <version>:<n>  the pieces of a version; they are never changed
 *
 * All are in one slot of a cluster, and every key ends by itself. A script that writes as the leader looks first whether
 * the lease is still its own, so a process that lost it without knowing changes nothing.
 *
 * What is written never looks like JSON: some clients would read it.
 */

const { createHash, randomBytes } = require('node:crypto');

const { senderOf } = require('../store-client.js');
const { runScript, script } = require('../store-scripts.js');

/** Part of the names of keys; another one for another format of what is in them. */
const FORMAT = 1;
const HASH_LENGTH = 16;
/** How long a call may take. */
const CALL_MILLIS = 5_000;
const RELEASE_MILLIS = 500;
/** How long keys stay when no process is there to say otherwise. */
const KEEP_MILLIS = 24 * 60 * 60 * 1000;
/** How long the pieces of a version are left to those that still read them. */
const RETIRE_MILLIS = 2 * 60 * 1000;
/** The most messages in the log. Of what a version has in it, the log is freed when the next one is there. */
const MAX_ENTRIES = 4096;
/** Messages, and pieces, in one call. */
const MOST_ENTRIES = 64;
const MOST_PIECES = 256;

const POLL = script(`local owner = redis.call('GET', KEYS[1])
if not owner then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  owner = ARGV[1]
elseif owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local fields = { 'epoch', 'seq', 'rev', 'writing', 'damaged', 'state' }
local head = redis.call('HMGET', KEYS[2], unpack(fields))
local out = { owner == ARGV[1] and 'leads' or 'follows' }
for n = 1, #fields do
  out[#out + 1] = head[n] or ''
end
if out[4] == ARGV[5] then
  out[7] = ''
end
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
end
if head[1] and head[1] == ARGV[3] and tonumber(head[2] or '0') > tonumber(ARGV[4]) then
  local from = string.format('%.0f-0', tonumber(ARGV[4]) + 1)
  for _, entry in ipairs(redis.call('XRANGE', KEYS[3], from, '+', 'COUNT', ARGV[7])) do
    out[#out + 1] = entry[1]
    out[#out + 1] = entry[2][2]
  end
end
return out`);

/** Add messages to the log, and begin an epoch where there is none. */
const ADD = script(`if redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1]) == 1 then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'seq', '0')
end
for n = 4, #ARGV do
  local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], string.format('%.0f-0', seq), 'm', ARGV[n])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 'added'`);

/**
 * By a leader only; `then` is what it does. It begins with what takes memory: a server that is full refuses no script
 * that has written already.
 */
const asLeader = (then) =>
  script(`if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'lost'
end
${then}
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'done'`);

/** Say what is known of the version that is there. */
const STATE = asLeader(`redis.call('HSET', KEYS[2], 'rev', ARGV[3], 'state', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[5])`);

const BEGIN = asLeader(`redis.call('HSET', KEYS[2], 'writing', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])`);

const WRITE = asLeader(`redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])`);

/** From now on it is the version. What of the log it has in it, and the last one had, nobody needs. */
const PUBLISH = asLeader(`redis.call('HSET', KEYS[2], 'rev', ARGV[3], 'state', ARGV[4])
redis.call('HDEL', KEYS[2], 'writing', 'damaged')
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.pcall('XTRIM', KEYS[3], 'MINID', ARGV[6])`);

/** Set when pieces end; the answer is how many there are. */
const EXPIRE = script(`local there = 0
for _, key in ipairs(KEYS) do
  there = there + redis.call('PEXPIRE', key, ARGV[1])
end
return 'n' .. there`);

const READ = script(`return redis.call('GET', KEYS[1]) or ''`);

/** A reader found a piece missing, or damaged. */
const DAMAGED = script(`redis.call('HSET', KEYS[1], 'damaged', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'told'`);

const RELEASE = script(`if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 'done'`);

/** What is wrong with the server's answer, and what someone has to do about it; null for what ends by itself. */
const ADVICE = [
  [/^WRONGTYPE/, 'another program uses its keys: set store.prefix'],
  [/^(NOPERM|NOAUTH|WRONGPASS)/, 'allow its user the commands and keys of docs/audiences.md'],
  [/^READONLY/, 'the client has to write, so it needs the primary'],
  [/^OOM/, 'the server has no memory left'],
  [/unknown command|^CROSSSLOT/i, 'it needs a server, or a proxy, that runs scripts with streams'],
];

const adviceOn = (reason) => ADVICE.find(([pattern]) => pattern.test(reason))?.[1] ?? null;

const NOT_OURS = "an answer that is not the script's";

/** The lease is another process's now. */
class Lost extends Error {
  constructor() {
    super('another process asks the source now');
  }
}

/** What a fleet has in common; another one for each set of cohorts, and each key. */
function groupOf({ source, serverUrl, apiKey, secretKey }, names) {
  return createHash('sha256')
    .update(JSON.stringify([source, serverUrl, apiKey, secretKey, names]))
    .digest('hex')
    .slice(0, HASH_LENGTH);
}

class FleetStore {
  #send;
  #keyOf;
  #token;
  #leaseMillis;
  #end = null; // ends all calls
  #ended = new Promise((_, reject) => {
    this.#end = () => reject(new Error('it is closed'));
  });

  /** `token` names this process; a lease lasts `leaseMillis` after each of its calls. */
  constructor(options, names, { token, leaseMillis }) {
    const { client, send, prefix } = options.store;
    this.#send = send ?? senderOf(client);
    const tag = `{${prefix}:cohorts${FORMAT}:${groupOf(options, names)}}`;
    this.#keyOf = (name) => `${tag}:${name}`;
    this.#token = token;
    this.#leaseMillis = leaseMillis;
    this.#ended.catch(() => {});
  }

  /** Await no call any more. */
  close() {
    this.#end();
  }

  /** What is new after a position { epoch, seq }, and a state of another name than `rev`. */
  async poll({ epoch, seq }, rev) {
    const args = [this.#token, this.#leaseMillis, epoch, seq, rev, KEEP_MILLIS, MOST_ENTRIES];
    const reply = await this.#run(POLL, ['lease', 'head', 'log'], args);
    if (!Array.isArray(reply) || reply.length < POLL_FIELDS) {
      throw new Error(NOT_OURS);
    }
    const [role, newEpoch, newSeq, newRev, writing, damaged, state, ...rest] = reply.map(String);
    const entries = [];
    for (let n = 0; n + 1 < rest.length; n += 2) {
      entries.push({ seq: Number(rest[n].split('-')[0]), text: rest[n + 1] });
    }
    if (!Number.isSafeInteger(Number(newSeq))) {
      throw new Error(NOT_OURS);
    }
    return {
      isLeader: role === 'leads',
      epoch: newEpoch,
      seq: Number(newSeq),
      rev: newRev,
      writing,
      damaged,
      state,
      entries,
    };
  }

  /** Add messages. */
  async add(texts) {
    const epoch = randomBytes(8).toString('hex');
    await this.#run(ADD, ['head', 'log'], [epoch, KEEP_MILLIS, MAX_ENTRIES, ...texts]);
  }

  async setState(rev, state) {
    await this.#lead(STATE, ['lease', 'head'], [rev, state, KEEP_MILLIS]);
  }

  /** Begin a version: what is left of it can be found if it is never published. */
  async begin(id, pieces) {
    await this.#lead(BEGIN, ['lease', 'head'], [`w${id}.${pieces}`, KEEP_MILLIS]);
  }

  async write(id, piece, text) {
    await this.#lead(WRITE, ['lease', `${id}:${piece}`], [`p${text}`, KEEP_MILLIS]);
  }

  /** Publish a version with its state. `seq`: the messages that the last one had in it. */
  async publish(rev, state, seq) {
    await this.#lead(PUBLISH, ['lease', 'head', 'log'], [rev, state, KEEP_MILLIS, `${seq + 1}-0`]);
  }

  /** Read a piece; null when it is not there. */
  async read(id, piece) {
    const text = String(await this.#run(READ, [`${id}:${piece}`], []));
    return text.startsWith('p') ? text.slice(1) : null;
  }

  /** Keep the pieces of a version; whether all are there. */
  keep(id, pieces) {
    return this.#expire(id, pieces, KEEP_MILLIS);
  }

  /** Have the pieces of a version end, once those that read them are through. */
  retire(id, pieces) {
    return this.#expire(id, pieces, RETIRE_MILLIS);
  }

  /** Retire what was begun and not published, as `writing` of poll() has it. */
  async retireUnpublished(writing) {
    const [, id, pieces] = /^w([0-9a-f]+)\.(\d{1,7})$/.exec(writing) ?? [];
    if (id !== undefined) {
      await this.retire(id, Number(pieces));
    }
  }

  async tellDamaged(id) {
    await this.#run(DAMAGED, ['head'], [`v${id}`, KEEP_MILLIS]);
  }

  /** Give the lease back; also after close(). */
  async release() {
    await within(
      RELEASE_MILLIS,
      runScript(this.#send, RELEASE, [this.#keyOf('lease')], [this.#token]),
    );
  }

  async #expire(id, pieces, millis) {
    let there = 0;
    for (let from = 0; from < pieces; from += MOST_PIECES) {
      const count = Math.min(MOST_PIECES, pieces - from);
      const names = Array.from({ length: count }, (_, index) => `${id}:${from + index}`);
      const answer = await this.#run(EXPIRE, names, [millis]);
      there += Number(String(answer).slice(1));
    }
    return there === pieces;
  }

  async #lead(of, names, args) {
    const answer = await this.#run(of, names, [this.#token, this.#leaseMillis, ...args]);
    if (answer === 'lost') {
      throw new Lost();
    }
  }

  #run(of, names, args) {
    const answer = runScript(this.#send, of, names.map(this.#keyOf), args.map(String));
    return within(CALL_MILLIS, Promise.race([answer, this.#ended]));
  }
}

/** Resolves to an answer, and rejects when it takes longer. */
async function within(millis, answer) {
  let timer;
  const late = new Promise((_, reject) => {
    const error = new Error(
      `the client gave no answer in ${millis} ms; its own 'error' event may say why`,
    );
    // Answers that came while the application held the loop are read before the immediate, and after the timer.
    timer = setTimeout(() => setImmediate(reject, error), millis);
    timer.unref?.();
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Of an answer of POLL, without messages. */
const POLL_FIELDS = 7;

module.exports = { FleetStore, Lost, MAX_ENTRIES, adviceOn };
