/* global EventSource, SharedWorker, reportError, window */

/** The collector's state, its last decisions and its last requests, kept up to date by server-sent events. */

const MAX_KEPT = 200;
/** An answer that is being worked on is asked for again after this. */
const PENDING_MILLIS = 200;
/** A view spends at most one part in so many of the collector's time. */
const MIN_PAUSES = 20;

/** Call `listener(message)` for what the stream sends: of one stream for all tabs, where the browser can share it. */
function openStream(listener) {
  if (typeof SharedWorker === 'function') {
    const { port } = new SharedWorker('/page/stream-worker.mjs', { type: 'module' });
    port.addEventListener('message', ({ data }) => listener(data));
    port.start();
    window.addEventListener('pagehide', ({ persisted }) => !persisted && port.postMessage('end'));
    return;
  }
  const source = new EventSource('/api/stream');
  ['start', 'news'].forEach((name) =>
    source.addEventListener(name, ({ data }) => listener({ name, ...JSON.parse(data) })),
  );
  source.addEventListener('error', () => listener({ name: 'error' }));
}

class Model {
  state = null;
  decisions = [];
  requests = [];
  isConnected = false;
  #listeners = new Set();

  connect() {
    openStream(({ name, ...news }) => {
      this.isConnected = name !== 'error';
      if (name === 'start') {
        // This may be another collector than before.
        this.decisions = [];
        this.requests = [];
      }
      if (name === 'error') {
        this.#tell({ decisions: [], requests: [], isNew: false });
      } else {
        this.#take(news, name === 'start');
      }
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

  /**
   * Call `listener({decisions, requests, isNew})` at every change; isNew: the previous ones are void. Returns a
   * function that ends it.
   */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export const model = new Model();

const pause = (millis) =>
  new Promise((resolve) => {
    setTimeout(resolve, millis);
  });

/** The collector does not answer. It may come back. */
class Unreachable extends Error {}

async function reach(url) {
  try {
    return await fetch(url);
  } catch (error) {
    throw new Unreachable('the collector cannot be reached', { cause: error });
  }
}

/** Fetch JSON from the collector; null if it does not exist. */
export async function ask(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    [value].flat().forEach((item) => query.append(name, item));
  }
  let response = await reach(`${path}?${query}`);
  while (response.status === 202) {
    await pause(PENDING_MILLIS);
    response = await reach(`${path}?${query}`);
  }
  if (!response.ok) {
    return null;
  }
  const result = await response.json();
  return response.headers.has('x-stale') ? { ...result, isStale: true } : result;
}

/** Change something in the collector; resolves to the answer. */
export const put = (path, body = '') => fetch(path, { method: 'PUT', body });

export const setMode = (mode) => put('/api/mode', mode);

/**
 * Call `refresh` now, and again after new events, at most once in `millis`. It may return the answers that took the
 * collector long, or may be older than the last events. Returns a function that ends it.
 */
export function keepFresh(refresh, millis = 1000) {
  let revision = model.state?.revision;
  let timer = null;
  let isOver = false;
  const run = async () => {
    revision = model.state?.revision;
    let answers = [];
    try {
      answers = (await refresh()) ?? [];
    } catch (error) {
      if (!(error instanceof Unreachable)) {
        reportError(error); // a defect, which must be seen
      }
      revision = -1; // the next news refresh the view
    }
    if (isOver) {
      return;
    }
    if (answers.some(({ isStale }) => isStale)) {
      revision = -1;
    }
    const tookMillis = answers.reduce((sum, answer) => sum + answer.tookMillis, 0);
    timer = setTimeout(
      () => {
        timer = null;
        check();
      },
      Math.max(millis, MIN_PAUSES * tookMillis),
    );
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
    isOver = true;
    stop();
    clearTimeout(timer);
  };
}
