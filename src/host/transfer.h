/*
 * transfer.h: the members as another process has them: a table, and the changes in front of it.
 * They come through a store in pieces of text, and the messages that came to the store since then
 * behind them.
 *
 * Thread: one owner. Pieces are put on the loop, decoded; the rest is done on a thread.
 */
#ifndef OA_HOST_TRANSFER_H
#define OA_HOST_TRANSFER_H

#include "cohort.h"
#include "oa.h"

#ifdef __cplusplus
extern "C" {
#else
#include "snapshot.h"
#endif

typedef struct oa_transfer oa_transfer;

/*
 * Begin, with the lengths of both, of which that of the changes may be 0. Returns *out owned.
 * Errors: OA_NOMEM. Pages of memory are taken as they are written.
 */
oa_status oa_transfer_new(size_t table_bytes, size_t changes_bytes, oa_transfer **out)
    __attribute__((warn_unused_result));

/* Take it. NULL is fine. */
void oa_transfer_free(oa_transfer *transfer);

/* Put the next piece, in base64. Borrows. Errors: OA_MALFORMED: it is none, or too long. */
oa_status oa_transfer_put(oa_transfer *transfer, oa_str text) __attribute__((warn_unused_result));

/* Put a message that came later. Copies. Errors: OA_NOMEM. */
oa_status oa_transfer_say(oa_transfer *transfer, const oa_cohort_move *move)
    __attribute__((warn_unused_result));

#ifndef __cplusplus
/* What becomes of a transfer. */
typedef struct oa_transferred {
    oa_snapshot bytes; /* what the table reads; to be closed after the table */
    oa_cohort_table *table;
    oa_cohort_changes *changes;
    uint64_t members[OA_COHORT_MAX];
    size_t said; /* of the messages; the rest has no room before a merge */
} oa_transferred;

/* Return the time of the members of a cohort in a table, in ms, as well as it is known. */
int64_t oa_table_time(const oa_cohort_table *table, size_t cohort);

/* Whether a table has these cohorts, in this order. Borrows. */
bool oa_table_has_names(const oa_cohort_table *table, const oa_str *names, size_t count);

/* Whether the lists of a table may replace those behind some changes. Borrows. */
bool oa_table_is_allowed(const oa_cohort_table *table, const oa_cohort_changes *changes);

/* Have changes in front of a table forget what its lists replace. Borrows. */
void oa_table_listed(const oa_cohort_table *table, oa_cohort_changes *changes);

/*
 * Create changes in front of a table that has lists only; NULL: none yet. Borrows; returns *out
 * owned. Errors: OA_NOMEM.
 */
oa_status oa_table_changes(const oa_cohort_table *table, size_t max_changes,
                           oa_cohort_changes **out) __attribute__((warn_unused_result));

/*
 * Check that it is complete, and make of it what it is. Everything in *out is owned. Errors:
 * OA_MALFORMED: a piece is missing, or damaged, or the cohorts are others than `names`;
 * OA_FOREIGN, OA_NOMEM. Cost: reads all of it.
 */
oa_status oa_transfer_open(oa_transfer *transfer, const oa_hash_key *key, const oa_str *names,
                           size_t name_count, size_t max_changes, oa_transferred *out)
    __attribute__((warn_unused_result));

/* Free all of it; an empty one is fine. */
void oa_transferred_clear(oa_transferred *transferred);

/*
 * Write changes of a table with `cohorts` cohorts to *out, owned, to be freed; NULL for NULL. Sets
 * *len. Borrows. Errors: OA_NOMEM. Cost: 5 ns a change.
 */
oa_status oa_changes_save(const oa_cohort_changes *changes, const oa_hash_key *key, size_t cohorts,
                          char **out, size_t *len) __attribute__((warn_unused_result));

/* The other end: what is known at one moment. */
typedef struct oa_captured {
    oa_str table;  /* its image, lent by the table; absent: nothing is captured */
    char *changes; /* owned */
    size_t changes_bytes;
} oa_captured;

/*
 * Capture a table, until it is freed, and a copy of the changes in front of it; NULL: none.
 * Borrows. Errors: OA_NOMEM. Cost: 5 ns a change.
 */
oa_status oa_captured_init(oa_captured *captured, const oa_hash_key *key,
                           const oa_cohort_table *table, const oa_cohort_changes *changes)
    __attribute__((warn_unused_result));

/* Copy bytes [from, from + len) of both to `out`. Errors: OA_CLOSED: there are fewer. */
oa_status oa_captured_read(const oa_captured *captured, size_t from, size_t len, char *out)
    __attribute__((warn_unused_result));

/* Give it up; an empty one is fine. */
void oa_captured_clear(oa_captured *captured);
#endif

#ifdef __cplusplus
}
#endif

#endif
