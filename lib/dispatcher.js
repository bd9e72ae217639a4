'use strict';

/**
 * The dispatcher that the application holds. Its listener reads a notification at once and without throwing, and
 * gives flat values to the native dispatcher, which does everything else.
 */

const { redact } = require('./addon-handlers.js');
const { boolean, isObject, optionError, resolveTable } = require('./checks.js');
const channels = require('./diagnostics.js');
const lifecycle = require('./lifecycle.js');
const { createLog } = require('./log.js');
const { createNative } = require('./native.js');
const {
  IGNORED,
  INVALID,
  STATUS,
  STATUS_BITS,
  describeOutcome,
  describeStatus,
  leftOutOf,
  outcomeOf,
} = require('./outcomes.js');
const { reasonOf } = require('./reason.js');
const { Clients } = require('./sdk/clients.js');
const { isUnready } = require('./sdk/config.js');
const { register } = require('./sdk/notifications.js');
const { VariantIds, checkDecision } = require('./sdk/variants.js');
const { SETTINGS } = require('./settings.js');
const { readWait } = require('./wait.js');

const NOTHING_LEFT_OUT = Object.freeze({ fields: 0, properties: 0, events: 0 });
const NOTHING_REFUSED = Object.freeze({ ignored: 0, invalid: 0 });
const NOTHING = Object.freeze({ delivered: 0, dropped: 0, pending: 0, durationMillis: 0 });

class Dispatcher {
  #native;
  #record;
  #options;
  #log;
  #variants;
  #wantsFlags;
  #legacy; // reads decisions of the older APIs; null when none of their types is wanted
  #beforeSend; // null without the option
  #userCallbacks; // null when no option needs them
  #tracked = null; // the application's own events, once there is one
  #isTraced; // whether each decision is logged
  #clients;
  #toldUnready = false;
  #store; // of exposures, shared by a fleet; null without one
  #closing = null;
  #ignored = 0;
  #invalid = 0;
  #leftOutIds = 0;

