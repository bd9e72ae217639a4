'use strict';

/**
 * The dispatcher that the application holds: a thin shim over the native one. It reads what the
 * listener is given, at once and without throwing, and hands flat values to the addon.
 */

const { redact } = require('./addon-handlers.js');
const channels = require('./diagnostics.js');
const lifecycle = require('./lifecycle.js');
const { createLog } = require('./log.js');
const { createNative } = require('./native.js');
const { IGNORED, INVALID, STATUS, describeOutcome, outcomeOf } = require('./outcomes.js');
const { reasonOf } = require('./reason.js');
const { register } = require('./sdk/notifications.js');
const { VariantIds, checkDecision } = require('./sdk/variants.js');
const { readWait } = require('./wait.js');

const NOTHING = Object.freeze({ delivered: 0, dropped: 0, pending: 0, durationMillis: 0 });

class Dispatcher {
  #native;
  #record;
  #options;
  #log;
  #variants;
  #wantsFlags;
  #legacy; // reads the decisions of the older APIs that are wanted; null: none is
  #userCallbacks; // null: no option makes the long way necessary
  #isTraced; // whether the log wants every decision
  #clients = new Map(); // client -> { registration, detach }
  #closing = null;
  #ignored = 0;
  #invalid = 0;

  constructor(options) {
    this.#options = options;
    this.#log = createLog(options.logger);
    this.#native = createNative(options, this.#log);
    this.#record = this.#native.record;
    this.#isTraced = this.#log.debugEnabled;
    this.#variants = new VariantIds(this.#native);
    this.#wantsFlags = options.decisionTypes.includes('flag');
    this.#legacy = createLegacy(options);
    this.#userCallbacks = createUserCallbacks(options, this.#log, this.#record);
    // Bound, since it is handed to notification centres.
    this.onDecision = (notification) => this.#decide(notification, null);
    lifecycle.add(this, this.#native, {
      log: this.#log,
      timeoutMillis: options.flushTimeoutMillis,
    });
    warnOfUrl(options.serverUrl, this.#log);
  }

  attach(optimizelyClient) {
    const known = this.#clients.get(optimizelyClient);
    if (known !== undefined) {
      known.registration.renew();
      return known.detach;
    }
    if (this.#closing !== null) {
      throw Object.assign(new Error('attach() after close(): create a new dispatcher'), {
        code: 'ERR_OA_CLOSED',
      });
    }
    const rules =
      this.#userCallbacks === null ? null : this.#userCallbacks.rulesOf(optimizelyClient);
    const registration = register(optimizelyClient, (notification) =>
      this.#decide(notification, rules),
    );
    const detach = () => {
      if (this.#clients.get(optimizelyClient)?.detach === detach) {
        this.#clients.delete(optimizelyClient);
        this.#quietly(registration.remove);
        this.#quietly(() => rules?.close());
      }
    };
    this.#clients.set(optimizelyClient, { registration, detach });
    this.#log.debug('attached: listening to the decisions of an Optimizely client');
    return detach;
  }

