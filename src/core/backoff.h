/*
 * backoff.h: how long to wait after attempts that failed. Pure.  [any thread]
 */
#ifndef OA_BACKOFF_H
#define OA_BACKOFF_H

#include "oa.h"

/* Longest wait that a server's Retry-After can ask for. Source: Segment's Node SDK has the same
 * bound. */
enum { OA_RETRY_AFTER_MAX_MS = 300 * 1000 };

/* Back-off before attempt n+1 is a random part of min(cap, base * 2^(n-1)): "full jitter". */
enum { OA_BACKOFF_BASE_MS = 500, OA_BACKOFF_CAP_MS = 120 * 1000 };

/*
 * Return the wait in ms before the next attempt, after `attempts` (at least 1) failed ones.
 * `random` is 64 random bits. Full jitter: uniform in [0, min(cap, base * 2^(attempts-1))].
 */
uint64_t oa_backoff_ms(uint32_t attempts, uint64_t random);

/* Return the wait in ms that a Retry-After of `seconds` asks for, at most OA_RETRY_AFTER_MAX_MS. */
uint64_t oa_backoff_retry_after_ms(uint32_t seconds);

#endif
