/*
 * park.h: decisions that wait with their users, while all others are sent.
 * [externally synchronised]
 *
 * A group is a set of users and a queue of their records in order. A later decision of a parked
 * user joins the end of that group, so that no user's decisions overtake each other. There are two
 * kinds:
 *
 *   timed   users that are throttled, or whose batch failed while others were accepted: until a
 *           moment
 *   aside   batches that failed while the server is in trouble: until their turn as a probe comes,
 *           or the trouble ends. The longest one first.
 *
 * A group that is released becomes batches, all of it, and its users are free: what they decide
 * from then on comes behind those batches.
 *
 * Invariant: a user is in one group at most, and has a record in it.
 */
#ifndef OA_PARK_H
#define OA_PARK_H

#include "batch.h"
#include "oa.h"
#include "queue.h"

/* What is known of the batch that a group began as; its batches inherit it. */
typedef struct oa_park_past {
    oa_suspicion suspicion; /* of the first `suspects` records */
    size_t suspects;
    size_t share; /* see batch.h */
} oa_park_past;

typedef struct oa_park_group oa_park_group;

typedef struct oa_park {
    oa_arena *arena;             /* lent */
    const oa_hash_key *hash_key; /* lent */
    oa_park_group *timed;        /* the latest first */
    oa_park_group *aside;        /* the longest first */
    size_t aside_count;
    struct oa_park_slot *slots; /* open addressing: identity -> group */
    size_t slot_cap;            /* 0 or a power of two */
    size_t slots_used;          /* of users that are parked, or were */
    size_t user_count;
    size_t record_count;
} oa_park;

/* Start empty. `arena` and `hash_key` are lent for life. */
void oa_park_init(oa_park *park, oa_arena *arena, const oa_hash_key *hash_key);

/* Free all groups; their records must have been taken. */
void oa_park_clear(oa_park *park);

/*
 * Open a group that waits until `until_ms` (monotonic), or aside for OA_PARK_ASIDE.
 * Ownership: lends *out; its past may be written. Errors: OA_NOMEM.
 */
#define OA_PARK_ASIDE UINT64_MAX
oa_status oa_park_open(oa_park *park, uint64_t until_ms, oa_park_group **out)
    __attribute__((warn_unused_result));

/* Lend what a group knows, to be written. */
oa_park_past *oa_park_past_of(oa_park_group *group);

/*
 * Park `record` (taken from its queue) and its user in `group`.
 * Ownership: takes the record. Errors: OA_NOMEM; the record stays the caller's then.
 */
oa_status oa_park_add(oa_park *park, oa_park_group *group, oa_record *record)
    __attribute__((warn_unused_result));

/* Close a group that was just opened and is still empty. */
void oa_park_cancel(oa_park *park, oa_park_group *group);

/* Lend the group in which the record's user is parked, or NULL. Free when nothing is parked. */
oa_park_group *oa_park_find(const oa_park *park, const oa_record *record);

/* Return when the first timed group is due (monotonic ms), or UINT64_MAX. */
uint64_t oa_park_due_ms(const oa_park *park);

/*
 * Move the records of every timed group that is due at `now_ms` into batches at the end of `out`,
 * in order, and free its users. Out of memory leaves what is left parked for another second.
 */
void oa_park_release(oa_park *park, uint64_t now_ms, oa_batch_list *out);

/*
 * Do the same with the group that is longest aside. False when there is none, or no memory: it
 * stays.
 */
bool oa_park_release_aside(oa_park *park, oa_batch_list *out);

/* Lend the first record of the group that is longest aside, or NULL. */
const oa_record *oa_park_peek_aside(const oa_park *park);

/* Lend the oldest decision that is parked, by its time, or NULL. */
const oa_record *oa_park_oldest(const oa_park *park);

/* Take any one parked record, for the end; NULL when there is none. The caller owes it a
 * release. */
oa_record *oa_park_take_any(oa_park *park);

#endif
