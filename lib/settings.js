'use strict';

/**
 * The key under which a dispatcher has what withFlush() needs of it: { log, timeoutMillis }. A registered symbol,
 * because the published package bundles the dispatcher, and so withFlush() loads another copy of this module.
 */
module.exports = { SETTINGS: Symbol.for('optimizely-amplitude.settings') };
