/*
 * fit.h: the size of request bodies that fits, learnt from 413 answers, and from requests that
 * never had one. Pure. [externally synchronised]
 *
 * A refusal halves it; after OA_FIT_PATIENCE full bodies were accepted in a row it doubles again,
 * up to the maximum. So a proxy with a small limit costs one refused request in OA_FIT_PATIENCE.
 */
#ifndef OA_FIT_H
#define OA_FIT_H

#include "oa.h"

enum { OA_FIT_PATIENCE = 32, OA_FIT_MIN_BYTES = 1024 };

typedef struct oa_fit {
    size_t max_bytes;  /* the protocol's limit */
    size_t bytes;      /* what is tried now */
    uint32_t accepted; /* full bodies in a row */
    size_t proven;     /* bodies of this size pass, as far as is known */
} oa_fit;

void oa_fit_init(oa_fit *fit, size_t max_bytes);

/* A body of `body_bytes` was answered by 413. */
void oa_fit_refused(oa_fit *fit, size_t body_bytes);

/*
 * A body of `body_bytes` had no answer, and others had. It was too large for the link, perhaps (a
 * tunnel, a proxy that inspects); but when as large a one passed of late, it was only lost.
 */
void oa_fit_lost(oa_fit *fit, size_t body_bytes);

/* A body was accepted; `full` when it could have held no further decision. */
void oa_fit_accepted(oa_fit *fit, size_t body_bytes, bool full);

#endif
