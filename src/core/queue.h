/*
 * queue.h: records in order, in chunks of memory that are counted.  [externally synchronised]
 *
 * A queue is a list of chunks; records are appended at its end and taken from its front. A taken
 * record stays where it is until oa_record_release(); a chunk is freed with its last record. So
 * batches hold pointers, and nothing is copied on its way out.
 *
 * An attempt that is out reads the records of its batch on any thread. A queue meanwhile appends to
 * the same chunk, behind them: distinct bytes, so nothing is shared.
 */
#ifndef OA_QUEUE_H
#define OA_QUEUE_H

#include "oa.h"
#include "record.h"

struct oa_chunk;

/* Where chunks come from, and the account of them. Shared by the queues of one dispatcher. */
typedef struct oa_arena {
    size_t bytes; /* held by undelivered records */
    size_t high_water_bytes;
    size_t max_bytes; /* a hard limit on `bytes`, except for oa_queue_move() */
    size_t chunk_bytes;
    bool keeps_places; /* in a journal: each record has room for its own */
    /* Chunks that are kept, not in `bytes`: memory that is new to the process costs the loop a page
     * fault for every 60 decisions. */
    struct oa_chunk *spare;
    size_t spare_count;
} oa_arena;

void oa_arena_init(oa_arena *arena, size_t max_bytes);

/* Whether a record of a decision fits into an arena in which there is no other. */
bool oa_arena_could_take(const oa_arena *arena, const oa_decision *decision);

/* Free the spare chunks. Every record must have been released. */
void oa_arena_clear(oa_arena *arena);

typedef struct oa_queue {
    oa_arena *arena; /* borrowed for life */
    struct oa_chunk *first;
    struct oa_chunk *last;
    size_t at;    /* of the next record, in `first` */
    size_t count; /* records waiting */
} oa_queue;

void oa_queue_init(oa_queue *queue, oa_arena *arena);

/*
 * Append a record.
 *
 * A tracked event has no variant, and is the `event_properties` of `decision`.
 *
 * Ownership: copies the decision's bytes; takes a reference of `variant`; lends *out.
 * Errors: OA_QUEUE_FULL when max_bytes is reached or memory ran out.
 */
oa_status oa_queue_append(oa_queue *queue, oa_variant *variant, const oa_decision *decision,
                          oa_record **out) __attribute__((warn_unused_result));

/*
 * Append a copy of `record` and release the original. The arena's limit does not apply, since
 * nothing is added. Ownership: takes the record. Errors: OA_NOMEM; the record stays the caller's
 * then.
 */
oa_status oa_queue_move(oa_queue *queue, oa_record *record) __attribute__((warn_unused_result));

/* Lend the record at the front without taking it; NULL when the queue is empty. */
oa_record *oa_queue_peek(const oa_queue *queue);

/* Lend the record behind `record`, which is waiting in the queue; NULL at its end. */
oa_record *oa_queue_next(const oa_record *record);

/* Take the front record off the queue: the caller owes it an oa_record_release(). NULL when
 * empty. */
oa_record *oa_queue_take(oa_queue *queue);

/* Lend the last record that was appended and is still waiting; NULL when there is none. */
oa_record *oa_queue_last(const oa_queue *queue);

/* Give a taken record's memory and variant back. */
void oa_record_release(oa_arena *arena, oa_record *record);

#endif
