/* global EventSource */

/** The collector's state, its last decisions and its last requests, kept up to date by server-sent events. */

const MAX_KEPT = 200;

class Model {
  state = null;
  decisions = [];
  requests = [];
  isConnected = false;
  #listeners = new Set();

  connect() {
    const source = new EventSource('/api/stream');
    source.addEventListener('start', ({ data }) => {
      // This may be another collector than before.
      this.decisions = [];
      this.requests = [];
      this.isConnected = true;
      this.#take(JSON.parse(data), true);
    });
    source.addEventListener('news', ({ data }) => this.#take(JSON.parse(data), false));
    source.addEventListener('error', () => {
      this.isConnected = false;
      this.#tell({ decisions: [], requests: [], isNew: false });
    });
  }

  #take({ state, decisions, requests }, isNew) {
    this.state = state;
    this.decisions = [...this.decisions, ...decisions].slice(-MAX_KEPT);
    this.requests = [...this.requests, ...requests].slice(-MAX_KEPT);
    this.#tell({ decisions, requests, isNew });
  }

  #tell(news) {
    this.#listeners.forEach((listener) => listener(news));
  }

  /** Call `listener({decisions, requests, isNew})` at every change; isNew: the previous ones are void. Returns a function that ends it. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export const model = new Model();

/** Fetch JSON from the collector; null if it does not exist. */
export async function ask(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    [value].flat().forEach((item) => query.append(name, item));
  }
  const response = await fetch(`${path}?${query}`);
  return response.ok ? response.json() : null;
}

export const setMode = (mode) => fetch('/api/mode', { method: 'PUT', body: mode });

/**
 * Call `refresh` now, and again after new events, at most once in `millis`.
 * Returns a function that ends it.
 */
export function keepFresh(refresh, millis = 1000) {
  let revision = model.state?.revision;
  let timer = null;
  const run = async () => {
    revision = model.state?.revision;
    try {
      await refresh();
    } catch {
      // The collector is gone; the next news refresh the view.
      revision = -1;
    }
    timer = setTimeout(() => {
      timer = null;
      check();
    }, millis);
  };
  const check = () => {
    if (timer === null && revision !== model.state?.revision) {
      timer = 0; // taken, until run() sets it
      run();
    }
  };
  timer = 0;
  run();
  const stop = model.listen(check);
  return () => {
    stop();
    clearTimeout(timer);
  };
}
