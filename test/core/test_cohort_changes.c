/*
 * cohort_changes.c: messages in front of a table, lists that replace what they said, and merges.
 */
#include "support_cohort.h"

enum { MAX_CHANGES = 1000 };

/* A table with its changes, as a host has them. */
typedef struct fixture {
    oa_cohort_plan plan;
    oa_cohort_table *table;
    oa_cohort_changes *changes;
    oa_cohort_moved moved; /* by the last message */
} fixture;

static void start(fixture *f) {
    memset(f, 0, sizeof(*f));
    f->plan = plan_of(2, 0);
    f->table = table_with(&f->plan, NULL, NULL, 0, 10, 1, NULL); /* users 0 to 9 in cohort 0 */
    assert_int_equal(oa_cohort_changes_new(MAX_CHANGES, &f->changes), OA_OK);
}

static void stop(fixture *f) {
    oa_cohort_table_free(f->table);
    oa_cohort_changes_free(f->changes);
}

/* Put users [first, end). */
static oa_status put(fixture *f, size_t cohort, bool is_in, int64_t time, uint64_t first,
                     uint64_t end) {
    const size_t count = (size_t)(end - first);
    uint64_t *prints = must(malloc(count * sizeof(*prints)));
    for (size_t i = 0; i < count; i++)
        prints[i] = print_of(first + i);
    const oa_cohort_move move = {cohort, is_in, time, prints, count};
    const oa_status status = oa_cohort_changes_put(f->changes, f->table, &move, &f->moved);
    free(prints);
    return status;
}

static uint64_t find(const fixture *f, uint64_t user) {
    oa_cohort_set set = {{0}};
    if (f->table != NULL)
        oa_cohort_table_find(f->table, print_of(user), &set);
    oa_cohort_changes_apply(f->changes, print_of(user), &set);
    return set.words[0];
}

/* Merge, as a host does it; returns whether all changes were in it. */
static bool merge(fixture *f, bool is_done) {
    const oa_cohort_overlay *overlay = NULL;
    bool is_all = false;
    assert_int_equal(oa_cohort_changes_begin_merge(f->changes, &is_all, &overlay), OA_OK);
    oa_cohort_table *next = NULL;
    assert_int_equal(oa_cohort_merge(&f->plan, f->table, overlay, &next), OA_OK);
    if (is_done) {
        oa_cohort_table_free(f->table);
        f->table = next;
    } else {
        oa_cohort_table_free(next);
    }
    oa_cohort_changes_end_merge(f->changes, is_done);
    return is_all;
}

/* Load users [first, end) as the list of cohort 0 at `time`; returns the growth. */
static int64_t list(fixture *f, int64_t time, uint64_t first, uint64_t end) {
    oa_cohort_table *next = table_with(&f->plan, f->table, NULL, first, end, 1, NULL);
    oa_cohort_table_free(f->table);
    f->table = next;
    int64_t growth = -1;
    assert_true(oa_cohort_changes_listed(f->changes, f->table, 0, time, &growth));
    return growth;
}

static void test_messages_change_and_count(void **state) {
    (void)state;
    fixture f;
    start(&f);
    assert_int_equal(put(&f, 0, true, 100, 8, 15), OA_OK);
    assert_int_equal(f.moved.done, 7);
    assert_int_equal(f.moved.entered, 5); /* 8 and 9 were in it */
    assert_int_equal(put(&f, 0, false, 100, 0, 2), OA_OK);
    assert_int_equal(f.moved.left, 2);
    assert_int_equal(find(&f, 0), 0);
    assert_int_equal(find(&f, 5), 1);
    assert_int_equal(find(&f, 14), 1);
    assert_int_equal(find(&f, 15), 0);
    /* Late for those of which something later is known, and for no others. */
    assert_int_equal(put(&f, 0, true, 99, 1, 4), OA_OK);
    assert_int_equal(f.moved.late, 1);
    assert_int_equal(find(&f, 1), 0);
    /* Another cohort is another matter. */
    assert_int_equal(put(&f, 1, true, 1, 0, 1), OA_OK);
    assert_int_equal(f.moved.entered, 1);
    assert_int_equal(put(&f, OA_COHORT_MAX, true, 1, 0, 1), OA_TOO_LARGE);
    stop(&f);
}

static void test_a_merge_changes_no_answer(void **state) {
    (void)state;
    fixture f;
    start(&f);
    assert_int_equal(put(&f, 0, true, 100, 20, 30), OA_OK);
    assert_int_equal(put(&f, 0, false, 110, 5, 6), OA_OK);
    assert_true(merge(&f, true));
    assert_int_equal(oa_cohort_changes_count(f.changes), 0);
    assert_int_equal(cohorts_of(f.table, 25), 1);
    assert_int_equal(cohorts_of(f.table, 5), 0);
    assert_int_equal(find(&f, 25), 1);
    assert_int_equal(find(&f, 5), 0);
    /* What is merged still tells what is late. */
    assert_int_equal(put(&f, 0, true, 105, 5, 7), OA_OK);
    assert_int_equal(f.moved.late, 1);
    assert_int_equal(find(&f, 5), 0);
    assert_int_equal(put(&f, 0, true, 120, 5, 6), OA_OK);
    assert_int_equal(find(&f, 5), 1);
    stop(&f);
}

