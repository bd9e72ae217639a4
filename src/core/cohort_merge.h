/*
 * cohort_merge.h: the next table out of the present one, an overlay and what was read.
 *
 * Thread: any; the runs have one owner, the present table any number of readers.
 */
#ifndef OA_COHORT_MERGE_H
#define OA_COHORT_MERGE_H

#include "cohort.h"
#include "cohort_runs.h"

/* What was read for one cohort. */
typedef struct oa_cohort_input {
    oa_cohort_runs *runs; /* ended; NULL: nothing was read */
    const oa_cohort_meta *meta;
    int64_t fetched_ms;
} oa_cohort_input;

/* Whether a plan can be followed. */
oa_status oa_cohort_plan_check(const oa_cohort_plan *plan) __attribute__((warn_unused_result));

/*
 * Merge, as oa_cohort_build_finish() states. Borrows everything but what is read from the runs;
 * writes *delta; returns *out owned. Errors: OA_NOMEM, OA_TOO_LARGE.
 */
oa_status oa_cohort_merge_input(const oa_cohort_plan *plan, const oa_cohort_table *present,
                                const oa_cohort_overlay *overlay, const oa_cohort_input *input,
                                oa_cohort_delta *delta, oa_cohort_table **out)
    __attribute__((warn_unused_result));

#endif
