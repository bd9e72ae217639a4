/*
 * retry.h: what to do after an attempt, and how long to wait. Pure functions.  [any thread]
 */
#ifndef OA_RETRY_H
#define OA_RETRY_H

#include "oa.h"

/* How an attempt ended, as far as the whole request is concerned; per-record news are in the marks. */
typedef enum oa_outcome {
    OA_OUTCOME_ACCEPTED,    /* 2xx */
    OA_OUTCOME_LISTED,      /* 400 or 429 that names events, users or devices: see the marks */
    OA_OUTCOME_BAD_API_KEY, /* 400 Invalid API key, or api_key missing */
    OA_OUTCOME_REFUSED,     /* 4xx in JSON that names nothing: something in it is bad */
    OA_OUTCOME_TOO_LARGE,   /* 413 */
    OA_OUTCOME_OUTAGE,      /* 408, 429 without a list, 5xx, a page that is not JSON, no answer */
    OA_OUTCOME_ABORTED,     /* we ended it ourselves */
    OA_OUTCOME_NOMEM,       /* it could not be rendered */
} oa_outcome;

/* Longest wait that a server's Retry-After can ask for. Source: segment's node SDK bounds it alike. */
enum { OA_RETRY_AFTER_MAX_MS = 300 * 1000 };

/* Back-off before attempt n+1 is a random part of min(cap, base * 2^(n-1)): "full jitter". */
enum { OA_BACKOFF_BASE_MS = 500, OA_BACKOFF_CAP_MS = 120 * 1000 };

/*
 * Return the wait in ms before the next attempt, after `attempts` (at least 1) failed ones.
 * `random` is 64 random bits. Full jitter: uniform in [0, min(cap, base * 2^(attempts-1))].
 */
uint64_t oa_retry_backoff_ms(uint32_t attempts, uint64_t random);

/*
 * Read the value of a Retry-After header (RFC 9110 section 10.2.3: seconds, or an HTTP date in any of
 * the three formats of section 5.6.7), and return the wait in ms from `now_ms` (since the epoch),
 * at most OA_RETRY_AFTER_MAX_MS. 0 for what is absent, malformed or past.
 */
uint64_t oa_retry_after_ms(oa_str value, int64_t now_ms);

/*
 * The size of request bodies that fits, learnt from 413 answers.
 *
 * A refusal halves it; after OA_FIT_PATIENCE full bodies were accepted in a row it doubles again, up
 * to the maximum. So a proxy with a small limit costs one refused request in OA_FIT_PATIENCE.
 */
enum { OA_FIT_PATIENCE = 32, OA_FIT_MIN_BYTES = 1024 };

typedef struct oa_fit {
    size_t max_bytes;  /* the protocol's limit */
    size_t bytes;      /* what is tried now */
    uint32_t accepted; /* full bodies in a row */
} oa_fit;

void oa_fit_init(oa_fit *fit, size_t max_bytes);

/* A body of `body_bytes` was answered by 413. */
void oa_fit_refused(oa_fit *fit, size_t body_bytes);

/* A body was accepted; `full` when it could have held no further decision. */
void oa_fit_accepted(oa_fit *fit, bool full);

#endif
