/** What older compatibility dates of Cloudflare Workers, and edge-light, do not have. */

const global = globalThis;

/** Holds strongly: an isolate has few dispatchers and clients. */
class StrongRef {
  #value;

  constructor(value) {
    this.#value = value;
  }

  deref() {
    return this.#value;
  }
}

class NoRegistry {
  register() {}
  unregister() {}
}

export const WeakRef = global.WeakRef ?? StrongRef;
export const FinalizationRegistry = global.FinalizationRegistry ?? NoRegistry;

/** In the next turn; not at all while a module is imported, when there are no turns. */
export function setImmediate(call) {
  try {
    return { timer: setTimeout(call, 0) };
  } catch {
    return {};
  }
}
