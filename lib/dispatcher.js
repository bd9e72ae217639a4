'use strict';

/**
 * The dispatcher that the application holds: a thin shim over the native one. It reads what the
 * listener is given, at once and without throwing, and hands flat values to the addon.
 */

const binding = require('./binding.js');
const { version } = require('../package.json');
const { isUnready, register } = require('./sdk/notifications.js');
const channels = require('./diagnostics.js');
const lifecycle = require('./lifecycle.js');
const { createLog } = require('./log.js');
const { reasonOf } = require('./reason.js');
const { TemplateIds, checkDecision } = require('./sdk/variants.js');
const { createHandlers, redact } = require('./addon-handlers.js');

const STATUS = Object.freeze(
  Object.fromEntries(binding.statusNames.map((name, code) => [name, code])),
);
const LIBRARY = `optimizely-amplitude/${version}`;
const NOTHING = Object.freeze({ delivered: 0, dropped: 0, pending: 0, durationMillis: 0 });
const MAX_TIMER_MILLIS = 2 ** 31 - 1;

/** What became of a decision, in words. */
const OUTCOMES = {
  queued: 'queued',
  repeat: 'suppressed, since it was sent in this window already',
  ignored: 'ignored, because of decisionTypes, resolveUser or includeRollouts',
  invalid: 'not sent, since it is not complete',
};

/** What a decision came to without being given to the addon; as statuses, which are never negative. */
const IGNORED = -1;
const INVALID = -2;

/** What to do about an id that Amplitude would refuse, by the status that the addon gives. */
const ID_ADVICE = {
  id_missing: 'pass a user id to createUserContext(), or map it with the option resolveUser',
  id_too_short: 'use longer ids, or lower the option minIdLength; Amplitude removes shorter ones',
  id_too_long: 'Amplitude cuts ids at 1024 characters, which would merge users',
  id_forbidden:
    'Amplitude refuses ids such as "anonymous" or "null": give each visitor an id, or return null from resolveUser',
  id_malformed: 'it is not valid Unicode',
};

class Dispatcher {
  #native;
  #record;
  #options;
  #log;
  #templates;
  #wantsFlags;
  #legacy; // reads the decisions of the older APIs that are wanted; null: none is
  #callbacks; // null: no option makes the long way necessary
  #isTraced; // whether the log wants every decision
  #clients = new Map(); // client -> { registration, detach }
  #toldUnready = false;
  #closing = null;
  #ignored = 0;
  #invalid = 0;

