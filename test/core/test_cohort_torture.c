/*
 * Membership with allocation 1, 2, 3 and so on failing, until none fails: no answer is wrong, the
 * present table stays as it is, and nothing leaks.
 */
#include "support_cohort.h"

enum { USERS = 140000 }; /* more than a run */

/* Refresh a table, with changes; true if an allocation failed. */
static bool refresh(const oa_cohort_table *present, size_t nth) {
    memory_fail(nth);
    oa_cohort_plan plan = plan_of(2, 1);
    oa_cohort_build *build = NULL;
    oa_cohort_overlay *overlay = NULL, *copy = NULL;
    oa_cohort_table *table = NULL, *opened = NULL;
    oa_cohort_delta delta;
    oa_status status = oa_cohort_overlay_new(1000, &overlay);
    for (uint64_t user = 0; user < 40 && status == OA_OK; user++)
        status = oa_cohort_overlay_put(overlay, print_of(user), 0, false, 1);
    if (status == OA_OK)
        status = oa_cohort_overlay_copy(overlay, &copy);
    if (status == OA_OK)
        status = oa_cohort_build_new(&plan, &build);
    if (status == OA_OK)
        status = feed_users(build, 50, USERS, 1);
    if (status == OA_OK)
        status = oa_cohort_build_end(build);
    if (status == OA_OK)
        status = oa_cohort_build_finish(build, present, copy, 0, &delta, &table);
    else if (build != NULL) /* it does not make a table of a part */
        assert_int_equal(oa_cohort_build_finish(build, present, copy, 0, &delta, &table), status);
    if (status == OA_OK)
        status = oa_cohort_table_open(cohort_key(), oa_cohort_table_image(table), &opened);
    const bool failed = memory_refusals() > 0;
    memory_fail(0);
    assert_int_equal(status, failed ? OA_NOMEM : OA_OK);
    for (uint64_t user = 0; user < 200; user++)
        assert_int_equal(cohorts_of(present, user), user < 100);
    if (opened != NULL) {
        for (uint64_t user = 0; user < 200; user++)
            assert_int_equal(cohorts_of(opened, user),
                             (user >= 40 && user < 100) + 2 * (user >= 50));
    }
    oa_cohort_table_free(opened);
    oa_cohort_table_free(table);
    oa_cohort_build_free(build);
    oa_cohort_overlay_free(copy);
    oa_cohort_overlay_free(overlay);
    return failed;
}

static void any_allocation_may_fail(void **state) {
    (void)state;
    const oa_cohort_plan plan = plan_of(2, 0);
    oa_cohort_table *present = table_with(&plan, NULL, NULL, 0, 100, 1, NULL);
    size_t nth = 1;
    while (refresh(present, nth))
        nth++;
    print_message("a refresh: %zu allocations\n", nth - 1);
    assert_true(nth > 50);
    oa_cohort_table_free(present);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
