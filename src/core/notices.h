/*
 * notices.h: what is to be reported to the host, kept until it asks.  [externally synchronised]
 *
 * A host may hold a lock while it calls, so the core never calls back: log lines, dropped
 * decisions, attempts and flushes that are over lie here until oa_dispatcher_next_notice() hands
 * them out. A dropped decision is described from its record, which is released afterwards; nothing
 * is allocated for that, so no drop goes unreported for lack of memory.
 */
#ifndef OA_NOTICES_H
#define OA_NOTICES_H

#include "buf.h"
#include "oa.h"
#include "queue.h"

/* Dropped records of one reason, in order, linked by their `next`. */
typedef struct oa_drops {
    oa_record *first;
    oa_record *last;
    int status_code;
    char message[400]; /* of the last of them */
} oa_drops;

typedef struct oa_notices {
    bool debug;        /* whether debug lines are wanted */
    bool report_drops; /* whether dropped decisions are described */
    bool cancel;
    oa_buf lines; /* a header and a text each */
    size_t lines_at;
    oa_drops drops[2][OA_DROP_COUNT]; /* of queued decisions, and of refused ones */
    uint64_t untold;                  /* refused decisions that there was no room to describe */
    /* Refused decisions come on top of a full queue, so they have memory of their own. */
    oa_arena refused_arena;
    oa_queue refused;
    size_t lent_count;
    oa_record *lent_records[OA_DROPS_AT_ONCE];
    oa_dropped lent[OA_DROPS_AT_ONCE];
} oa_notices;

void oa_notices_init(oa_notices *notices, const oa_config *config);

/* Free what was not reported. `arena` is the one that dropped records came from. */
void oa_notices_clear(oa_notices *notices, oa_arena *arena);

/* Note one printf-like line under a topic; a debug line only if wanted. Out of memory loses the
 * line. */
void oa_notices_log(oa_notices *notices, oa_log_level level, const char *topic, const char *format,
                    ...) __attribute__((format(printf, 4, 5)));

/*
 * Note that a record was dropped. Its `seq` is over. Copies `message`.
 * Ownership: takes the record; `arena` is the one that it came from.
 */
void oa_notices_drop(oa_notices *notices, oa_arena *arena, oa_record *record, oa_drop_reason reason,
                     int status_code, const char *message);

/*
 * Note that a decision, or a tracked event (see oa_queue_append()), was refused on arrival. Copies
 * it. `occurrence` NULL: it has no insert_id.
 * Returns whether the memory for such reports fills, so that the host should collect them now.
 */
bool oa_notices_refuse(oa_notices *notices, oa_variant *variant, const oa_decision *decision,
                       int64_t time_ms, const oa_occurrence *occurrence, oa_status status,
                       oa_drop_reason reason);

#endif
