/*
 * flush.h: which flush waits for which decisions, until when.  [externally synchronised]
 *
 * A waiter covers every undelivered decision with a sequence number below the one that comes next
 * at its start. Decisions settle out of order (parked users), so a waiter counts what is left
 * instead of watching a mark. Settling n decisions costs n binary searches plus one walk over the
 * waiters, however many overlap.
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
    uint64_t news_taken_back;
    uint64_t news_found;
    bool abort;   /* the attempt that is out does not survive the deadline */
    void *ticket; /* the host's */
} oa_waiter;

typedef struct oa_flushes {
    oa_waiter *waiters; /* in order of upto_seq */
    size_t count;
    oa_waiter *finished; /* and not taken yet; allocated in advance */
    size_t finished_count;
    size_t cap; /* of both */
} oa_flushes;

void oa_flushes_init(oa_flushes *flushes);

/* Free the list. */
void oa_flushes_clear(oa_flushes *flushes);

/* Add a waiter for `pending` decisions below `upto_seq`. Copies *waiter. Errors: OA_NOMEM. */
oa_status oa_flushes_add(oa_flushes *flushes, const oa_waiter *waiter)
    __attribute__((warn_unused_result));

/* Note that the decision `seq` was delivered, or dropped. */
void oa_flushes_settle(oa_flushes *flushes, uint64_t seq, bool delivered);

/* Note that the decision `seq` was none that had to be delivered: no report counts it. */
void oa_flushes_take_back(oa_flushes *flushes, uint64_t seq);

/* Note that a decision turned up which precedes all others: each waiter covers it. */
void oa_flushes_find(oa_flushes *flushes);

/* Have each waiter finish with what is pending. */
void oa_flushes_expire(oa_flushes *flushes);

/* What a flush has to wait for, at the earliest. All moments are monotonic. */
typedef struct oa_prospect {
    uint64_t now_ms;
    bool is_out;           /* an attempt is */
    uint64_t first_seq;    /* of what is not parked; UINT64_MAX: everything is */
    uint64_t send_at_ms;   /* when something of that may be sent */
    uint64_t parked_at_ms; /* when something that is parked may be */
} oa_prospect;

/*
 * Pass the news of settled decisions on, and finish each waiter whose decisions are all settled,
 * whose deadline has come, or for whose decisions nothing more can happen before it. One with
 * `abort` waits on while the attempt that is being cancelled is out. Returns whether a process is
 * about to be frozen: one with `abort` left something pending at its deadline.
 */
bool oa_flushes_finish(oa_flushes *flushes, const oa_prospect *prospect);

/* Take a finished waiter, the first one first; false when there is none. */
bool oa_flushes_next(oa_flushes *flushes, oa_waiter *out);

/* Whether a waiter that asked for it has passed its deadline: the attempt that is out is to be
 * cancelled. */
bool oa_flushes_want_abort(const oa_flushes *flushes, uint64_t now_ms);

/* Return the earliest deadline, or UINT64_MAX. */
uint64_t oa_flushes_deadline(const oa_flushes *flushes);

#endif
