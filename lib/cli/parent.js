'use strict';

const INTERVAL_MILLIS = 500;

/**
 * Call `onEnd` when the npm that started this process has ended: a signal that stops npm reaches the shell between the two
 * only, and this process would go on, with its port. A process that was started without npm, or was detached from it at
 * once, has nothing to wait for.
 */
function watchParent(onEnd) {
  const parent = process.ppid;
  if (process.env.npm_config_user_agent === undefined || parent === 1) {
    return;
  }
  const timer = setInterval(() => {
    if (process.ppid !== parent) {
      clearInterval(timer);
      onEnd();
    }
  }, INTERVAL_MILLIS);
  timer.unref();
}

module.exports = { watchParent };