  constructor(options) {
    this.#options = options;
    this.#log = createLog(options.logger, { level: options.logLevel });
    this.#clients = new Clients(this.#log);
    this.#store = createFleetStore(options, this.#log);
    this.#native = createNative(this, options, this.#log, this.#store);
    this.#record = this.#native.record;
    this.#isTraced = this.#log.debugEnabled;
    this.#variants = new VariantIds(this.#native);
    this.#wantsFlags = options.decisionTypes.includes('flag');
    this.#legacy = createLegacy(options);
    this.#beforeSend = createBeforeSend(options);
    this.#userCallbacks = createUserCallbacks(options, this.#log, this.#record, this.#beforeSend);
    // Bound, because it is given to notification centres.
    this.onDecision = (notification) => this.#decide(notification, null);
    lifecycle.add(this, this.#native, {
      log: this.#log,
      timeoutMillis: options.flushTimeoutMillis,
    });
    options.warnings.forEach((message) => this.#log.warn(message, message));
    warnOfUrl(options.serverUrl, this.#log);
  }

  /** What a dispatcher shares with what acts for it in this package. Throws for anything else. */
  static settingsOf(dispatcher) {
    if (typeof dispatcher !== 'object' || dispatcher === null || !(#options in dispatcher)) {
      throw Object.assign(
        new TypeError('closeOnSignal() expects a dispatcher, as createDispatcher() returns it'),
        { code: 'ERR_OA_OPTION' },
      );
    }
    return dispatcher[SETTINGS];
  }

  get [SETTINGS]() {
    return { log: this.#log, timeoutMillis: this.#options.flushTimeoutMillis };
  }

  attach(optimizelyClient) {
    const known = this.#clients.renew(optimizelyClient);
    if (known !== undefined) {
      return known;
    }
    if (this.#closing !== null) {
      throw Object.assign(new Error('attach() after close(): create a new dispatcher'), {
        code: 'ERR_OA_CLOSED',
      });
    }
    const rules =
      this.#userCallbacks === null ? null : this.#userCallbacks.rulesOf(optimizelyClient);
    const attachment = { client: optimizelyClient, rules, registration: null };
    attachment.registration = register(
      optimizelyClient,
      (notification) => this.#decide(notification, attachment.rules),
      rules && (() => rules.prepare()),
    );
    rules?.prepare();
    this.#log.debug('attached: listening to the decisions of an Optimizely client');
    return this.#clients.add(attachment);
  }

  /**
   * Warn once that a client has no datafile when decisions were to be delivered and none has come. Its decisions send
   * no notification, so this is the only sign of a function that does not await onReady().
   */
  #warnOfUnready() {
    if (!this.#toldUnready && this.stats().decisions.seen === 0 && this.#clients.some(isUnready)) {
      this.#toldUnready = true;
      this.#log.warn(
        'unready',
        'no decision has come, and the Optimizely client has no datafile yet: until it has one, decide() returns no ' +
          'variation and sends no notification; await optimizely.onReady() before the first decision',
      );
    }
  }

  flush(options) {
    const { timeoutMillis, abort } = this.#readWait(options);
    if (this.#native.stats().pending === 0) {
      this.#warnOfUnready();
      return Promise.resolve({ ...NOTHING });
    }
    return this.#native.flush(timeoutMillis, abort).catch((error) => this.#unreported(error));
  }

  close(options) {
    const { timeoutMillis } = this.#readWait(options);
    if (this.#closing === null) {
      this.#warnOfUnready();
      this.#clients.detachAll();
      this.#closing = this.#native
        .close(timeoutMillis)
        .catch((error) => this.#unreported(error))
        .finally(() => lifecycle.remove(this.#native));
    }
    return this.#closing;
  }

  /**
   * Send an event of the application's own, such as `track('Purchase', { amount: 5 }, { user_id })`, in the same queue as
   * decisions. Never throws.
   */
  track(input, eventProperties, eventOptions) {
    this.#ownEvents().track(input, eventProperties, eventOptions);
  }

  /** Set properties of a user: `identify({ plan: 'pro' }, { user_id })`, or with an Identify of Amplitude's SDK. */
  identify(identify, eventOptions) {
    this.#ownEvents().identify(identify, eventOptions);
  }

  #ownEvents() {
    if (this.#tracked === null) {
      const { Tracked } = require('./tracked.js');
      this.#tracked = new Tracked(this.#options, this.#log, this.#native.track, this.#beforeSend);
    }
    return this.#tracked;
  }

  stats() {
    const native = this.#native.stats();
    const { tracked } = native; // a part of the counts, which are those of decisions and events
    const decisions = {
      accepted: native.accepted - tracked.accepted,
      delivered: native.delivered - tracked.delivered,
      pending: native.pending - tracked.pending,
      dropped: Object.fromEntries(
        Object.entries(native.dropped).map(([reason, count]) => [
          reason,
          count - tracked.dropped[reason],
        ]),
      ),
    };
    const { ignored, invalid } = this.#tracked?.counts ?? NOTHING_REFUSED;
    const leftOut = this.#userCallbacks?.leftOut ?? NOTHING_LEFT_OUT;
    return {
      decisions: {
        seen: this.#ignored + this.#invalid + native.deduplicated + decisions.accepted,
        ignored: this.#ignored,
        invalid: this.#invalid,
        deduplicated: native.deduplicated,
        accepted: decisions.accepted,
        delivered: decisions.delivered,
        pending: decisions.pending,
        dropped: withTotal(decisions.dropped),
      },
      tracked: {
        seen: ignored + invalid + tracked.accepted,
        ignored,
        invalid,
        accepted: tracked.accepted,
        delivered: tracked.delivered,
        pending: tracked.pending,
        dropped: withTotal(tracked.dropped),
      },
      leftOut: {
        ...leftOut,
        ids: this.#leftOutIds + (this.#tracked?.leftOut.ids ?? 0),
        fields: leftOut.fields + (this.#tracked?.leftOut.fields ?? 0),
      },
      requests: {
        sent: native.requestsSent,
        retried: native.requestsRetried,
        failed: native.requestsFailed,
        bytes: native.requestBytes,
      },
      events: { sent: native.eventsSent },
      store: this.#store && {
        ...this.#store.stats,
        repeats: native.lateRepeats,
        conflicts: native.storeConflicts,
      },
      spool: this.#options.spool && native.spool,
      queue: { bytes: native.queueBytes, highWaterBytes: native.queueHighWaterBytes },
      lastError: native.lastError && {
        ...native.lastError,
        message: redact(native.lastError.message, this.#options.apiKey),
      },
      health: native.health,
      failuresInARow: native.failuresInARow,
      failingSince: native.failingSince,
      oldestPendingMillis: native.oldestPendingMillis,
    };
  }

  setOptOut(optOut, options) {
    if (typeof optOut !== 'boolean') {
      throw Object.assign(
        new TypeError(`setOptOut() expects true or false, got ${typeof optOut}`),
        { code: 'ERR_OA_OPTION' },
      );
    }
    this.#native.setOptOut(optOut, readPurge(options));
  }

  /** The listener. An error in it must not reach the caller of decide(). */
  #decide(notification, rules) {
    try {
      const type = notification.type;
      const isFlag = type === 'flag';
      if (isFlag ? !this.#wantsFlags : !this.#wantsLegacy(type)) {
        this.#conclude(IGNORED.decisionTypes, notification, null);
        return;
      }
      const decision = isFlag ? notification.decisionInfo : this.#legacy.read(notification);
      this.#conclude(this.#give(decision, notification, rules), notification, decision);
    } catch (error) {
      this.#invalid++;
      this.#log.warn('notification', `a decision is not sent: ${reasonOf(error)}`);
    }
  }

  /** Pass a decision to the addon, and return its result. */
  #give(decision, notification, rules) {
    const id = this.#variants.get(decision);
    if (id < 0) {
      return this.#refuse(decision);
    }
    return this.#userCallbacks === null
      ? this.#record(id, notification.userId)
      : this.#userCallbacks.record(id, decision, notification, rules);
  }

  /** Small, so that it is inlined: a usual status ends here unless something watches. */
  #conclude(result, notification, decision) {
    const status = result > STATUS_BITS ? this.#noteLeftOut(result) : result;
    if (status !== STATUS.ok && status !== STATUS.repeat) {
      this.#count(status);
    }
    if (this.#isTraced || channels.decision.hasSubscribers) {
      this.#tell(status, notification, decision);
    }
  }

  /** Report to the log and the channel. The decision is counted already, so nothing depends on this. */
  #tell(status, notification, decision) {
    try {
      const outcome = outcomeOf(status);
      const { type, userId } = notification;
      const { flagKey, variationKey, ruleKey, enabled } = decision ?? readIgnored(notification);
      if (this.#isTraced) {
        this.#log.debug(
          `decision (${type}) of ${userId} on ${flagKey} = ${variationKey}: ${describeStatus(status)}`,
        );
      }
      channels.decision.publish({ type, userId, flagKey, variationKey, ruleKey, enabled, outcome });
    } catch {
      // The notification cannot be read a second time.
    }
  }

  /** Count and log an id that was left out of a decision, whose status is returned. */
  #noteLeftOut(result) {
    const { name, outcome } = leftOutOf(result);
    const { message, advice } = describeOutcome(outcome);
    this.#leftOutIds++;
    this.#log.warn(
      `${name} ${outcome}`,
      `a ${name} is left out, and the decision goes with the other id: ${message} (${advice})`,
    );
    return result & STATUS_BITS;
  }

  #wantsLegacy(type) {
    if (typeof type !== 'string') {
      throw new Error('it has no type, so it is not a notification of the SDK');
    }
    return this.#legacy !== null && this.#legacy.types.has(type);
  }

  #refuse(decision) {
    const fault = checkDecision(decision);
    this.#log.warn(fault, `a decision is not sent: ${fault}`);
    return INVALID;
  }

  /** Count a status that is neither ok nor repeat, and log why. The addon counts what it drops. */
  #count(status) {
    switch (status) {
      case IGNORED.decisionTypes:
      case IGNORED.resolveUser:
      case IGNORED.beforeSend:
      case IGNORED.send:
        this.#ignored++;
        return;
      case INVALID: // #refuse() has logged the reason
        this.#invalid++;
        return;
      case STATUS.opted_out:
        return;
    }
    const outcome = outcomeOf(status);
    const { message, advice } = describeOutcome(outcome);
    if (status === STATUS.queue_full || status === STATUS.closed) {
      this.#log.warn(outcome, `a decision is dropped: ${message}`);
      return;
    }
    this.#invalid++;
    const remedy = advice === undefined ? '' : ` (${advice})`;
    this.#log.warn(outcome, `a decision is not sent: ${message}${remedy}`);
  }

  #readWait(options) {
    return readWait(options, this.#options.flushTimeoutMillis, this.#log);
  }

  /** The report of a flush that failed for lack of memory: nothing is lost, and everything may be pending. */
  #unreported(error) {
    this.#log.error('flush', `flush: ${error.message}`);
    return { ...NOTHING, pending: this.#native.stats().pending };
  }
}