  /** Whatever a client throws, detach() and close() go on. */
  #quietly(action) {
    try {
      action();
    } catch (error) {
      this.#log.warn('detach', `a client cannot be detached: ${reasonOf(error)}`);
    }
  }

  flush(options) {
    const { timeoutMillis, abort } = this.#readWait(options);
    if (this.#native.stats().pending === 0) {
      return Promise.resolve({ ...NOTHING });
    }
    return this.#native.flush(timeoutMillis, abort).catch((error) => this.#unreported(error));
  }

  close(options) {
    const { timeoutMillis } = this.#readWait(options);
    if (this.#closing === null) {
      for (const { detach } of [...this.#clients.values()]) {
        detach();
      }
      this.#closing = this.#native
        .close(timeoutMillis)
        .catch((error) => this.#unreported(error))
        .finally(() => lifecycle.remove(this.#native));
    }
    return this.#closing;
  }

  stats() {
    const native = this.#native.stats();
    const total = Object.values(native.dropped).reduce((sum, count) => sum + count, 0);
    return {
      decisions: {
        seen: this.#ignored + this.#invalid + native.deduplicated + native.accepted,
        ignored: this.#ignored,
        invalid: this.#invalid,
        deduplicated: native.deduplicated,
        accepted: native.accepted,
        delivered: native.delivered,
        pending: native.pending,
        dropped: { total, ...native.dropped },
      },
      requests: {
        sent: native.requestsSent,
        retried: native.requestsRetried,
        failed: native.requestsFailed,
        bytes: native.requestBytes,
      },
      events: { sent: native.eventsSent },
      queue: { bytes: native.queueBytes, highWaterBytes: native.queueHighWaterBytes },
      lastError: native.lastError && {
        ...native.lastError,
        message: redact(native.lastError.message, this.#options.apiKey),
      },
    };
  }

  setOptOut(optOut) {
    if (typeof optOut !== 'boolean') {
      throw Object.assign(
        new TypeError(`setOptOut() expects true or false, got ${typeof optOut}`),
        { code: 'ERR_OA_OPTION' },
      );
    }
    this.#native.setOptOut(optOut);
  }

  /** The listener. Whatever happens in it, the caller's decide() goes on. */
  #decide(notification, rules) {
    try {
      const type = notification.type;
      const isFlag = type === 'flag';
      if (isFlag ? !this.#wantsFlags : !this.#wantsLegacy(type)) {
        this.#conclude(IGNORED, notification, null);
        return;
      }
      const decision = isFlag ? notification.decisionInfo : this.#legacy.read(notification);
      this.#conclude(this.#give(decision, notification, rules), notification, decision);
    } catch (error) {
      this.#invalid++;
      this.#log.warn('notification', `a decision is not sent: ${reasonOf(error)}`);
    }
  }

  /** Give a decision to the addon, and return its status. */
  #give(decision, notification, rules) {
    const id = this.#variants.get(decision);
    if (id < 0) {
      return this.#refuse(decision);
    }
    return this.#userCallbacks === null
      ? this.#record(id, notification.userId)
      : this.#userCallbacks.record(id, decision, notification, rules);
  }

  /** Small, so that it is inlined: a usual status ends here when nothing watches. */
  #conclude(status, notification, decision) {
    if (status !== STATUS.ok && status !== STATUS.repeat) {
      this.#count(status);
    }
    if (this.#isTraced || channels.decision.hasSubscribers) {
      this.#tell(status, notification, decision);
    }
  }

  /** Tell the log and the channel. The decision is counted already, so nothing depends on this. */
  #tell(status, notification, decision) {
    try {
      const outcome = outcomeOf(status);
      const { type, userId } = notification;
      const { flagKey, variationKey, ruleKey, enabled } =
        decision ?? notification.decisionInfo ?? {};
      if (this.#isTraced) {
        this.#log.debug(
          `decision (${type}) of ${userId} on ${flagKey} = ${variationKey}: ${describeOutcome(outcome).message}`,
        );
      }
      channels.decision.publish({ type, userId, flagKey, variationKey, ruleKey, enabled, outcome });
    } catch {
      // A notification that cannot be read a second time is told to none.
    }
  }

  #wantsLegacy(type) {
    if (typeof type !== 'string') {
      throw new Error('it has no type, so it is no notification of the SDK');
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
      case IGNORED:
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

  /** Memory ran out for the bookkeeping of a flush: nothing is lost, and nothing is known. */
  #unreported(error) {
    this.#log.error('flush', `flush: ${error.message}`);
    return { ...NOTHING, pending: this.#native.stats().pending };
  }
}

/** Loaded only where decisionTypes names one of the older APIs. */
function createLegacy({ decisionTypes }) {
  const types = new Set(decisionTypes);
  types.delete('flag');
  return types.size === 0 ? null : { types, read: require('./sdk/legacy.js').readLegacyDecision };
}

/** Loaded only where a callback, or a filter, makes the long way necessary. */
function createUserCallbacks(options, log, record) {
  const { resolveUser, eventProperties, userProperties, includeRollouts } = options;
  if (
    resolveUser === null &&
    eventProperties === null &&
    userProperties === null &&
    includeRollouts
  ) {
    return null;
  }
  const { UserCallbacks } = require('./user-callbacks.js');
  return new UserCallbacks(options, log, record, IGNORED);
}

function warnOfUrl(serverUrl, log) {
  const { protocol, hostname, pathname } = new URL(serverUrl);
  if (pathname === '/') {
    log.warn(
      'path',
      'serverUrl: it has no path, and is posted to as it is; Amplitude listens at /2/httpapi and /batch',
    );
  }
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
