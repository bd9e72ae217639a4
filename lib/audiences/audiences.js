'use strict';

/**
 * The audiences that the application holds.
 *
 *     refresher --outcome--> cohort (its state) --> membership (what is known) <-- attributes(), has(), clients
 *     webhook --> receiver --changes-->
 */

const channels = require('../diagnostics.js');
const { createLog } = require('../log.js');
const { isPromise, reasonOf } = require('../reason.js');
const { readTimeout } = require('../wait.js');
const { AmplitudeSource } = require('./amplitude.js');
const { BehavioralSource } = require('./behavioral.js');
const { ChangesFiles } = require('./changes-files.js');
const { Clients } = require('./clients.js');
const { Cohort } = require('./cohort.js');
const { FileSource } = require('./files.js');
const { Fleet } = require('./fleet.js');
const { Machine } = require('./machine.js');
const { Membership } = require('./membership.js');
const { createNative, release } = require('./native.js');
const { Receiver } = require('./receiver.js');
const { Refresher } = require('./refresher.js');
const { pathBeside, refusalOf, snapshotPath } = require('./snapshot.js');
const { Webhook, resolveWebhook } = require('./webhook.js');

const DEFAULT_READY_MILLIS = 10_000;
const SOURCES = { amplitude: AmplitudeSource, behavioral: BehavioralSource, file: FileSource };

class Audiences {
  #options;
  #log;
  #source;
  #native;
  #cohorts;
  #membership;
  #refresher;
  #clients;
  #receiver = null; // once there is a webhook
  #fleet = null; // with a store
  #machine = null; // likewise
  #changesFiles = null; // with a snapshot, and without a store, which has all messages
  #told = new Map(); // cohort -> the state that was told
  #waiting = new Set(); // those that await ready()
  #closing = null;

  /** `silenceMillis` is how long a server may say nothing, and `pace` that of a fleet; tests are less patient. */
  constructor(options, { silenceMillis, pace } = {}) {
    this.#options = options;
    this.#log = createLog(options.logger, { level: options.logLevel });
    options.warnings.forEach((message) => this.#log.warn(message, message));
    const snapshot = snapshotPath(options, this.#log);
    this.#source = new SOURCES[options.source](options, this.#log, snapshot);
    this.#cohorts = options.cohorts.map((entry, slot) => new Cohort(entry, slot, options));
    const names = this.#cohorts.map((cohort) => this.#source.nameOf(cohort));
    const { native, words } = createNative(options, names, snapshot, silenceMillis);
    const attributes = this.#cohorts.map(({ attribute }) => attribute);
    this.#native = native;
    this.#membership = new Membership(native.find, words, attributes, () => this.#know());
    this.#clients = new Clients(this.#membership, attributes, this.#log);
    this.#refresher = new Refresher({
      native,
      source: this.#source,
      options,
      log: this.#log,
      onOutcome: (cohort, outcome) => this.#take(cohort, outcome),
      onMerge: () => this.#merge(),
    });
    if (options.snapshot !== null) {
      this.#restore();
    }
    if (options.store !== null) {
      this.#fleet = this.#join(names, pace);
    } else if (snapshot !== null) {
      const beside = pathBeside(snapshot, names);
      this.#changesFiles = new ChangesFiles(native, beside, this.#log);
      this.#resume();
      this.#machine = this.#shareWithMachine(snapshot, beside, pace);
    }
    const isHeld = this.#fleet !== null || this.#machine?.isHeld === true;
    this.#refresher.start(this.#cohorts, { isHeld });
    this.#fleet?.start();
    this.#machine?.start();
  }

