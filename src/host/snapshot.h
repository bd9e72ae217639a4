/*
 * snapshot.h: a table of cohorts in a file, for the next process. It is mapped, so processes of a
 * machine share its memory.
 *
 * Thread: any; it blocks for as long as the file system does.
 */
#ifndef OA_HOST_SNAPSHOT_H
#define OA_HOST_SNAPSHOT_H

#include <stdatomic.h>

#include "cohort.h"
#include "oa.h"

/* The bytes of a file that a table reads; to be closed after the table was freed. */
typedef struct oa_snapshot {
    void *bytes; /* NULL: none */
    size_t size;
} oa_snapshot;

/*
 * Map a file, and check that it is a whole image. Borrows; returns *table owned, which reads *out.
 * Errors: OA_UNAVAILABLE: there is no such file, or it cannot be mapped; and those of
 * oa_cohort_table_open(). What replaces the file later does not change what is mapped.
 */
oa_status oa_snapshot_open(oa_str path, const oa_hash_key *key, oa_snapshot *out,
                           oa_cohort_table **table) __attribute__((warn_unused_result));

/* Take memory for an image that comes from elsewhere. Errors: OA_NOMEM. */
oa_status oa_snapshot_reserve(size_t size, oa_snapshot *out) __attribute__((warn_unused_result));

/* Unmap it; an empty one is fine. */
void oa_snapshot_close(oa_snapshot *snapshot);

/*
 * Write an image beside `path`, and rename it to that at once. It is not synchronised with the
 * disk: what a crash of the machine damages is refused when it is opened. Ends early, and changes
 * nothing, once *cancelled is set. Errors: OA_UNAVAILABLE, and errno says why.
 */
oa_status oa_snapshot_write(oa_str path, oa_str image, const atomic_bool *cancelled)
    __attribute__((warn_unused_result));

#endif
