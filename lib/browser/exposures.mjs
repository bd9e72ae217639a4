/**
 * Which exposures were sent: of each (user, flag) the last value in a window, and how often it changed (its turn).
 *
 * In memory an exposure is *pending* from its decision until Amplitude's SDK tells the result. In localStorage it is kept
 * only when Amplitude has answered 200: a page that is left earlier may take its events with it, and then the next page
 * sends them again, with the same insert_id. A change is noted there before it is sent, as not sent, so that neither the
 * value before it counts as the last, nor a turn is used twice.
 *
 * Without localStorage, as in a private window, an exposure is sent once in a page.
 */

/** Of 83 bytes each, so 42 kB. */
const MAX_STORED = 500;

export class Exposures {
  #storageKey;
  #pending = new Map(); // key -> sighting
  #text = null; // of the storage, as it was read or written last
  #stored = {}; // key -> [window, turn, value, 1 if it was sent, else 0]

  constructor(storageKey) {
    this.#storageKey = storageKey;
  }

  /** Note an exposure; returns null for a repeat, and otherwise { window, turn, value }, to be settled. */
  note({ key, value }, window) {
    const pending = this.#pending.get(key);
    const last = pending ?? this.#find(key);
    let turn = 0;
    if (last?.window === window) {
      const isSame = last.value === value;
      if (isSame && (pending !== undefined || last.isSent)) {
        return null;
      }
      turn = isSame ? last.turn : last.turn + 1;
    }
    const sighting = { window, turn, value };
    this.#pending.set(key, sighting);
    if (turn > 0) {
      this.#store(key, sighting, false);
    }
    return sighting;
  }

  /**
   * Take the codes that Amplitude's SDK tells for the events of a sighting. One that has changed meanwhile is not the last
   * any more. What Amplitude refuses is not tried again in this page, as a component may decide at each frame.
   */
  settle(key, sighting, codes) {
    if (this.#pending.get(key) !== sighting) {
      return;
    }
    if (!codes.some((code) => code >= 400 && code < 500)) {
      this.#pending.delete(key);
    }
    if (codes.every((code) => code === 200)) {
      this.#store(key, sighting, true);
    }
  }

  #find(key) {
    const [window, turn, value, sent] = this.#read()[key] ?? [];
    return { window, turn, value, isSent: sent === 1 };
  }

  /** Read what is stored, if another tab has changed it. */
  #read() {
    let text;
    try {
      text = localStorage.getItem(this.#storageKey);
    } catch {
      return this.#stored; // there is no storage
    }
    if (text !== this.#text) {
      this.#text = text;
      this.#stored = parse(text);
    }
    return this.#stored;
  }

  #store(key, { window, turn, value }, isSent) {
    const stored = this.#read();
    delete stored[key]; // so that it becomes the newest
    stored[key] = [window, turn, value, Number(isSent)];
    Object.keys(stored)
      .slice(0, -MAX_STORED)
      .forEach((oldest) => delete stored[oldest]);
    try {
      const text = JSON.stringify(stored);
      localStorage.setItem(this.#storageKey, text);
      this.#text = text;
    } catch {
      // There is no storage, or it is full: it is known in this page.
    }
  }
}

/** What is stored may be anything: other scripts of the site can write there, too. */
function parse(text) {
  try {
    const entries = Object.entries(JSON.parse(text) ?? {});
    return Object.fromEntries(entries.filter(([, entry]) => Array.isArray(entry)));
  } catch {
    return {};
  }
}