  /** Share the members with other processes: one of them asks the source. */
  #join(names, pace) {
    this.#takeChanges();
    return new Fleet(
      {
        native: this.#native,
        refresher: this.#refresher,
        cohorts: this.#cohorts,
        names,
        options: this.#options,
        log: this.#log,
        pace,
      },
      {
        onFollow: (...args) => this.#follow('store', ...args),
        onMoved: (...args) => this.#move(...args),
        onChanged: (...args) => this.#change(...args),
      },
    );
  }

  /** Share the snapshot with other processes of the machine: one of them asks the source. */
  #shareWithMachine(snapshot, path, pace) {
    return new Machine(
      {
        native: this.#native,
        refresher: this.#refresher,
        cohorts: this.#cohorts,
        options: this.#options,
        snapshotPath: snapshot,
        path,
        log: this.#log,
        pace,
      },
      (...args) => this.#follow('snapshot', ...args),
    );
  }

  /** Start with the members of the last process. */
  #restore() {
    const restored = this.#native.restore(this.#cohorts.length);
    if (typeof restored === 'string') {
      const reason = refusalOf(restored);
      if (reason !== null) {
        this.#log.warn('restore', `the snapshot of cohorts is not used: ${reason}`);
      }
      return;
    }
    this.#cohorts.forEach((cohort, index) => restored[index] && cohort.restore(restored[index]));
    this.#know();
    queueMicrotask(() => this.#cohorts.forEach((cohort) => this.#tell(cohort, false, null)));
  }

  /** Go on with what messages told the processes before. */
  #resume() {
    if (!this.#changesFiles.isEmpty) {
      this.#takeChanges();
      this.#changesFiles.resume();
      const growth = this.#native.growth();
      this.#cohorts.forEach((cohort) => {
        cohort.size += cohort.isLoaded ? growth[cohort.slot] : 0;
      });
    }
  }

  has(userId, attribute) {
    return this.#membership.has(userId, attribute);
  }

  attributes(userId, attributes) {
    return this.#membership.add(userId, attributes);
  }

  attach(optimizelyClient) {
    this.#checkOpen('attach');
    return this.#clients.attach(optimizelyClient);
  }

  webhook(options) {
    this.#checkOpen('webhook');
    const resolved = resolveWebhook(options, this.#cohorts, this.#source.name);
    if (resolved.secret === null) {
      this.#log.warn(
        'open webhook',
        'whoever can reach the webhook can change the cohorts: give it a secret, webhook({ secret: ... })',
      );
    }
    const handler = new Webhook(resolved, {
      receiver: (this.#receiver ??= this.#receive()),
      native: this.#native,
      log: this.#log,
    });
    return (...args) => handler.call(...args);
  }

  ready(options) {
    const timeoutMillis = readTimeout(options?.timeoutMillis, DEFAULT_READY_MILLIS, this.#log);
    return new Promise((resolve) => {
      // It keeps the process alive, because something waits for it.
      const timer = setTimeout(() => settle(), timeoutMillis);
      const settle = () => {
        clearTimeout(timer);
        this.#waiting.delete(settle);
        resolve(this.status());
      };
      this.#waiting.add(settle);
      this.#settleIfReady();
    });
  }

  status() {
    const now = Date.now();
    const { users, bytes } = this.#native.stats();
    return {
      cohorts: Object.fromEntries(
        this.#cohorts.map((cohort) => [
          cohort.attribute,
          {
            cohortId: cohort.id,
            state: cohort.stateAt(now),
            size: cohort.size,
            lastModified: cohort.lastModified,
            ageMillis: cohort.ageAt(now),
            source: cohort.from ?? this.#source.name,
            bytes: cohort.bytes,
            lastError: cohort.lastError && { ...cohort.lastError },
          },
        ]),
      ),
      users,
      bytes,
      webhook: this.#receiver?.stats() ?? null,
      store: this.#fleet?.stats() ?? null,
      downloads: this.#source.downloadsAt?.(now) ?? null,
    };
  }

  close() {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #checkOpen(method) {
    if (this.#closing !== null) {
      throw Object.assign(new Error(`${method}() after close(): create new audiences`), {
        code: 'ERR_OA_CLOSED',
      });
    }
  }

  /** Have messages change the members from now on. */
  #receive() {
    this.#takeChanges();
    if (this.#fleet === null) {
      this.#log.info(
        'the webhook changes the members of this process only: others know of it when their source has it',
      );
    }
    return new Receiver({
      native: this.#native,
      refresher: this.#refresher,
      fleet: this.#fleet,
      log: this.#log,
      onMoved: (...args) => this.#move(...args),
      onChanged: (...args) => this.#change(...args),
    });
  }

  #takeChanges() {
    const status = this.#native.takeChanges();
    if (status !== 'ok') {
      throw Object.assign(new Error(`no memory for the messages of a webhook (${status})`), {
        code: 'ERR_OA_NATIVE',
      });
    }
  }

  /** Take what a part of a message has moved. */
  #move(cohort, moved, time) {
    cohort.change(moved, time, Date.now());
    this.#know();
    this.#changesFiles?.touch();
  }

  /** Take what the process says that asks the source; `size` with its members, undefined without. */
  #follow(from, cohort, state, size) {
    const { size: previousSize, lastModified } = cohort;
    cohort.follow(state, size, from);
    this.#know();
    if (size !== undefined && cohort.isLoaded) {
      this.#report(cohort, { kind: 'loaded' }, from);
    }
    const isOther =
      size !== undefined && (size !== previousSize || cohort.lastModified !== lastModified);
    this.#tell(cohort, isOther && cohort.isLoaded, previousSize);
    this.#settleIfReady();
  }

  /** Tell what a message has changed. */
  #change(cohort, outcome, previousSize) {
    this.#report(cohort, outcome, 'webhook');
    const isOther = cohort.isLoaded && outcome.entered + outcome.left > 0;
    this.#tell(cohort, isOther, previousSize);
  }

  /** Merge what messages have changed. What they change meanwhile is counted; the rest is counted by the merge. */
  async #merge() {
    for (let isAll = false; !isAll && this.#closing === null;) {
      const sizes = this.#cohorts.map((cohort) => cohort.size);
      const report = await this.#native.merge();
      if (this.#closing !== null) {
        return;
      }
      if (report.end !== 'loaded') {
        throw new Error(report.message || report.end);
      }
      this.#warnOfSnapshot(report);
      isAll = report.isAll;
      this.#fleet?.changed(true);
      this.#machine?.changed(report);
      this.#cohorts.forEach((cohort, slot) => {
        if (isAll && cohort.isLoaded) {
          cohort.size += this.#native.members(slot) - sizes[slot];
        }
      });
    }
  }

  /** Take the outcome of a refresh. */
  #take(cohort, outcome) {
    const previousSize = cohort.size;
    cohort.take(outcome, Date.now());
    this.#know();
    this.#report(cohort, outcome);
    const { entered = 0, left = 0 } = outcome;
    const isOther = outcome.kind === 'loaded' && entered + left > 0;
    this.#cohorts.forEach((each) => this.#tell(each, each === cohort && isOther, previousSize));
    this.#settleIfReady();
    this.#fleet?.changed(outcome.kind === 'loaded');
    this.#machine?.changed(outcome);
  }

  /** Tell the membership of which cohorts the members are known, and until when. */
  #know() {
    if (this.#closing !== null) {
      return; // and nothing is known
    }
    const now = Date.now();
    for (const cohort of this.#cohorts) {
      this.#membership.setKnown(cohort.attribute, cohort.isKnownAt(now));
    }
    this.#membership.expiresAt = Math.min(
      ...this.#cohorts.filter((each) => each.isKnownAt(now)).map(({ expiresAt }) => expiresAt),
    );
  }

  /** Publish what a refresh came to, and log what went wrong. */
  #report(cohort, outcome, source = this.#source.name) {
    const { attribute, id: cohortId } = cohort;
    const { kind, message = '', statusCode = 0, size, bytes = 0, durationMillis = 0 } = outcome;
    const state = cohort.stateAt(Date.now());
    channels.cohort.publish({
      attribute,
      cohortId,
      source,
      outcome: kind,
      state,
      statusCode,
      size: cohort.size,
      bytes,
      durationMillis,
      message,
    });
    const name = `cohort ${cohortId} of attribute '${attribute}'`;
    if (kind === 'failed' || kind === 'refused') {
      this.#log.warn(`failed ${attribute}`, `${name}: ${message}; ${this.#consequence(cohort)}`);
    } else if (kind === 'held') {
      this.#log.warn(
        `held ${attribute}`,
        `${name}: it has ${size} members now, and had ${cohort.size}: those are kept until it has more again, ` +
          'or staleAfterMillis are over',
      );
    } else if (this.#log.debugEnabled) {
      this.#log.debug(`${name}: ${kind}, ${cohort.size} members, ${bytes} bytes`);
    }
    this.#warnOfSnapshot(outcome);
    if (outcome.skipped > 0) {
      this.#log.warn(
        `skipped ${attribute}`,
        `${name}: ${outcome.skipped} of its ids are empty, or too long for an id, and are left out`,
      );
    }
  }

  #warnOfSnapshot({ snapshotError }) {
    if (snapshotError) {
      this.#log.warn('keep', `the snapshot cannot be written: ${snapshotError}`);
    }
  }

  #consequence(cohort) {
    if (!cohort.isKnownAt(Date.now())) {
      return 'the attribute is left out until the cohort is loaded';
    }
    return `its members of ${Math.round(cohort.ageAt(Date.now()) / 1000)} s ago are used`;
  }

  /** Tell of a cohort that is in another state, or has other members. */
  #tell(cohort, hasOtherMembers, previousSize) {
    const state = cohort.stateAt(Date.now());
    const previousState = this.#told.get(cohort) ?? 'loading';
    if (state === previousState && !hasOtherMembers) {
      return;
    }
    this.#told.set(cohort, state);
    const { attribute, id: cohortId, size } = cohort;
    if (state === 'stale' || state === 'expired') {
      const consequence =
        state === 'stale' ? 'they are still used' : 'the attribute is left out until it is loaded';
      this.#log.warn(
        `${state} ${attribute}`,
        `cohort ${cohortId} of attribute '${attribute}': its members are ` +
          `${Math.round(cohort.ageAt(Date.now()) / 1000)} s old; ${consequence}`,
      );
    }
    try {
      isPromise(
        this.#options.onChange?.({
          attribute,
          cohortId,
          state,
          previousState,
          size,
          previousSize: hasOtherMembers ? previousSize : size,
        }),
      );
    } catch (error) {
      this.#log.error('onChange', `onChange threw: ${reasonOf(error)}`);
    }
  }

  /** Ready means that nothing is still to come: each cohort is loaded or refused, or all is closed. */
  #settleIfReady() {
    const now = Date.now();
    const isReady = this.#cohorts.every((cohort) => cohort.stateAt(now) !== 'loading');
    if (isReady || this.#closing !== null) {
      this.#waiting.forEach((settle) => settle());
    }
  }

  async #close() {
    this.#clients.close();
    this.#membership.forgetAll();
    if (this.#receiver !== null) {
      this.#receiver.isOpen = false;
    }
    this.#fleet?.end();
    await this.#refresher.stop();
    await this.#fleet?.ended();
    await this.#machine?.stop();
    await this.#changesFiles?.close();
    this.#waiting.forEach((settle) => settle());
    release(this.#native);
  }
}

/** `await using`, where it exists: since Node 18.18. */
if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(Audiences.prototype, Symbol.asyncDispose, {
    async value() {
      await this.close();
    },
    configurable: true,
    writable: true,
  });
}

module.exports = { Audiences };
