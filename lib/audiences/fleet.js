'use strict';

/**
 * One process of a fleet that shares its members through a store (fleet-store.js).
 *
 *     poll --> another version than ours: read it in pieces, with the messages that came since --> adopt it, at once
 *          --> messages after our position: apply them, in order
 *          --> the lease is ours: have the refresher ask the source; what it brings becomes the next version
 *
 * A version is a table and the changes in front of it, as they were at a position of the log. It has no end but the next
 * version, so a process that cannot reach the store, or finds it empty, keeps what it has.
 */

const { randomBytes } = require('node:crypto');

const { addonFor } = require('../engine.js');
const { reasonOf } = require('../reason.js');
const { isState } = require('./cohort.js');
const { FleetStore, Lost, MAX_ENTRIES, adviceOn } = require('./fleet-store.js');

const POLL_MILLIS = 2_000;
const LEASE_MILLIS = 15_000;
/** Between so much less, and so much more, is waited. */
const JITTER = 0.25;
const MAX_RETRY_MILLIS = 30_000;
/** When the pieces of a version are told to stay: they do for a day. */
const KEEP_MILLIS = 6 * 60 * 60 * 1000;
/** Of a version, in a call: 0.6 ms of the loop, most of it the client's, and short enough for others at the server. */
const PIECE_BYTES = 96 * 1024;
/** Users of a message in the log. */
const ENTRY_USERS = 4096;
/** Messages that are added in a call. */
const ENTRIES_AT_ONCE = 16;
/** A version is written anew when so many messages came since. */
const MAX_REPLAYED = MAX_ENTRIES / 4;
/** How long a message waits to be applied here, before it is answered: Amplitude waits 1 to 2 s. */
const APPLY_MILLIS = 800;
const MAX_BYTES = 2 ** 40;
const MAX_MESSAGE_CHARACTERS = 400;

/** A version that cannot be used: it has to be written again. */
class Damaged extends Error {}

const isCount = (value, most = Number.MAX_SAFE_INTEGER) =>
  Number.isSafeInteger(value) && value >= 0 && value <= most;

/** What the leader says: a version, or null, and the state of each cohort. Never looks like JSON. */
const writeState = (version, cohorts) => `s${JSON.stringify({ version, cohorts })}`;

function readState(text, cohortCount) {
  let state = null;
  try {
    state = JSON.parse(text.slice(1));
  } catch {
    // It is refused below.
  }
  const { version, cohorts } = state ?? {};
  const isVersion =
    version === null ||
    (/^[0-9a-f]+$/.test(version?.id) &&
      isCount(version.table, MAX_BYTES) &&
      isCount(version.changes, MAX_BYTES) &&
      isCount(version.seq) &&
      typeof version.epoch === 'string' &&
      version.pieces === piecesOf(version));
  const areStates =
    Array.isArray(cohorts) && cohorts.length === cohortCount && cohorts.every(isState);
  if (text[0] !== 's' || !isVersion || !areStates) {
    throw new Error('what is there was not written by this version of the package');
  }
  return state;
}

const piecesOf = ({ table, changes }) => Math.ceil((table + changes) / PIECE_BYTES);

/** A message in the log: `m<cohort>:<i or o>:<ms>:<prints>`. */
function readEntry(text, cohorts) {
  const [head, direction, time, prints] = text.split(':', 4);
  const cohort = cohorts[Number(head.slice(1))];
  const isGood =
    head[0] === 'm' && cohort !== undefined && isCount(Number(time)) && prints !== undefined;
  return isGood && { cohort, isIn: direction === 'i', time: Number(time), prints };
}

