/**
 * Decisions of Optimizely's browser SDK become events of `@amplitude/analytics-browser`, which the page has already: its
 * session, its ids, its queue and its consent stay in charge.
 *
 *     decide() -> notification -> Reporter: an exposure -> exposures.mjs: is it new? -> events.mjs -> amplitude.track()
 *
 * These modules are ES modules without dependencies, and small: a page loads them as they are.
 */

import { Exposures } from './exposures.mjs';
import { eventsOf } from './events.mjs';
import { hash } from './hash.mjs';
import { readOptions, typeError } from './options.mjs';

/** v6 of Optimizely's SDK knows the first name, v4 and v5 the second; each returns -1 for the other's. */
const NOTIFICATIONS = ['DECISION', 'DECISION:type, userId, attributes, decisionInfo'];
const PLUGIN = 'optimizely-amplitude';
/** Exposures that wait until Amplitude is initialised. Later ones are found new at their next decision. */
const MAX_WAITING = 200;

/** amplitude -> promise of { config, exposures }. An instance takes a plugin of one name once. */
const initialised = new WeakMap();

/** Resolves when Amplitude is initialised, which may be never: a page may wait for consent. */
function whenInitialised(amplitude) {
  let promise = initialised.get(amplitude);
  if (promise === undefined) {
    promise = new Promise((resolve) => {
      amplitude.add({
        name: PLUGIN,
        type: 'enrichment',
        setup: async (config) =>
          resolve({ config, exposures: new Exposures(`OA_${config.apiKey.slice(0, 10)}`) }),
      });
    });
    initialised.set(amplitude, promise);
  }
  return promise;
}

function checkAmplitude(amplitude) {
  if (typeof amplitude?.track !== 'function' || typeof amplitude.add !== 'function') {
    throw typeError('expected @amplitude/analytics-browser');
  }
}

/** What is listened to, and reported. */
class Reporter {
  #optimizely;
  #amplitude;
  #settings;
  #exposures = null; // until Amplitude is initialised
  #waiting = [];
  #lastWaiting = new Map(); // exposure's key -> value
  #warned = new Set();

  constructor(optimizely, amplitude, settings) {
    this.#optimizely = optimizely;
    this.#amplitude = amplitude;
    this.#settings = settings;
    whenInitialised(amplitude).then(({ exposures }) => {
      this.#exposures = exposures;
      this.#waiting.forEach((exposure) => this.#safely(() => this.#report(exposure)));
      this.#waiting = [];
      this.#lastWaiting.clear();
    });
  }

  /** The listener. An error must not reach the caller of decide(). */
  onDecision = (notification) =>
    this.#safely(() => {
      const exposure = this.#read(notification);
      if (exposure === null) {
        return;
      }
      if (this.#exposures === null) {
        this.#wait(exposure);
      } else {
        this.#report(exposure);
      }
    });

  #safely(action) {
    try {
      action();
    } catch (reason) {
      this.#warn('fault', `a decision is not sent: ${reason}`);
    }
  }

  /** Warn once of a cause. */
  #warn(cause, message) {
    if (!this.#warned.has(cause)) {
      this.#warned.add(cause);
      console.warn(`[optimizely-amplitude] ${message}`);
    }
  }

  /** The exposure that a notification tells of; null if it is none, or has to be kept out. */
  #read(notification) {
    const { type, decisionInfo } = notification;
    if (type !== 'flag') {
      return null;
    }
    const { resolveUser, kind, send } = this.#settings;
    const user = resolveUser(notification);
    const { flagKey, variationKey, ruleKey, enabled } = decisionInfo;
    if (!user || (send !== 'all' && this.#isRollout(flagKey, ruleKey))) {
      return null;
    }
    const ids = [user.userId ?? null, user.deviceId ?? null];
    return {
      user,
      decision: { flagKey, variationKey, ruleKey, enabled },
      key: hash([kind, ids, flagKey]),
      value: hash([variationKey, ruleKey, enabled]),
      time: Date.now(),
    };
  }

  /** Whether no rule of an experiment or a holdout decided. A rule that is not known may be one. */
  #isRollout(flagKey, ruleKey) {
    const flag = this.#optimizely.getOptimizelyConfig()?.featuresMap[flagKey];
    return !ruleKey || flag?.deliveryRules.some(({ key }) => key === ruleKey);
  }

  #wait(exposure) {
    const isRepeat = this.#lastWaiting.get(exposure.key) === exposure.value;
    if (!isRepeat && this.#waiting.length < MAX_WAITING) {
      this.#waiting.push(exposure);
      this.#lastWaiting.set(exposure.key, exposure.value);
    }
  }

  #report(exposure) {
    const { windowMillis } = this.#settings;
    const sighting = windowMillis
      ? this.#exposures.note(exposure, Math.floor(exposure.time / windowMillis))
      : { turn: Math.random() };
    if (sighting === null) {
      return;
    }
    const fields = this.#fieldsOf(exposure.user);
    const results = eventsOf(exposure, sighting, this.#settings).map(async (event) => {
      const sent = this.#amplitude.track({ ...event, ...fields });
      return (await (sent?.promise ?? sent)).code; // the script tag's stub returns a promise
    });
    Promise.all(results)
      .catch((reason) => {
        this.#warn('fault', `Amplitude's SDK has failed: ${reason}`);
        return [0];
      })
      .then((codes) => this.#exposures.settle(exposure.key, sighting, codes));
  }

  /**
   * The ids that an event has of its own. One whose user is the device of Amplitude has none: it belongs to the
   * user of Amplitude's SDK.
   */
  #fieldsOf({ userId, deviceId }) {
    const known = this.#amplitude.getUserId();
    if (userId && userId === this.#amplitude.getDeviceId()) {
      return {};
    }
    if (userId && known && known !== userId) {
      this.#warn(
        'user',
        `Optimizely decides for '${userId}', and Amplitude's user is '${known}': use one id in both`,
      );
    }
    return { ...(userId && { user_id: userId }), ...(deviceId && { device_id: deviceId }) };
  }
}

/**
 * Send the decisions of a client of Optimizely's SDK with Amplitude's; before or after each is ready. Attaching twice
 * sends nothing twice. Returns a function that stops listening.
 */
export function attachAmplitude(optimizely, amplitude, options) {
  const settings = readOptions(options);
  checkAmplitude(amplitude);
  const center = optimizely?.notificationCenter;
  if (typeof center?.addNotificationListener !== 'function') {
    throw typeError(
      'expected a client of the Optimizely SDK, as createInstance() returns it',
      'ERR_OA_CLIENT',
    );
  }
  const { onDecision } = new Reporter(optimizely, amplitude, settings);
  let id = -1;
  for (const name of NOTIFICATIONS) {
    id = id < 0 ? center.addNotificationListener(name, onDecision) : id;
  }
  if (id < 0) {
    throw typeError(
      'the client takes no DECISION listener: it must be of SDK v5 or v6',
      'ERR_OA_CLIENT',
    );
  }
  return () => {
    center.removeNotificationListener(id);
  };
}

/**
 * Resolve to Amplitude's device id when Amplitude is initialised: the id of an anonymous visitor for Optimizely, so that
 * both speak of one user.
 */
export async function getDeviceId(amplitude) {
  checkAmplitude(amplitude);
  const { config } = await whenInitialised(amplitude);
  return config.deviceId;
}
