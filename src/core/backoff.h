/*
 * backoff.h: how long to wait, and how waits are spread. Pure. [any thread]
 */
#ifndef OA_BACKOFF_H
#define OA_BACKOFF_H

#include "oa.h"

/* Longest wait that a server's Retry-After can ask for. Source: Segment's Node SDK has the same
 * bound. */
enum { OA_RETRY_AFTER_MAX_MS = 300 * 1000 };

/* An exponential back-off: `base_ms` doubles with each failure, up to `cap_ms`. */
typedef struct oa_backoff {
    uint32_t base_ms;
    uint32_t cap_ms;
} oa_backoff;

/*
 * Return the wait in ms after `failures` (at least 1) in a row. `random` is 64 random bits.
 * Full jitter below the cap: uniform in [0, base * 2^(failures-1)]. At the cap, where a fleet is
 * spread already, uniform in its last third, so that a long outage costs 72 requests an hour.
 */
uint64_t oa_backoff_ms(oa_backoff backoff, uint32_t failures, uint64_t random);

/*
 * Return the wait in ms that a Retry-After of `seconds` asks for, at most OA_RETRY_AFTER_MAX_MS,
 * and up to a fifth more: a fleet that was told the same must not come back at the same moment.
 */
uint64_t oa_backoff_retry_after_ms(uint32_t seconds, uint64_t random);

/* Return a duration within a tenth of `interval_ms`. */
uint64_t oa_backoff_spread_ms(uint64_t interval_ms, uint64_t random);

#endif