static void test_what_is_given_up_is_remembered_as_one_time(void **state) {
    (void)state;
    fixture f;
    start(&f);
    assert_int_equal(put(&f, 0, false, 100, 5, 6), OA_OK);
    assert_true(merge(&f, true));
    assert_true(oa_cohort_changes_allow(f.changes, 0, 50));
    assert_true(merge(&f, true)); /* and user 5 is given up */
    assert_int_equal(put(&f, 0, true, 99, 5, 6), OA_OK);
    assert_int_equal(f.moved.late, 1);
    assert_int_equal(find(&f, 5), 0);
    assert_false(oa_cohort_changes_allow(f.changes, 0, 99));
    assert_true(oa_cohort_changes_allow(f.changes, 0, 100));
    assert_true(oa_cohort_changes_allow(f.changes, 1, 0)); /* nothing was said of it */
    assert_int_equal(put(&f, 0, true, 100, 5, 6), OA_OK);
    assert_int_equal(f.moved.late, 0); /* another message of the same moment */
    stop(&f);
}

static void test_a_list_replaces_what_is_earlier(void **state) {
    (void)state;
    fixture f;
    start(&f);
    assert_int_equal(put(&f, 0, true, 100, 20, 22), OA_OK);
    assert_int_equal(put(&f, 0, true, 200, 21, 24), OA_OK);
    assert_int_equal(put(&f, 0, false, 200, 5, 6), OA_OK);
    assert_int_equal(put(&f, 1, true, 100, 20, 21), OA_OK);
    assert_int_equal(list(&f, 150, 5, 8), 2); /* 21, 22 and 23 enter, and 5 leaves */
    assert_int_equal(find(&f, 20), 2);
    assert_int_equal(find(&f, 21), 1);
    assert_int_equal(find(&f, 5), 0);
    assert_int_equal(find(&f, 6), 1);
    assert_int_equal(put(&f, 0, true, 150, 40, 41), OA_OK); /* the list knew it */
    assert_int_equal(f.moved.late, 1);
    assert_int_equal(find(&f, 40), 0);
    assert_int_equal(list(&f, 300, 0, 1), 0);
    assert_int_equal(find(&f, 21), 0);
    assert_int_equal(find(&f, 0), 1);
    stop(&f);
}

static void test_what_a_list_puts_out_of_the_table_is_merged_again(void **state) {
    (void)state;
    fixture f;
    start(&f);
    assert_int_equal(put(&f, 0, true, 200, 20, 25), OA_OK);
    assert_true(merge(&f, true));
    assert_int_equal(put(&f, 0, false, 210, 24, 25), OA_OK); /* above the one that is merged */
    assert_int_equal(list(&f, 150, 0, 3), 4);
    assert_int_equal(cohorts_of(f.table, 20), 0);
    assert_int_equal(find(&f, 20), 1);
    assert_int_equal(find(&f, 24), 0);
    assert_false(merge(&f, true)); /* first what was merged before */
    assert_int_equal(cohorts_of(f.table, 20), 1);
    assert_true(merge(&f, true));
    assert_true(merge(&f, true));
    assert_int_equal(find(&f, 20), 1);
    assert_int_equal(find(&f, 24), 0);
    assert_int_equal(find(&f, 0), 1);
    stop(&f);
}

static void test_a_merge_that_fails_is_made_again(void **state) {
    (void)state;
    fixture f;
    start(&f);
    assert_int_equal(put(&f, 0, true, 200, 20, 25), OA_OK);
    assert_true(merge(&f, false));
    assert_int_equal(put(&f, 0, true, 201, 30, 31), OA_OK);
    assert_int_equal(find(&f, 20), 1);
    assert_false(merge(&f, true));
    assert_int_equal(cohorts_of(f.table, 20), 1);
    assert_true(merge(&f, true));
    assert_true(merge(&f, true));
    assert_int_equal(find(&f, 20), 1);
    assert_int_equal(find(&f, 30), 1);
    stop(&f);
}

static void test_a_full_overlay_waits_for_a_merge(void **state) {
    (void)state;
    fixture f;
    start(&f);
    assert_int_equal(put(&f, 0, true, 100, 0, MAX_CHANGES + 10), OA_TOO_LARGE);
    assert_int_equal(f.moved.done, MAX_CHANGES);
    assert_true(merge(&f, true));
    assert_int_equal(put(&f, 0, true, 100, MAX_CHANGES, MAX_CHANGES + 10), OA_OK);
    assert_int_equal(f.moved.entered, 10);
    assert_int_equal(find(&f, MAX_CHANGES + 9), 1);
    stop(&f);
}

