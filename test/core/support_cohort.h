/*
 * support_cohort.h: tables made from numbers of users, for the tests of membership. User 7 is
 * "user-7".
 */
#ifndef SUPPORT_COHORT_H
#define SUPPORT_COHORT_H

#include "cohort.h"
#include "support.h"

/* A plan for the cohorts "c0", "c1" and so on, of which `cohort` is read from lines. */
oa_cohort_plan plan_of(size_t cohorts, size_t cohort);

/* Return the key of all these tables. */
const oa_hash_key *cohort_key(void);

uint64_t print_of(uint64_t user);

/* Feed the users of [first, end), every `step`-th; stop at the first error. */
oa_status feed_users(oa_cohort_build *build, uint64_t first, uint64_t end, uint64_t step);

/*
 * Make a table with these users in the cohort of `plan`. Borrows `present` and `overlay`, which may
 * be NULL; fails the test on an error. `delta` may be NULL.
 */
oa_cohort_table *table_with(const oa_cohort_plan *plan, const oa_cohort_table *present,
                            const oa_cohort_overlay *overlay, uint64_t first, uint64_t end,
                            uint64_t step, oa_cohort_delta *delta);

/* Return word 0 of the cohorts of a user. */
uint64_t cohorts_of(const oa_cohort_table *table, uint64_t user);

#endif
