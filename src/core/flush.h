/*
 * flush.h: who waits for which decisions, until when.  [loop]
 *
 * A waiter covers every undelivered decision with a sequence number below the one that comes next at
 * its start. Decisions settle out of order (parked users), so a waiter counts what is left instead of
 * watching a mark. Settling n decisions costs n binary searches plus one walk over the waiters,
 * however many overlap.
 */
#ifndef OA_FLUSH_H
#define OA_FLUSH_H

#include "oa.h"

typedef struct oa_waiter {
    uint64_t upto_seq;       /* covers sequence numbers below */
    uint64_t deadline_ms;    /* monotonic */
    uint64_t started_ms;     /* monotonic */
    oa_flush_report report;  /* pending counts down */
    uint64_t news_delivered; /* not yet passed on to later waiters */
    uint64_t news_dropped;
    bool abort; /* the request in flight does not survive the deadline */
    oa_flush_done done;
    void *data;
} oa_waiter;

typedef struct oa_flushes {
    oa_waiter *waiters; /* in order of upto_seq */
    size_t count;
    size_t cap;
} oa_flushes;

void oa_flushes_init(oa_flushes *flushes);

/* Free the list; each waiter's `done` gets NULL for a report. */
void oa_flushes_clear(oa_flushes *flushes);

/* Add a waiter for `pending` decisions below `upto_seq`. Copies *waiter. Errors: OA_NOMEM. */
oa_status oa_flushes_add(oa_flushes *flushes, const oa_waiter *waiter)
    __attribute__((warn_unused_result));

/* Note that the decision `seq` was delivered, or dropped. */
void oa_flushes_settle(oa_flushes *flushes, uint64_t seq, bool delivered);

/*
 * Pass the news of settled decisions on, and take up to `max` finished waiters off the list, into
 * `out`: all their decisions are settled, or their deadline is at or before `now_ms` (one with `abort`
 * waits on while the request that is being aborted is still `in_flight`).
 * Returns how many; call again while it returns `max`.
 */
size_t oa_flushes_finish(oa_flushes *flushes, uint64_t now_ms, bool in_flight, oa_waiter *out,
                         size_t max);

/* Whether a waiter that asked for it has passed its deadline: the request in flight is to be aborted. */
bool oa_flushes_want_abort(const oa_flushes *flushes, uint64_t now_ms);

/* Return the earliest deadline, or UINT64_MAX. */
uint64_t oa_flushes_deadline(const oa_flushes *flushes);

#endif
