/*
 * state.h: the state of a dispatcher, shared by the files that are its machine.
 *
 * Calls go one way, down this list:
 *
 *   dispatcher.c  what the application does: create, record, flush, close, free
 *   deliver.c     what is due, and when: cutting batches, handing attempts out and taking them back
 *   fleet.c       what a store of the fleet says of the batch of an attempt
 *   verdict.c     what becomes of a batch once its attempt is over
 *   trouble.c     what it means for the server's health, and what the log says of it
 *   drop.c        decisions that end without being delivered
 *   intake.c      decisions on their way into a lane, and into and out of the journal
 *   notices.c     what is to be told to the host, until it asks
 *
 * Where a decision can be is in lane.h.
 *
 * Thread: externally synchronised. While an attempt is out, its struct and its batch belong to its
 * taker.
 */
#ifndef OA_STATE_H
#define OA_STATE_H

#include "amplitude/render.h"
#include "chance.h"
#include "coding.h"
#include "exposure.h"
#include "fit.h"
#include "flush.h"
#include "health.h"
#include "lane.h"
#include "notices.h"
#include "oa.h"
#include "queue.h"
#include "spool.h"
#include "variant.h"

typedef enum oa_phase {
    OA_PHASE_OPEN,
    OA_PHASE_CLOSING, /* refuses decisions; flushes until close_deadline_ms */
    OA_PHASE_CLOSED,  /* holds no decision */
    OA_PHASE_ABORTED, /* the process exits: nothing is started any more */
} oa_phase;

/* Why no attempt is started yet. Each reason has a moment of its own, and the latest of them
 * counts. */
typedef enum oa_wait_reason {
    OA_WAIT_BACKOFF,     /* an attempt failed; a flush ends it */
    OA_WAIT_RETRY_AFTER, /* the server asked for it; nothing ends it */
    OA_WAIT_MEMORY,      /* there was none for an attempt; nothing ends it */
    OA_WAIT_PACE,        /* answers that list hardly anything follow each other too fast */
    OA_WAIT_FREEZE, /* a flush aborted: the process is about to be frozen; the next flush ends it */
    OA_WAIT_COUNT
} oa_wait_reason;

/* How long to wait after an allocation failed. */
enum { OA_MEMORY_PAUSE_MS = 1000 };

/* With a journal, what other processes left has the numbers below. */
#define OA_FIRST_OWN_SEQ (UINT64_C(1) << 40)

struct oa_dispatcher {
    oa_phase phase;
    bool is_cancelled; /* what is out is to come back soon */
    bool soon;         /* a step is wanted at once */
    bool opt_out;
    bool purges; /* while it is opted out, what is pending is dropped */
    uint32_t min_id_length;
    uint32_t flush_queue_size;
    uint32_t flush_max_retries;
    uint64_t flush_interval_ms;
    uint64_t throttle_ms;
    uint64_t max_age_ms;
    oa_chance chance;
    char *server_name; /* owned; NUL-terminated */

    oa_hash_key hash_key;
    char *property_prefix; /* owned */
    oa_variant_style style;
    oa_frame *frame; /* the constant parts of request bodies */
    oa_event_counts event_counts;
    oa_variant **variants; /* id -> variant */
    uint32_t variant_count;
    uint32_t variant_cap;
    oa_exposure *exposure; /* NULL: every decision is sent */
    bool has_store;

    oa_arena arena;
    oa_lanes lanes;
    oa_spool *spool;    /* NULL: there is no journal; what follows is of one */
    bool is_held;       /* what is new stays on disk only: what another process left may go first */
    uint64_t unwritten; /* decisions that are pending and not in the journal */
    uint64_t disk_count; /* decisions of this process that are on disk only */
    uint64_t disk_seq;   /* the sequence number of the first of these; the others follow it */
    uint64_t found_seq;  /* of the next decision of another process: below all of this one's */
    uint64_t read_not_before_ms;
    uint64_t first_occurrence; /* without de-duplication: ids differ from those of others */
    uint64_t begun;            /* attempts */
    uint64_t begun_at_failure; /* as many had begun when the last failure of the server's came */
    uint64_t begun_at_silence; /* likewise when a flush ended a silence */
    oa_flushes flushes;
    oa_fit fit;
    oa_health health;
    oa_coding coding;
    size_t refusals;      /* requests refused without a list, since the last success */
    size_t refused_alone; /* decisions, since the last success; see apply_refused() */
    bool probe_aside;     /* the next probe is one that failed before, if there is one */
    oa_notices notices;
    uint64_t next_seq;

    /* All moments are monotonic. */
    uint64_t created_at_ms; /* with the first call that says the time; 0 before */
    uint64_t not_before_ms[OA_WAIT_COUNT];
    uint64_t close_deadline_ms;

    oa_stats stats; /* except for the members that oa_dispatcher_stats() fills in */
};

/* Add a duration to a moment; UINT64_MAX is never. */
static inline uint64_t oa_moment_after(uint64_t moment_ms, uint64_t duration_ms) {
    return duration_ms < UINT64_MAX - moment_ms ? moment_ms + duration_ms : UINT64_MAX;
}

/* What to call so many records in a log line. */
static inline const char *oa_name_records(const oa_dispatcher *d, uint64_t count) {
    if (d->stats.tracked.accepted > 0)
        return count == 1 ? "decision or event" : "decisions and events";
    return count == 1 ? "decision" : "decisions";
}

/* Start no attempt for `duration_ms` from now on. */
static inline void oa_wait(oa_dispatcher *d, oa_now now, oa_wait_reason reason,
                           uint64_t duration_ms) {
    d->not_before_ms[reason] = oa_moment_after(now.monotonic_ms, duration_ms);
}

#endif