class Fleet {
  #native;
  #store;
  #refresher;
  #cohorts;
  #log;
  #handlers;
  #pollMillis;
  #leaseMillis;
  #version = null; // that we have, and that the others have, too
  #rev = ''; // of the state that we know
  #position = { epoch: '', seq: 0 }; // the messages that were applied
  #leadsUntil = -Infinity; // by performance.now()
  #isLeader = false;
  #isDirty = false; // what we have is no version yet
  #isStateDirty = false;
  #isPublishing = false;
  #saying = Promise.resolve(); // the last state that was written
  #keepAt = 0;
  #revCount = 0;
  #token = randomBytes(12).toString('hex');
  #isStopped = false;
  #isWoken = false;
  #wake = null; // ends the sleep
  #turns = new Set(); // those that await the end of the next turn
  #running = null;
  #failures = 0; // to poll, in a row
  #failing = new Set(); // 'poll', 'publish': a server that is full refuses one of them
  #failingSince = 0;
  #lastError = null;
  #messages = 0;

  /**
   * `handlers`: `onFollow(cohort, state, size)` is called with what the leader says, where `size` is undefined unless
   * the members are others; `onMoved` and `onChanged` as of a Receiver. `pace` is { pollMillis, leaseMillis } for tests.
   */
  constructor({ native, refresher, cohorts, names, options, log, pace = {} }, handlers) {
    const { pollMillis = POLL_MILLIS, leaseMillis = LEASE_MILLIS } = pace;
    this.#native = native;
    this.#refresher = refresher;
    this.#cohorts = cohorts;
    this.#log = log;
    this.#handlers = handlers;
    this.#pollMillis = pollMillis;
    this.#leaseMillis = leaseMillis;
    this.#store = new FleetStore(options, names, { token: this.#token, leaseMillis });
  }

  start() {
    this.#running = this.#run();
  }

  stats() {
    return {
      state: this.#failing.size === 0 ? 'ok' : 'failing',
      isLeader: this.#leads(),
      messages: this.#messages,
      lastError: this.#lastError && { ...this.#lastError },
    };
  }

  /** Give all processes what a refresh, or a merge, has changed here. */
  changed(hasOtherMembers) {
    this.#isStateDirty = true;
    this.#isDirty ||= hasOtherMembers;
    if (this.#isDirty && this.#leads()) {
      this.#publishSoon();
    }
  }

  /** Send a message to all processes, this one too. Rejects when the store does not take it. */
  async send(message, { isIn, users }, cohort, time) {
    const head = `m${cohort.slot}:${isIn ? 'i' : 'o'}:${time}:`;
    let texts = [];
    for (let from = 0; from < users; from += ENTRY_USERS) {
      texts.push(head + message.text(from, ENTRY_USERS));
      if (texts.length === ENTRIES_AT_ONCE || from + ENTRY_USERS >= users) {
        await this.#store.add(texts);
        texts = [];
      }
    }
    await this.#nextTurn();
  }

  /** Await nothing of the store any more. */
  end() {
    this.#isStopped = true;
    this.#store.close();
    this.#wakeUp();
  }

  /** After end(), once the refresher is stopped: resolves when nothing goes on any more. */
  async ended() {
    await this.#running;
    if (this.#leads()) {
      // So that another process need not wait for the end of the lease.
      await this.#store.release().catch(() => {});
    }
  }

  // ---- the loop -------------------------------------------------------------------------------------

  async #run() {
    while (!this.#isStopped) {
      const waiting = [...this.#turns];
      let isMore = false;
      try {
        isMore = await this.#turn();
        this.#failures = 0;
        this.#succeed('poll');
      } catch (error) {
        this.#failures++;
        this.#fail('poll', error);
      }
      if (!isMore) {
        waiting.forEach((resolve) => resolve());
        await this.#sleep();
      }
    }
  }