static void test_too_many_to_be_counted(void **state) {
    (void)state;
    fixture f;
    start(&f);
    oa_cohort_changes_free(f.changes);
    assert_int_equal(oa_cohort_changes_new(10000, &f.changes), OA_OK);
    assert_int_equal(put(&f, 0, true, 100, 0, 5000), OA_OK);
    int64_t growth = -1;
    assert_false(oa_cohort_changes_listed(f.changes, f.table, 0, 50, &growth));
    assert_int_equal(growth, 0);
    assert_int_equal(find(&f, 4999), 1);
    assert_true(merge(&f, true));
    assert_int_equal(oa_cohort_table_info(f.table, 0)->members, 5000);
    stop(&f);
}

/* The bytes of the changes, each of its own size for AddressSanitizer. */
static char *save(const fixture *f, size_t *len) {
    *len = oa_cohort_changes_bytes(f->changes, 2);
    char *bytes = must(malloc(*len));
    oa_cohort_changes_write(f->changes, cohort_key(), 2, bytes);
    return bytes;
}

/* Go on with what another process makes of the bytes of the changes. */
static void reopen(fixture *f) {
    size_t len = 0;
    char *bytes = save(f, &len);
    oa_cohort_changes_free(f->changes);
    assert_int_equal(
        oa_cohort_changes_open(cohort_key(), (oa_str){bytes, len}, 2, MAX_CHANGES, &f->changes),
        OA_OK);
    free(bytes);
}

static void test_another_process_goes_on_with_the_changes(void **state) {
    (void)state;
    fixture f;
    start(&f);
    assert_int_equal(put(&f, 0, false, 100, 5, 6), OA_OK);
    assert_true(merge(&f, true));
    assert_true(merge(&f, true)); /* user 5 is given up */
    assert_int_equal(put(&f, 0, true, 200, 20, 25), OA_OK);
    assert_true(merge(&f, true));
    assert_int_equal(put(&f, 0, false, 210, 3, 5), OA_OK);
    assert_int_equal(put(&f, 1, true, 220, 20, 22), OA_OK);
    reopen(&f);
    assert_int_equal(oa_cohort_changes_count(f.changes), 4);
    assert_int_equal(find(&f, 3), 0);
    assert_int_equal(find(&f, 20), 3);
    int64_t growth[OA_COHORT_MAX];
    oa_cohort_changes_growth(f.changes, f.table, growth);
    assert_int_equal(growth[0], -2); /* the others are in the table */
    assert_int_equal(growth[1], 2);
    /* What was late is late, and what was later than a list still is. */
    assert_false(oa_cohort_changes_allow(f.changes, 0, 99));
    assert_int_equal(put(&f, 0, true, 99, 5, 6), OA_OK);
    assert_int_equal(f.moved.late, 1);
    assert_int_equal(put(&f, 0, false, 199, 20, 21), OA_OK);
    assert_int_equal(f.moved.late, 1);
    assert_int_equal(find(&f, 20), 3);
    /* A merge takes all, since the table of the other process may have none of it. */
    assert_false(merge(&f, true));
    assert_true(merge(&f, true));
    assert_int_equal(cohorts_of(f.table, 20), 1); /* cohort 1 is not loaded */
    assert_int_equal(cohorts_of(f.table, 3), 0);
    stop(&f);
}

static void test_the_changes_of_two_processes(void **state) {
    (void)state;
    fixture f, other;
    start(&f);
    start(&other);
    assert_int_equal(put(&other, 0, false, 100, 1, 3), OA_OK);
    assert_true(merge(&other, true));
    assert_true(merge(&other, true)); /* 1 and 2 are given up */
    assert_int_equal(put(&other, 0, true, 200, 20, 22), OA_OK);
    assert_true(merge(&other, true)); /* in `old` */
    assert_int_equal(put(&other, 0, false, 300, 5, 7), OA_OK);
    assert_int_equal(put(&f, 0, true, 150, 30, 31), OA_OK);
    assert_int_equal(put(&f, 0, false, 250, 21, 22), OA_OK);
    assert_int_equal(put(&f, 0, true, 350, 5, 6), OA_OK);
    assert_int_equal(oa_cohort_changes_add(f.changes, f.table, other.changes), OA_OK);
    assert_int_equal(find(&f, 20), 1);
    assert_int_equal(find(&f, 21), 0); /* the latest counts */
    assert_int_equal(find(&f, 30), 1);
    assert_int_equal(find(&f, 5), 1);
    assert_int_equal(find(&f, 6), 0);
    assert_false(oa_cohort_changes_allow(f.changes, 0, 99));
    assert_true(oa_cohort_changes_allow(f.changes, 0, 100));
    /* Twice is once, and what a list replaced is not brought back. */
    assert_int_equal(oa_cohort_changes_add(f.changes, f.table, other.changes), OA_OK);
    assert_int_equal(oa_cohort_changes_count(f.changes), 5);
    assert_int_equal(list(&f, 250, 0, 3), 1); /* 5 enters, and 6 is not there */
    assert_int_equal(oa_cohort_changes_add(f.changes, f.table, other.changes), OA_OK);
    assert_int_equal(find(&f, 20), 0);
    assert_int_equal(find(&f, 5), 1);
    stop(&f);
    stop(&other);
}

