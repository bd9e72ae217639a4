'use strict';

/**
 * The statuses of the core, in the order of their numbers, each with its sentence: the list of oa.h, which a test
 * compares. It is here, too, so that they are known before an engine is loaded.
 */
module.exports = Object.freeze({
  ok: 'done',
  repeat: 'the same exposure was sent in this window already',
  id_missing: 'there is neither a user id nor a device id',
  id_too_short: 'the id is shorter than minIdLength',
  id_too_long: 'the id is longer than 1024 characters',
  id_forbidden: "the id is on Amplitude's list of invalid ids",
  id_malformed: 'the id contains a lone surrogate',
  opted_out: 'the dispatcher is opted out',
  queue_full: 'the queue holds maxQueueBytes, or memory ran out',
  closed: 'the dispatcher is closed',
  no_memory: 'memory ran out',
  too_large: 'larger than its bound',
  malformed: 'not in the expected format',
  foreign: 'made with another key, or by another version',
  unavailable: 'a library refused to start',
});
