/*
 * batch.h: the records of one attempt, and the list of batches that wait.  [one owner]
 *
 * A batch belongs to the dispatcher, or to the taker of the attempt that carries it. It points to
 * records that were taken off a queue and owes each of them a release. Its marks are what the
 * answer means for each record; its fields are the whole state that survives from one attempt to
 * the next.
 */
#ifndef OA_BATCH_H
#define OA_BATCH_H

#include "amplitude/limits.h"
#include "oa.h"
#include "record.h"

enum { OA_BATCH_MAX_RECORDS = OA_REQUEST_MAX_EVENTS };

/* What an answer means for one record: of the server, or of a store. */
typedef enum oa_mark {
    OA_MARK_KEEP,      /* nothing: send it again */
    OA_MARK_INVALID,   /* refused for good */
    OA_MARK_QUOTA,     /* its user is over the daily quota */
    OA_MARK_THROTTLED, /* its user has to pause */
    OA_MARK_AGAIN,  /* delivered, but another process sent another value: set the property again */
    OA_MARK_REPEAT, /* the fleet has sent it: it is none */
    OA_MARK_DELIVERED, /* it was delivered before, and its property is the last one after all */
    OA_MARK_ALONE, /* it had a part in a shared $identify that was refused: send it on its own */
} oa_mark;

/* What attempts that failed say against a batch, and not against the server. */
typedef struct oa_suspicion {
    uint16_t failures;        /* attempts with all of these records that failed */
    uint16_t blames;          /* of them, those since whose predecessor others were accepted */
    uint64_t accepted_before; /* attempts that the server had taken when the last of them failed */
    uint64_t refused_alone;   /* the same and 1, when the only record was refused; 0: it was not */
} oa_suspicion;

typedef struct oa_batch {
    struct oa_batch *next; /* in a list */
    bool again;            /* an attempt carried (some of) it before */
    uint8_t slow_lists;    /* answers in a row that listed hardly any of it */
    size_t share;          /* of throttled users, what is sent at once; 0: they are not */
    oa_suspicion suspicion;
    size_t count;
    size_t cap;
    oa_record **records; /* in order of acceptance */
    uint8_t *marks;      /* oa_mark for each record; meaningful after an attempt */
} oa_batch;

/* Create a batch with room for `cap` records. Ownership: returns *out owned. Errors: OA_NOMEM. */
oa_status oa_batch_new(size_t cap, oa_batch **out) __attribute__((warn_unused_result));

/* Take the batch itself; its records must have gone elsewhere. NULL is fine. */
void oa_batch_free(oa_batch *batch);

/* Append a record; there must be room. The batch owes its release from now on. */
static inline void oa_batch_add(oa_batch *batch, oa_record *record) {
    batch->records[batch->count++] = record;
}

/*
 * Cut off everything from record `at` on (0 < at < count) into a new batch with the same history,
 * which is returned owned. Errors: OA_NOMEM; the batch is whole then.
 */
oa_status oa_batch_split(oa_batch *batch, size_t at, oa_batch **rest)
    __attribute__((warn_unused_result));

/*
 * Append the records of `other`, with what is known of either. Ownership: takes `other`. Errors:
 * OA_NOMEM; both are untouched then, and `other` stays the caller's.
 */
oa_status oa_batch_join(oa_batch *batch, oa_batch *other) __attribute__((warn_unused_result));

/* Note that the next attempt will put the records together in another way: see identify_id() in
 * render.c. */
static inline void oa_batch_regroup(oa_batch *batch, size_t count) {
    for (size_t i = 0; i < count; i++)
        batch->records[i]->regrouped++;
}

/* Whether a filter takes a record, which is its own from then on; otherwise the batch keeps it. */
typedef bool oa_batch_taker(void *context, oa_record *record, oa_mark mark);

/*
 * Offer the first `among` records to `takes`, in order, and close the gaps that those it took leave
 * behind. Returns how many of them are left.
 */
size_t oa_batch_filter(oa_batch *batch, size_t among, oa_batch_taker *takes, void *context);

/* Batches in the order in which they are to be sent. */
typedef struct oa_batch_list {
    oa_batch *first;
    oa_batch *last;
    size_t record_count;
} oa_batch_list;

/* Take `batch` to the front. */
void oa_batch_list_push_front(oa_batch_list *list, oa_batch *batch);

/* Take `batch` to the end. */
void oa_batch_list_push_back(oa_batch_list *list, oa_batch *batch);

/* Return the first batch owned, or NULL. */
oa_batch *oa_batch_list_pop(oa_batch_list *list);

#endif