static void test_bytes_that_are_no_changes(void **state) {
    (void)state;
    fixture f;
    start(&f);
    assert_int_equal(put(&f, 0, true, 200, 20, 25), OA_OK);
    size_t len = 0;
    char *bytes = save(&f, &len);
    oa_cohort_changes *other = NULL;
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= 4;
        assert_int_equal(
            oa_cohort_changes_open(cohort_key(), (oa_str){bytes, len}, 2, MAX_CHANGES, &other),
            OA_MALFORMED);
        bytes[i] ^= 4;
        char *cut = must(malloc(i + 1));
        memcpy(cut, bytes, i);
        assert_int_equal(
            oa_cohort_changes_open(cohort_key(), (oa_str){cut, i}, 2, MAX_CHANGES, &other),
            OA_MALFORMED);
        free(cut);
    }
    oa_hash_key key;
    oa_cohort_key_init(&key, (oa_str){"another key", 11});
    const oa_str all = {bytes, len};
    assert_int_equal(oa_cohort_changes_open(&key, all, 2, MAX_CHANGES, &other), OA_MALFORMED);
    assert_int_equal(oa_cohort_changes_open(cohort_key(), all, 1, MAX_CHANGES, &other),
                     OA_MALFORMED);
    assert_int_equal(oa_cohort_changes_open(cohort_key(), all, 2, 4, &other), OA_MALFORMED);
    assert_int_equal(oa_cohort_changes_open(cohort_key(), all, 2, 5, &other), OA_OK);
    oa_cohort_changes_free(other);
    free(bytes);
    stop(&f);
}

/* Random messages, lists and merges against what is known by hand: the latest of each user. */
static void test_in_any_order(void **state) {
    (void)state;
    enum { USERS = 40, STEPS = 4000 };
    fixture f;
    start(&f);
    bool is_in[USERS] = {false};
    for (size_t user = 0; user < 10; user++)
        is_in[user] = true;
    uint32_t seed = 11;
    int64_t now = 1000;
    for (int step = 0; step < STEPS; step++) {
        seed = seed * 1103515245 + 12345;
        const uint32_t chance = seed >> 8;
        const uint64_t user = chance / 64 % USERS;
        now++;
        if (chance % 64 == 0) {
            const uint64_t end = user + 5 < USERS ? user + 5 : USERS;
            (void)list(&f, now, user, end);
            for (uint64_t i = 0; i < USERS; i++)
                is_in[i] = i >= user && i < end;
        } else if (chance % 64 < 8) {
            (void)merge(&f, chance % 3 != 0);
        } else if (chance % 64 == 8) {
            reopen(&f);
        } else {
            is_in[user] = chance % 2 == 0;
            assert_int_equal(put(&f, 0, is_in[user], now, user, user + 1), OA_OK);
            assert_int_equal(f.moved.late, 0);
            /* An earlier one of the same user changes nothing. */
            assert_int_equal(put(&f, 0, !is_in[user], now - 1, user, user + 1), OA_OK);
            assert_int_equal(f.moved.late, 1);
        }
        for (uint64_t i = 0; i < USERS; i++)
            assert_int_equal(find(&f, i), is_in[i]);
    }
    stop(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_change_and_count),
        cmocka_unit_test(test_a_merge_changes_no_answer),
        cmocka_unit_test(test_what_is_given_up_is_remembered_as_one_time),
        cmocka_unit_test(test_a_list_replaces_what_is_earlier),
        cmocka_unit_test(test_what_a_list_puts_out_of_the_table_is_merged_again),
        cmocka_unit_test(test_a_merge_that_fails_is_made_again),
        cmocka_unit_test(test_a_full_overlay_waits_for_a_merge),
        cmocka_unit_test(test_too_many_to_be_counted),
        cmocka_unit_test(test_another_process_goes_on_with_the_changes),
        cmocka_unit_test(test_the_changes_of_two_processes),
        cmocka_unit_test(test_bytes_that_are_no_changes),
        cmocka_unit_test(test_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