/** `await using`, where it exists: since Node 18.18. */
if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(Dispatcher.prototype, Symbol.asyncDispose, {
    async value() {
      await this.close();
    },
    configurable: true,
    writable: true,
  });
}

/** Add the sum of the reasons. */
function withTotal(reasons) {
  const total = Object.values(reasons).reduce((sum, count) => sum + count, 0);
  return { total, ...reasons };
}

/** Loaded only when there is one. */
function createFleetStore({ dedupe }, log) {
  return dedupe?.store ? require('./store.js').createStore(dedupe.store, log) : null;
}

/** Loaded only when decisionTypes names one of the older APIs. */
function createLegacy({ decisionTypes }) {
  const types = new Set(decisionTypes);
  types.delete('flag');
  return types.size === 0 ? null : { types, read: require('./sdk/legacy.js').readLegacyDecision };
}

/** The decision of a notification that is only reported: its type is not one that `decisionTypes` names. */
function readIgnored(notification) {
  const { type, decisionInfo } = notification;
  if (type === 'flag' || typeof decisionInfo !== 'object' || decisionInfo === null) {
    return decisionInfo ?? {};
  }
  return require('./sdk/legacy.js').readLegacyDecision(notification);
}

/** Loaded only when an option needs a callback or the kind of rule. */
function createUserCallbacks(options, log, record, beforeSend) {
  const { resolveUser, eventProperties, userProperties, send } = options;
  if (
    resolveUser === null &&
    eventProperties === null &&
    userProperties === null &&
    beforeSend === null &&
    send === 'all'
  ) {
    return null;
  }
  const { UserCallbacks } = require('./user-callbacks.js');
  return new UserCallbacks(options, log, record, beforeSend, IGNORED);
}

/** Loaded only when the option is given. */
function createBeforeSend(options) {
  if (options.beforeSend === null) {
    return null;
  }
  const { BeforeSend } = require('./before-send.js');
  return new BeforeSend(options);
}

/** Whether setOptOut() is also to delete what is not sent. */
function readPurge(options = {}) {
  if (!isObject(options)) {
    throw optionError('setOptOut() expects { purge } as its second argument');
  }
  return resolveTable({ purge: { check: boolean, default: false } }, options).purge;
}

function warnOfUrl(serverUrl, log) {
  const { protocol, hostname } = new URL(serverUrl);
  const isLoopback =
    hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
  if (protocol === 'http:' && !isLoopback) {
    log.warn(
      'http',
      `serverUrl: decisions and the API key go to ${hostname} unencrypted; use https`,
    );
  }
}

module.exports = { Dispatcher };
