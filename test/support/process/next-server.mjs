/** Stands in for next/server on platform.mjs: `after`, as it is documented. */

export function after(task) {
  const context = globalThis[Symbol.for('@vercel/request-context')]?.get();
  if (context === undefined) {
    throw new Error('`after` was called outside a request scope');
  }
  context.waitUntil(typeof task === 'function' ? context.finished.then(() => task()) : task);
}
