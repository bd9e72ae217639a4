/*
 * queue.h: records in order, in chunks of memory that are counted.  [loop]
 *
 * A record is one undelivered decision: a small header and the bytes of its id, in one piece,
 * written once and never moved. A queue is a list of chunks; records are appended at its end and
 * taken from its front. A taken record stays where it is until oa_record_release(); a chunk is
 * freed with its last record. So batches hold pointers, and nothing is copied on its way out.
 *
 * The pool thread reads records of the batch that it sends. The loop meanwhile appends to the same
 * chunk, behind them: distinct bytes, so nothing is shared.
 */
#ifndef OA_QUEUE_H
#define OA_QUEUE_H

#include "exposure.h"
#include "oa.h"
#include "template.h"

/* What a decision adds to a request: a $identify and an event; behind one of the same user an event. */
enum { OA_EVENTS_OF_FIRST = 2, OA_EVENTS_OF_NEXT = 1 };

typedef struct oa_record {
    oa_template *template; /* counted reference */
    int64_t time_ms;       /* of the decision, since the epoch */
    uint64_t seq;          /* order of acceptance; what flushes wait for */
    oa_occurrence occurrence;
    uint32_t offset; /* from the head of its chunk */
    uint32_t event_properties_len;
    uint32_t user_properties_len;
    uint16_t user_id_len; /* 0: absent */
    uint16_t device_id_len;
    uint16_t attempts;  /* failed requests that carried it */
    uint16_t regrouped; /* how often it may have changed the $identify that it has a part in */
    uint8_t events;     /* OA_EVENTS_OF_...; roughly, the renderer knows exactly */
    bool alone;         /* never shares a $identify: Amplitude refused one that it had a part in */
    char bytes[];       /* user id, device id, event properties, user properties */
} oa_record;

static inline oa_str oa_record_user_id(const oa_record *record) {
    return (oa_str){record->user_id_len > 0 ? record->bytes : NULL, record->user_id_len};
}

static inline oa_str oa_record_device_id(const oa_record *record) {
    const char *at = record->bytes + record->user_id_len;
    return (oa_str){record->device_id_len > 0 ? at : NULL, record->device_id_len};
}

static inline oa_str oa_record_event_properties(const oa_record *record) {
    const char *at = record->bytes + record->user_id_len + record->device_id_len;
    return (oa_str){at, record->event_properties_len};
}

static inline oa_str oa_record_user_properties(const oa_record *record) {
    const oa_str before = oa_record_event_properties(record);
    return (oa_str){before.data + before.len, record->user_properties_len};
}

/* Whether two records are of one user: the same user id and the same device id. */
bool oa_record_same_user(const oa_record *a, const oa_record *b);

/* Hash of the record's identity; see oa_hash_identity(). */
oa_hash oa_record_identity(const oa_record *record, const oa_hash_key *key);

struct oa_chunk;

/* Where chunks come from, and the account of them. Shared by the queues of one dispatcher. */
typedef struct oa_arena {
    size_t bytes; /* held by undelivered records */
    size_t high_water_bytes;
    size_t max_bytes; /* a hard limit on `bytes`, but for oa_queue_move() */
    size_t chunk_bytes;
    /* Chunks that are kept, not in `bytes`: memory that is new to the process costs the loop a page fault
     * for every 60 decisions. */
    struct oa_chunk *spare;
    size_t spare_count;
} oa_arena;

void oa_arena_init(oa_arena *arena, size_t max_bytes);

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
 * Ownership: copies the decision's bytes; takes a reference of `template`; lends *out.
 * Errors: OA_QUEUE_FULL when max_bytes is reached or memory ran out.
 */
oa_status oa_queue_append(oa_queue *queue, oa_template *template, const oa_decision *decision,
                          oa_record **out) __attribute__((warn_unused_result));

/*
 * Append a copy of `record` and release the original. The arena's limit does not apply, since nothing
 * is added. Ownership: takes the record. Errors: OA_NOMEM; the record stays the caller's then.
 */
oa_status oa_queue_move(oa_queue *queue, oa_record *record) __attribute__((warn_unused_result));

/* Lend the record at the front without taking it; NULL when the queue is empty. */
oa_record *oa_queue_peek(const oa_queue *queue);

/* Lend the record behind `record`, which is waiting in the queue; NULL at its end. */
oa_record *oa_queue_next(const oa_record *record);

/* Take the front record off the queue: the caller owes it an oa_record_release(). NULL when empty. */
oa_record *oa_queue_take(oa_queue *queue);

/* Lend the last record that was appended and is still waiting; NULL when there is none. */
oa_record *oa_queue_last(const oa_queue *queue);

/* Give a taken record's memory and template back. */
void oa_record_release(oa_arena *arena, oa_record *record);

#endif
