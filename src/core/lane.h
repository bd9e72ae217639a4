/*
 * lane.h: decisions that are delivered one batch after another.  [externally synchronised]
 *
 * A dispatcher has one lane, or a few, so that a long round trip does not bound what it delivers. A
 * user is in one lane, by a hash: the order of each user is kept by keeping that of each lane. What
 * concerns the order of users is the lane's; what concerns the server (its health, the size that
 * fits, how long to wait) is the dispatcher's.
 *
 * Where a decision can be, and the order in which places are served (for one user, everything in an
 * earlier place was decided before everything in a later one):
 *
 *   attempt.batch (out)  ->  ready (to be sent next)  ->  queue (waiting)
 *                                 park (with their users, whose later decisions join them)
 */
#ifndef OA_LANE_H
#define OA_LANE_H

#include "attempt.h"
#include "batch.h"
#include "hash.h"
#include "oa.h"
#include "park.h"
#include "queue.h"

typedef struct oa_lane {
    oa_queue queue;
    uint32_t queue_events; /* what the queue would add to a request, roughly */
    /* Monotonic. */
    uint64_t front_since_at_ms; /* when the front of the queue was there, at the latest */
    uint64_t interval_ms;       /* flush_interval_ms, spread, for the front of the queue */
    oa_batch_list ready;
    oa_park park;
    oa_attempt attempt;
    bool is_out;     /* the attempt belongs to its taker */
    bool compares;   /* it sends uncompressed what was refused compressed: see coding.h */
    uint64_t number; /* of the attempt, among all that were begun, from 1 */
    /* Of the last attempt, for the host and the log: its own is written by the next one. */
    char message[400];
    bool has_notice;
    oa_attempt_notice notice;
} oa_lane;

typedef struct oa_lanes {
    oa_lane *first; /* owned; an array */
    oa_lane *end;
    oa_lane *turn;    /* who is asked first for something to send */
    size_t out_count; /* of attempts */
} oa_lanes;

/* Go through all lanes. */
#define OA_EACH_LANE(lane, lanes)                                                                  \
    for (oa_lane * (lane) = (lanes)->first; (lane) != (lanes)->end; (lane)++)

/*
 * Create so many lanes (0: one), whose attempts are still to be initialised. Ownership: `arena` and
 * `hash_key` are lent for life. Errors: OA_NOMEM.
 */
oa_status oa_lanes_new(oa_lanes *lanes, uint32_t count, oa_arena *arena,
                       const oa_hash_key *hash_key) __attribute__((warn_unused_result));

/* Free them; their decisions must have gone elsewhere. */
void oa_lanes_free(oa_lanes *lanes);

/* Whether there are several. */
static inline bool oa_lanes_are_many(const oa_lanes *lanes) {
    return lanes->end - lanes->first > 1;
}

/* Lend the lane of an identity; see oa_hash_identity(). Of a single lane, any one will do. */
oa_lane *oa_lanes_find(const oa_lanes *lanes, oa_hash identity);

/* Lend the lane that follows, after the last one the first. */
static inline oa_lane *oa_lanes_next(const oa_lanes *lanes, const oa_lane *lane) {
    return lane + 1 == lanes->end ? lanes->first : lanes->first + (lane + 1 - lanes->first);
}

/* Lend the lane of an attempt. */
static inline oa_lane *oa_lane_of(oa_attempt *attempt) {
    return (oa_lane *)(void *)((char *)attempt - offsetof(oa_lane, attempt));
}

/* Return how many users are parked, in all lanes; and how many groups are aside. */
size_t oa_lanes_parked_users(const oa_lanes *lanes);
size_t oa_lanes_aside(const oa_lanes *lanes);

/* Return when the first group that is parked until a moment is due (monotonic ms), or
 * UINT64_MAX. */
uint64_t oa_lanes_park_due_ms(const oa_lanes *lanes);

#endif