  /** One look at the store; whether there is more to read at once. */
  async #turn() {
    const startedAt = performance.now();
    const rev = this.#rev;
    const reply = await this.#store.poll(this.#position, rev);
    if (this.#isStopped) {
      return false;
    }
    if (reply.isLeader) {
      this.#leadsUntil = startedAt + this.#leaseMillis;
    } else if (this.#isLeader) {
      this.#stepDown();
    }
    if (!this.#isLeader) {
      await this.#follow(reply);
    }
    const isMore = !this.#isStopped && this.#apply(reply);
    // What it has published meanwhile is not in the reply.
    if (this.#leads() && (rev === this.#rev || !this.#isLeader)) {
      await this.#lead(reply);
    }
    return isMore;
  }

  #leads() {
    return performance.now() < this.#leadsUntil;
  }

  async #sleep() {
    const millis =
      this.#failures === 0
        ? this.#pollMillis
        : Math.min(this.#pollMillis * 2 ** (this.#failures - 1), MAX_RETRY_MILLIS);
    if (!this.#isWoken && !this.#isStopped) {
      await new Promise((resolve) => {
        this.#wake = resolve;
        const timer = setTimeout(resolve, millis * (1 - JITTER + 2 * JITTER * Math.random()));
        timer.unref?.();
      });
    }
    this.#isWoken = false;
  }

  #wakeUp() {
    this.#isWoken = true;
    this.#wake?.();
  }

  /** Resolves when the messages that are in the store now were applied, or after APPLY_MILLIS. */
  #nextTurn() {
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(), APPLY_MILLIS);
      const settle = () => {
        clearTimeout(timer);
        this.#turns.delete(settle);
        resolve();
      };
      this.#turns.add(settle);
      this.#wakeUp();
    });
  }

  #succeed(kind) {
    if (this.#failing.delete(kind) && this.#failing.size === 0) {
      const seconds = Math.round((performance.now() - this.#failingSince) / 1000);
      this.#log.warn('fleet-back', `the store of cohorts works again, after ${seconds} s`);
    }
  }

  #fail(kind, error) {
    if (this.#isStopped) {
      return;
    }
    const message = reasonOf(error).slice(0, MAX_MESSAGE_CHARACTERS);
    this.#lastError = { message, time: Date.now() };
    if (!this.#failing.has(kind)) {
      this.#failingSince = this.#failing.size === 0 ? performance.now() : this.#failingSince;
      this.#failing.add(kind);
      const advice = adviceOn(message);
      this.#log.warn(
        'fleet',
        `the store of cohorts fails (${message})${advice === null ? '' : `: ${advice}`}; ` +
          'each process keeps the members that it has',
      );
    }
    if (this.#isLeader && !this.#leads()) {
      this.#stepDown();
    }
  }

  // ---- what the leader says -------------------------------------------------------------------------

  async #follow(reply) {
    if (reply.rev === this.#rev || reply.state === '') {
      return; // also when the store was emptied: what is here stays
    }
    const state = readState(reply.state, this.#cohorts.length);
    const { version } = state;
    let members = [];
    if (version !== null && version.id !== this.#version?.id) {
      try {
        members = await this.#adopt(version);
      } catch (error) {
        if (!(error instanceof Damaged)) {
          throw error;
        }
        this.#rev = reply.rev; // the next version is another one
        await this.#tellDamaged(version);
        return;
      }
      if (members === null) {
        return;
      }
    }
    this.#rev = reply.rev;
    if (version?.id === this.#version?.id) {
      for (const cohort of this.#cohorts) {
        // Without a version, what is here from a snapshot is all that is known.
        if (version !== null || !cohort.isLoaded) {
          this.#handlers.onFollow(cohort, state.cohorts[cohort.slot], members[cohort.slot]);
        }
      }
    }
  }

  /** Take a version in place of what is here; the members of each cohort, or null when all is stopped. */
  async #adopt(version) {
    const { CohortTransfer } = addonFor('createAudiences()');
    const transfer = new CohortTransfer(version.table, version.changes);
    try {
      for (let piece = 0; piece < version.pieces; piece++) {
        const text = await this.#store.read(version.id, piece);
        if (text === null || transfer.put(text) !== 'ok') {
          throw new Damaged(`piece ${piece} of ${version.pieces} is missing, or damaged`);
        }
      }
      const positions = await this.#replay(transfer, version);
      let report = null;
      await this.#refresher.perform('adopt', async () => {
        report = await this.#native
          .adopt(transfer)
          .catch((error) => ({ message: reasonOf(error) }));
      });
      if (report === null || this.#isStopped) {
        return null;
      }
      if (report.end === 'malformed') {
        throw new Damaged(report.message);
      }
      if (report.end !== 'loaded') {
        throw new Error(report.message);
      }
      this.#version = version;
      this.#position = positions[report.said];
      this.#isDirty = false;
      return report.members;
    } finally {
      transfer.free();
    }
  }

  /** Put the messages behind a version that came since; the positions before and after each of them. */
  async #replay(transfer, { epoch, seq }) {
    const positions = [{ epoch, seq }];
    for (let isMore = true; isMore;) {
      const last = positions.at(-1);
      const reply = await this.#store.poll(last, this.#rev);
      if (reply.epoch !== last.epoch) {
        // All messages of another epoch are later.
        positions.length = 1;
        positions[0] = { epoch: reply.epoch, seq: 0 };
        isMore = reply.seq > 0;
        continue;
      }
      for (const { seq: next, text } of reply.entries) {
        const entry = readEntry(text, this.#cohorts);
        const { cohort, isIn, time, prints } = entry || NO_ENTRY;
        const status = transfer.say(cohort.slot, isIn, time, prints);
        if (status !== 'ok' && status !== 'malformed') {
          throw new Error(`no memory for messages (${status})`);
        }
        const position = { epoch: reply.epoch, seq: next };
        if (status === 'ok') {
          positions.push(position);
        } else {
          positions[positions.length - 1] = position; // it is skipped
        }
      }
      isMore = reply.entries.length > 0 && positions.at(-1).seq < reply.seq;
    }
    return positions;
  }

  async #tellDamaged({ id }) {
    this.#log.warn(
      'fleet-damaged',
      'the members in the store of cohorts are damaged: they are written again by the process that asks the source',
    );
    if (this.#leads()) {
      this.#isDirty = true;
    } else {
      await this.#store.tellDamaged(id);
    }
  }

  // ---- messages -------------------------------------------------------------------------------------

  /** Apply the messages of a reply, in order; whether there are more. */
  #apply({ epoch, seq, entries }) {
    if (epoch !== this.#position.epoch) {
      // The log was begun anew, since it was emptied or is the first: it has all of its messages.
      this.#position = { epoch, seq: 0 };
      return seq > 0;
    }
    for (const { seq: next, text } of entries) {
      if (next <= this.#position.seq) {
        continue; // it came with a version
      }
      this.#noteGap(next);
      if (!this.#say(text)) {
        this.#refresher.merge();
        return false; // and it is read again
      }
      this.#position.seq = next;
    }
    if (entries.length === 0 && seq > this.#position.seq) {
      this.#noteGap(seq + 1);
      this.#position.seq = seq;
    }
    return seq > this.#position.seq;
  }

  /** Some messages before `next` are not in the log any more: the version has them, or the next list. */
  #noteGap(next) {
    if (next > this.#position.seq + 1) {
      this.#log.debug(
        `messages ${this.#position.seq + 1} to ${next - 1} of the webhook are not in the store any more`,
      );
      if (!this.#leads() && this.#version?.seq > this.#position.seq) {
        this.#version = null;
        this.#rev = ''; // read it again
      }
    }
  }

  /** Apply a message; false when there is no room before a merge. */
  #say(text) {
    const entry = readEntry(text, this.#cohorts);
    if (!entry) {
      return true;
    }
    const { cohort, isIn, time, prints } = entry;
    const previousSize = cohort.size;
    const { status, ...moved } = this.#native.say(cohort.slot, isIn, time, prints);
    if (moved.done > 0) {
      this.#handlers.onMoved(cohort, moved, time);
    }
    if (status === 'too_large') {
      return false;
    }
    this.#messages++;
    this.#handlers.onChanged(cohort, { kind: 'changed', ...moved }, previousSize);
    return true;
  }

  // ---- the leader -----------------------------------------------------------------------------------

  async #lead({ rev, writing, damaged }) {
    if (!this.#isLeader) {
      this.#isLeader = true;
      this.#isStateDirty = true;
      this.#log.info('this process asks the source of cohorts for all that share the store');
      await this.#store.retireUnpublished(writing);
      this.#refresher.resume();
    }
    const isEmptied = rev === '' && this.#rev !== '';
    if (rev !== this.#rev) {
      this.#isStateDirty = true; // somebody else wrote it, or the store was emptied
    }
    if (rev === '') {
      this.#version = null;
    }
    const version = this.#version;
    const isLong = this.#position.seq - (version?.seq ?? 0) > MAX_REPLAYED;
    const isLoaded = this.#cohorts.some((cohort) => cohort.isLoaded);
    const isWanted = (version === null && isLoaded) || isLong || damaged === `v${version?.id}`;
    // One that is being written now is what is wanted, unless its pieces were removed.
    this.#isDirty ||= this.#isPublishing ? isEmptied : isWanted;
    if (version !== null && performance.now() > this.#keepAt) {
      this.#isDirty ||= !(await this.#store.keep(version.id, version.pieces));
      this.#keepAt = performance.now() + KEEP_MILLIS;
    }
    if (this.#isDirty) {
      this.#publishSoon();
    } else if (this.#isStateDirty && !this.#isPublishing) {
      await this.#sayState(); // of the version that is there, so not of one that is being written
    }
  }

  #stepDown() {
    this.#leadsUntil = -Infinity;
    this.#isLeader = false;
    this.#refresher.hold();
    this.#log.info('another process asks the source of cohorts now');
  }

  #newRev() {
    this.#revCount++;
    return `${this.#token}.${this.#revCount}`;
  }

  #states() {
    this.#isStateDirty = false;
    return this.#cohorts.map((cohort) => cohort.toState());
  }

  async #sayState() {
    const rev = this.#newRev();
    this.#saying = this.#store.setState(rev, writeState(this.#version, this.#states()));
    await this.#saying;
    this.#rev = rev;
  }

  /** Not while a table is made, nor before each cohort was asked for once. */
  #publishSoon() {
    this.#refresher.perform(
      'publish',
      async () => {
        this.#isPublishing = true;
        try {
          await this.#publish();
          this.#succeed('publish');
        } catch (error) {
          this.#isDirty = true;
          if (error instanceof Lost) {
            this.#stepDown();
          } else {
            this.#fail('publish', error);
          }
        } finally {
          this.#isPublishing = false;
          this.#native.release();
        }
      },
      { isPatient: true },
    );
  }

  async #publish() {
    if (!this.#leads() || !this.#isDirty) {
      return;
    }
    await this.#saying.catch(() => {}); // or it might overtake what is written here
    this.#isDirty = false;
    const lengths = this.#native.capture();
    if (!Array.isArray(lengths)) {
      return; // nothing is known yet
    }
    const [table, changes] = lengths;
    const id = randomBytes(8).toString('hex');
    const version = { id, table, changes, pieces: 0, ...this.#position };
    version.pieces = piecesOf(version);
    const states = this.#states();
    await this.#store.begin(id, version.pieces);
    for (let piece = 0; piece < version.pieces; piece++) {
      const from = piece * PIECE_BYTES;
      const text = this.#native.captured(from, Math.min(PIECE_BYTES, table + changes - from));
      if (text === null || this.#isStopped) {
        throw new Error('the members were replaced while they were written');
      }
      await this.#store.write(id, piece, text);
    }
    const before = this.#version;
    const rev = this.#newRev();
    const isSameLog = before !== null && before.epoch === version.epoch;
    await this.#store.publish(rev, writeState(version, states), isSameLog ? before.seq : 0);
    this.#version = version;
    this.#rev = rev;
    this.#keepAt = performance.now() + KEEP_MILLIS;
    if (before !== null) {
      await this.#store.retire(before.id, before.pieces);
    }
  }
}

/** What is put in place of a message that cannot be read: it is malformed. */
const NO_ENTRY = { cohort: { slot: 0 }, isIn: false, time: 0, prints: '-' };

module.exports = { Fleet };
