/*
 * dispatcher.h: the state of a dispatcher, shared by the three files that are its machine.  [loop]
 *
 *   dispatcher.c  what the host calls: create, record, flush, close, destroy
 *   deliver.c     what the loop does: when to send, cutting batches, the timer, the thread pool
 *   verdict.c     what becomes of a batch once its attempt is over
 *
 * Where a decision can be, and the order in which places are served (for one user, everything in an
 * earlier place was decided before everything in a later one):
 *
 *   job.batch (in flight)  ->  ready (to be sent next)  ->  queue (waiting)
 *                                   park (users who pause; their later decisions join them)
 */
#ifndef OA_DISPATCHER_H
#define OA_DISPATCHER_H

#include "batch.h"
#include "clock.h"
#include "exposure.h"
#include "flush.h"
#include "job.h"
#include "oa.h"
#include "park.h"
#include "queue.h"
#include "retry.h"
#include "template.h"

typedef enum oa_phase {
    OA_PHASE_OPEN,
    OA_PHASE_CLOSING,    /* refuses decisions; flushes until close_deadline_ms */
    OA_PHASE_CLOSED,     /* holds no decision and no connection */
    OA_PHASE_ABORTED,    /* the process exits: nothing is started any more */
    OA_PHASE_DESTROYING, /* waits for the pool, then frees itself */
} oa_phase;

struct oa_dispatcher {
    uv_loop_t *loop; /* borrowed */
    uv_timer_t timer;
    uv_work_t work;
    oa_job job;
    bool in_flight; /* the job belongs to the pool */
    bool aborting;  /* and its transport was woken */
    bool soon;      /* a step was asked for and has not run yet */
    oa_phase phase;

    oa_callbacks callbacks;
    oa_clock clock;
    bool debug;
    bool opt_out;
    bool trust_pending; /* https, and the host was not asked yet whom to trust */
    uint32_t min_id_length;
    uint32_t flush_queue_size;
    uint32_t flush_max_retries;
    uint64_t flush_interval_ms;
    uint64_t throttle_ms;

    oa_hash_key hash_key;
    char *property_prefix; /* owned */
    oa_template_style style;
    oa_template **templates; /* id -> template */
    uint32_t template_count;
    uint32_t template_cap;
    oa_exposure *exposure; /* NULL: every decision is sent */

    oa_arena arena;
    oa_queue queue;
    uint32_t queue_events; /* what the queue would add to a request, roughly */
    oa_batch_list ready;
    oa_park park;
    oa_flushes flushes;
    oa_fit fit;
    uint64_t next_seq;

    uint64_t front_since_ms; /* monotonic; when the front of the queue was there, at the latest */
    uint64_t retry_at_ms;    /* monotonic; nothing is sent before; a flush ends the wait... */
    uint64_t retry_after_ms; /* ...but not before this: a server's Retry-After */
    uint64_t close_deadline_ms; /* monotonic */
    int64_t last_wall_ms;       /* when the last exchange ended, on both clocks */
    uint64_t last_monotonic_ms;

    oa_stats stats; /* but for the members that oa_dispatcher_stats() fills in */

    void (*destroyed)(void *data);
    void *destroyed_data;
};

/* deliver.c */

/* Have oa_deliver_step() called from the loop, soon. */
void oa_deliver_soon(oa_dispatcher *dispatcher);

/* Set the timer to the next moment at which something is due. */
void oa_deliver_schedule(oa_dispatcher *dispatcher);

/* Do what is due now: end flushes, release parked users, close, send. The timer's callback. */
void oa_deliver_step(oa_dispatcher *dispatcher);

/* End the request in flight, if any, within a millisecond; its job still comes back. */
void oa_deliver_abort(oa_dispatcher *dispatcher);

/* verdict.c */

/* Deal out what is in job.batch by the job's outcome; the batch is gone afterwards. */
void oa_verdict_apply(oa_dispatcher *dispatcher);

/* Drop everything that is queued, ready or parked. Nothing is in flight. */
void oa_verdict_drop_all(oa_dispatcher *dispatcher, oa_drop_reason reason, const char *message);

/* Drop a decision that was taken off its queue, for lack of memory to go on with it. */
void oa_verdict_drop_record(oa_dispatcher *dispatcher, oa_record *record);

/* Free everything that is queued, ready or parked without a word. */
void oa_verdict_discard_all(oa_dispatcher *dispatcher);

/* dispatcher.c, for the others */

/* Close the timer, then free everything and tell whoever called oa_dispatcher_destroy(). */
void oa_dispatcher_free_later(oa_dispatcher *dispatcher);

/* Log one printf-like line under a topic; debug lines only if wanted. */
void oa_dispatcher_log(oa_dispatcher *dispatcher, oa_log_level level, const char *topic,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