  constructor(options) {
    this.#options = options;
    this.#log = createLog(options.logger);
    this.#native = createNative(options, this.#log);
    this.#record = this.#native.record;
    this.#isTraced = this.#log.debugEnabled;
    this.#templates = new TemplateIds(this.#native);
    this.#wantsFlags = options.decisionTypes.includes('flag');
    this.#legacy = createLegacy(options);
    this.#callbacks = createCallbacks(options, this.#log);
    // Bound, since it is handed to notification centres.
    this.onDecision = (notification) => this.#decide(notification, null);
    lifecycle.add(this, this.#native, {
      log: this.#log,
      timeoutMillis: options.flushTimeoutMillis,
    });
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
    return {
      log: dispatcher.#log,
      timeoutMillis: dispatcher.#options.flushTimeoutMillis,
    };
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
    const rules = this.#callbacks === null ? null : this.#callbacks.rulesOf(optimizelyClient);
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
      this.#log.warn('detach', `a client could not be let go of: ${reasonOf(error)}`);
    }
  }

  /**
   * Say once that a client has no datafile when decisions were to be delivered and none has come. What it decided is
   * notified to nobody, so this is the only trace of a function that does not await onReady().
   */
  #warnOfUnready() {
    if (
      !this.#toldUnready &&
      this.stats().decisions.seen === 0 &&
      [...this.#clients.keys()].some(isUnready)
    ) {
      this.#toldUnready = true;
      this.#log.warn(
        'unready',
        'no decision has come, and the Optimizely client has no datafile yet: until it has, decide() returns null ' +
          'and notifies nobody; await optimizely.onReady() before the first decision',
      );
    }
  }

  flush(options) {
    const { timeoutMillis, abort } = this.#readWait(options);
    if (this.#native.stats().pending === 0) {
      this.#warnOfUnready();
      return Promise.resolve({ ...NOTHING });
    }
    return this.#native
      .flush(this.#timeout(timeoutMillis), abort === true)
      .catch((error) => this.#unreported(error));
  }

  close(options) {
    const { timeoutMillis } = this.#readWait(options);
    if (this.#closing === null) {
      this.#warnOfUnready();
      for (const { detach } of [...this.#clients.values()]) {
        detach();
      }
      this.#closing = this.#native
        .close(this.#timeout(timeoutMillis))
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
        this.#explain(IGNORED);
        this.#trace(IGNORED, notification, null);
        return;
      }
      const decision = isFlag ? notification.decisionInfo : this.#legacy.read(notification);
      const id = this.#templates.get(decision);
      const status =
        id < 0
          ? this.#refuse(decision)
          : this.#callbacks === null
            ? this.#record(id, notification.userId)
            : this.#callbacks.record(this.#record, IGNORED, id, decision, notification, rules);
      if (status !== STATUS.ok && status !== STATUS.repeat) {
        this.#explain(status);
      }
      this.#trace(status, notification, decision);
    } catch (error) {
      this.#invalid++;
      this.#log.warn('notification', `a decision is not sent: ${reasonOf(error)}`);
    }
  }

  /** Tell whoever watches what became of a decision. Small, so that it is inlined where nobody does. */
  #trace(status, notification, decision) {
    if (this.#isTraced || channels.decision.hasSubscribers) {
      this.#tell(status, notification, decision);
    }
  }

  /** It is counted already, so a notification that cannot be read a second time changes nothing. */
  #tell(status, notification, decision) {
    try {
      const { type, userId } = notification;
      const { flagKey, variationKey, ruleKey, enabled } =
        decision ?? notification.decisionInfo ?? {};
      const outcome =
        status === IGNORED
          ? 'ignored'
          : status === INVALID
            ? 'invalid'
            : status === STATUS.ok
              ? 'queued'
              : binding.statusNames[status];
      if (this.#isTraced) {
        this.#log.debug(
          `decision (${type}) of ${userId} on ${flagKey} = ${variationKey}: ${OUTCOMES[outcome] ?? binding.statusMessages[status]}`,
        );
      }
      channels.decision.publish({ type, userId, flagKey, variationKey, ruleKey, enabled, outcome });
    } catch {
      // Whoever watches misses one.
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

  /** Count a status that is neither ok nor repeat, and say why. Drops are counted by the addon. */
  #explain(status) {
    if (status === IGNORED) {
      this.#ignored++;
      return;
    }
    if (status === INVALID) {
      this.#invalid++;
      return;
    }
    const name = binding.statusNames[status];
    const message = binding.statusMessages[status];
    if (status === STATUS.opted_out) {
      return;
    }
    if (status === STATUS.queue_full || status === STATUS.closed) {
      this.#log.warn(name, `a decision is dropped: ${message}`);
      return;
    }
    this.#invalid++;
    const advice = ID_ADVICE[name];
    this.#log.warn(
      name,
      `a decision is not sent: ${message}${advice === undefined ? '' : ` (${advice})`}`,
    );
  }

  /** The options of flush() and close(), which reject nothing; what they do not know is said in the log. */
  #readWait(options) {
    const { timeoutMillis, abort, ...unknown } = Object(options ?? {});
    const names =
      typeof options === 'object' || options === undefined
        ? Object.keys(unknown)
        : [String(options)];
    if (names.length > 0) {
      this.#log.warn(
        'wait',
        `flush() and close() take { timeoutMillis, abort }, not ${names.join(', ')}; the default is used`,
      );
    }
    return { timeoutMillis, abort };
  }

  #timeout(timeoutMillis) {
    if (timeoutMillis === undefined) {
      return this.#options.flushTimeoutMillis;
    }
    if (typeof timeoutMillis !== 'number' || !(timeoutMillis >= 0)) {
      this.#log.warn(
        'timeoutMillis',
        `timeoutMillis: expected milliseconds, got a ${typeof timeoutMillis}; the default is used`,
      );
      return this.#options.flushTimeoutMillis;
    }
    return Math.min(Math.floor(timeoutMillis), MAX_TIMER_MILLIS);
  }

  /** Memory ran out for the bookkeeping of a flush: nothing is lost, and nothing is known. */
  #unreported(error) {
    this.#log.error('flush', `flush: ${error.message}`);
    return { ...NOTHING, pending: this.#native.stats().pending };
  }
}

/** `await using`, where there is such: since Node 18.18. */
if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(Dispatcher.prototype, Symbol.asyncDispose, {
    async value() {
      await this.close();
    },
    configurable: true,
    writable: true,
  });
}

/** Not a method: what the addon holds must hold neither dispatcher, so that both can be collected. */
function createNative(options, log) {
  const reference = {};
  const native = new binding.Dispatcher(
    nativeOptions(options, log),
    createHandlers(options, log, () => reference.weak.deref()),
  );
  reference.weak = new WeakRef(native);
  return native;
}

/** Loaded only where decisionTypes names one of the older APIs. */
function createLegacy({ decisionTypes }) {
  const types = new Set(decisionTypes);
  types.delete('flag');
  return types.size === 0 ? null : { types, read: require('./sdk/legacy.js').readLegacyDecision };
}

/** Loaded only where a callback, or a filter, makes the long way necessary. */
function createCallbacks(options, log) {
  const { resolveUser, eventProperties, userProperties, includeRollouts } = options;
  if (
    resolveUser === null &&
    eventProperties === null &&
    userProperties === null &&
    includeRollouts
  ) {
    return null;
  }
  const { Callbacks } = require('./user-callbacks.js');
  return new Callbacks(options, log);
}

function nativeOptions(options, log) {
  return {
    ...options,
    library: LIBRARY,
    groupsJson: options.groups === null ? null : JSON.stringify(options.groups),
    disabledValueIsVariation: options.disabledValue === 'variation',
    debug: log.debugEnabled,
    reportDrops: options.onDrop !== null || channels.drop.hasSubscribers,
    dedupe: options.dedupe !== null,
    dedupeWindowMillis: options.dedupe?.windowMillis ?? 0,
    dedupeMaxEntries: options.dedupe?.maxEntries ?? 0,
  };
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
