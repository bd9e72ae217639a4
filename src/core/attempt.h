/*
 * attempt.h: one attempt to deliver one batch: its body and its result.  [one owner]
 *
 * The dispatcher fills in the upper part and lends the attempt out; its taker renders it, sends the
 * body, passes the answer in, and hands it back. In between the batch is the taker's, too.
 */
#ifndef OA_ATTEMPT_H
#define OA_ATTEMPT_H

#include "amplitude/render.h"
#include "amplitude/response.h"
#include "batch.h"
#include "oa.h"
#include "store.h"

struct oa_attempt {
    /* Set by the dispatcher. */
    const oa_frame *frame;
    bool is_amplitude; /* see oa_config */
    oa_batch *batch;   /* owned while there is one */
    size_t max_body_bytes;
    oa_store *store; /* lent; NULL: there is none */
    bool gzip;       /* the body may be compressed */

    /* Set by the taker. */
    oa_body body;
    oa_outcome outcome;
    bool sent;         /* a request was begun */
    int status_code;   /* 0: no answer */
    char message[400]; /* what went wrong, in one line */
    size_t sent_bytes;
    uint32_t retry_after_seconds;
    uint64_t duration_ms;
};

void oa_attempt_init(oa_attempt *attempt, const oa_frame *frame, bool is_amplitude);

/* Free the body; the batch must have gone elsewhere. */
void oa_attempt_clear(oa_attempt *attempt);

/* Take a batch, before the attempt is lent out. Without an answer it counts as aborted. */
void oa_attempt_begin(oa_attempt *attempt, oa_batch *batch, size_t max_body_bytes, bool gzip);

#endif
