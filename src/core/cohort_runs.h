/*
 * cohort_runs.h: prints that come in any order, kept small until they are read in order.  [one
 * owner]
 *
 * Sorting by merging, as it is done on tapes: prints are collected in a buffer; a full buffer is
 * sorted and kept as a run, compressed; in the end all runs are read side by side. What was read is
 * freed at once, so that a table that is written from it grows into the memory that becomes free.
 *
 * Memory: 5.3 bytes a print, and 2.1 MB.
 */
#ifndef OA_COHORT_RUNS_H
#define OA_COHORT_RUNS_H

#include "oa.h"

typedef struct oa_cohort_runs oa_cohort_runs;

/* Start empty. Returns *out owned. Errors: OA_NOMEM. */
oa_status oa_cohort_runs_new(oa_cohort_runs **out) __attribute__((warn_unused_result));

/* Take the runs. NULL is fine. */
void oa_cohort_runs_free(oa_cohort_runs *runs);

/* Add a print. Errors: OA_NOMEM; it is not added then. */
oa_status oa_cohort_runs_add(oa_cohort_runs *runs, uint64_t print)
    __attribute__((warn_unused_result));

/* Return how many prints there are to read, at most: repeats that are far apart count each time. */
uint64_t oa_cohort_runs_count(const oa_cohort_runs *runs);

/* Nothing more is added; from now on it is read. Errors: OA_NOMEM. */
oa_status oa_cohort_runs_end(oa_cohort_runs *runs) __attribute__((warn_unused_result));

/*
 * Read the next prints: *out and *count, ascending, each once; UINT64_MAX follows the last of them.
 * None are left when *count is 0. Lends them until the next call. Errors: OA_NOMEM.
 */
oa_status oa_cohort_runs_next(oa_cohort_runs *runs, const uint64_t **out, size_t *count)
    __attribute__((warn_unused_result));

#endif
