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

/* Read a message, put it, merge it, and put it again; true if an allocation failed. */
static bool change(const oa_cohort_table *present, size_t nth) {
    memory_fail(nth);
    const oa_cohort_plan plan = plan_of(2, 0);
    oa_cohort_message *message = NULL;
    oa_cohort_changes *changes = NULL;
    oa_cohort_table *table = NULL;
    const oa_cohort_overlay *overlay = NULL;
    oa_cohort_changes *opened = NULL;
    bool is_all = false;
    size_t count = 0;
    oa_cohort_moved moved;
    oa_status status = oa_cohort_message_new(cohort_key(), 5000, &message);
    for (uint64_t user = 0; user < 3000 && status == OA_OK; user++) {
        char text[64];
        const int len = snprintf(text, sizeof(text), "%s{\"user_id\":\"user-%u\"}",
                                 user == 0 ? "{\"users\":[" : ",", (unsigned)user);
        status = oa_cohort_message_feed(message, (oa_str){text, (size_t)len});
    }
    static const char end[] = "],\"cohort_id\":\"c1\",\"in_cohort\":true,\"computed_time\":9}";
    if (status == OA_OK)
        status = oa_cohort_message_feed(message, (oa_str){end, sizeof(end) - 1});
    if (status == OA_OK)
        status = oa_cohort_message_end(message);
    if (status == OA_OK)
        status = oa_cohort_changes_new(4000, &changes);
    oa_cohort_move move = {.cohort = 1, .is_in = true, .time_ms = 9000};
    if (status == OA_OK) {
        move.prints = oa_cohort_message_prints(message, &count);
        move.count = count;
        status = oa_cohort_changes_put(changes, present, &move, &moved);
    }
    if (status == OA_OK)
        status = oa_cohort_changes_begin_merge(changes, &is_all, &overlay);
    if (status == OA_OK) {
        status = oa_cohort_merge(&plan, present, overlay, &table);
        oa_cohort_changes_end_merge(changes, status == OA_OK);
    }
    if (status == OA_OK)
        status = oa_cohort_changes_put(changes, table, &move, &moved);
    static char bytes[200000];
    if (status == OA_OK) {
        const oa_str saved = {bytes, oa_cohort_changes_bytes(changes, 2)};
        assert_true(saved.len <= sizeof(bytes));
        oa_cohort_changes_write(changes, cohort_key(), 2, bytes);
        status = oa_cohort_changes_open(cohort_key(), saved, 2, 4000, &opened);
    }
    const bool failed = memory_refusals() > 0;
    memory_fail(0);
    assert_int_equal(status, failed ? OA_NOMEM : OA_OK);
    if (!failed)
        assert_int_equal(moved.done, 3000);
    for (uint64_t user = 0; user < 200; user++)
        assert_int_equal(cohorts_of(present, user), user < 100);
    oa_cohort_table_free(table);
    oa_cohort_changes_free(changes);
    oa_cohort_changes_free(opened);
    oa_cohort_message_free(message);
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
    nth = 1;
    while (change(present, nth))
        nth++;
    print_message("a message: %zu allocations\n", nth - 1);
    assert_true(nth > 15);
    oa_cohort_table_free(present);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
