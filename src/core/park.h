/*
 * park.h: decisions of throttled users wait here, while all others are sent. [externally
 * synchronised]
 *
 * Each answer that throttles makes a group: a set of users, the moment until which they pause, and
 * a queue of their records in order. A later decision of a parked user joins the end of that group,
 * so that no user's decisions overtake each other. A due group becomes batches at once, all of it,
 * and its users are free: what they decide from then on comes behind those batches.
 *
 * Invariant: a user is in one group at most.
 */
#ifndef OA_PARK_H
#define OA_PARK_H

#include "batch.h"
#include "oa.h"
#include "queue.h"

typedef struct oa_park_group oa_park_group;

typedef struct oa_park {
    oa_arena *arena;             /* lent */
    const oa_hash_key *hash_key; /* lent */
    oa_park_group *groups;       /* the latest first */
    struct oa_park_slot *slots;  /* open addressing: identity -> group */
    size_t slot_cap;             /* 0 or a power of two */
    size_t slots_used;           /* of users that are parked, or were */
    size_t user_count;
    size_t record_count;
} oa_park;

/* Start empty. `arena` and `hash_key` are lent for life. */
void oa_park_init(oa_park *park, oa_arena *arena, const oa_hash_key *hash_key);

/* Free all groups; their records must have been taken. */
void oa_park_clear(oa_park *park);

/* Open a group that waits until `until_ms` (monotonic). Lends *out. Errors: OA_NOMEM. */
oa_status oa_park_open(oa_park *park, uint64_t until_ms, oa_park_group **out)
    __attribute__((warn_unused_result));

/*
 * Park `record` (taken from its queue) and its user in `group`.
 * Ownership: takes the record. Errors: OA_NOMEM; the record stays the caller's then.
 */
oa_status oa_park_add(oa_park *park, oa_park_group *group, oa_record *record)
    __attribute__((warn_unused_result));

/* Lend the group in which the record's user is parked, or NULL. Costs nothing when no user is
 * parked. */
oa_park_group *oa_park_find(const oa_park *park, const oa_record *record);

/* Return when the first group is due (monotonic ms), or UINT64_MAX. */
uint64_t oa_park_due_ms(const oa_park *park);

/*
 * Move the records of every group that is due at `now_ms` into batches at the end of `out`, in
 * order, and free its users. Out of memory leaves what is left parked for another second.
 */
void oa_park_release(oa_park *park, uint64_t now_ms, oa_batch_list *out);

/* Take any one parked record, for a shutdown; NULL when there is none. The caller owes it a
 * release. */
oa_record *oa_park_take_any(oa_park *park);

#endif
