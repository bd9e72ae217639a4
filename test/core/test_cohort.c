/*
 * Builds, tables and overlays: who is in which cohort, after any sequence of changes.
 */
#include "cohort_overlay.h"
#include "cohort_runs.h"
#include "cohort_table.h"
#include "support_cohort.h"

/* ---- One cohort ---- */

static void members_are_found_and_others_are_not(void **state) {
    (void)state;
    static const uint64_t sizes[] = {0, 1, 2, 15, 16, 17, 1000, 131072, 131073, 300000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const oa_cohort_plan plan = plan_of(1, 0);
        oa_cohort_delta delta;
        oa_cohort_table *table = table_with(&plan, NULL, NULL, 0, sizes[i], 1, &delta);
        for (uint64_t user = 0; user < sizes[i] + 50000; user++)
            assert_int_equal(cohorts_of(table, user), user < sizes[i]);
        assert_int_equal(oa_cohort_table_users(table), sizes[i]);
        assert_int_equal(oa_cohort_table_info(table, 0)->members, sizes[i]);
        assert_int_equal(delta.members, sizes[i]);
        assert_int_equal(delta.entered, sizes[i]);
        assert_int_equal(delta.before + delta.stayed + delta.left, 0);
        oa_cohort_table_free(table);
    }
}

static void a_member_takes_few_bytes(void **state) {
    (void)state;
    const oa_cohort_plan one = plan_of(1, 0), eight = plan_of(8, 3);
    oa_cohort_table *table = table_with(&one, NULL, NULL, 0, 600000, 1, NULL);
    assert_true(oa_cohort_table_image(table).len < 600000 * 7);
    oa_cohort_table_free(table);
    table = table_with(&eight, NULL, NULL, 0, 600000, 1, NULL);
    assert_true(oa_cohort_table_image(table).len < 600000 * 8);
    oa_cohort_table_free(table);
}

static void repeats_count_once(void **state) {
    (void)state;
    const oa_cohort_plan plan = plan_of(1, 0);
    oa_cohort_build *build = NULL;
    assert_int_equal(oa_cohort_build_new(&plan, &build), OA_OK);
    for (int round = 0; round < 7; round++) /* within a run, and in several */
        assert_int_equal(feed_users(build, 0, 50000, 1), OA_OK);
    assert_int_equal(oa_cohort_build_end(build), OA_OK);
    assert_int_equal(oa_cohort_build_meta(build)->ids, 350000);
    oa_cohort_delta delta;
    oa_cohort_table *table = NULL;
    assert_int_equal(oa_cohort_build_finish(build, NULL, NULL, 0, &delta, &table), OA_OK);
    assert_int_equal(delta.members, 50000);
    assert_int_equal(oa_cohort_table_users(table), 50000);
    oa_cohort_build_free(build);
    oa_cohort_table_free(table);
}

/* Pages that are in use; those of tables are left out. */
static size_t page_bytes, most_page_bytes;
enum { LARGE_BYTES = 1 << 20 };

static void *count_pages(size_t size) {
    page_bytes += size < LARGE_BYTES ? size : 0;
    most_page_bytes = page_bytes > most_page_bytes ? page_bytes : most_page_bytes;
    return malloc(size);
}

static void uncount_pages(void *pointer, size_t size) {
    page_bytes -= size < LARGE_BYTES ? size : 0;
    free(pointer);
}

static void what_is_read_is_small_and_freed_while_it_is_merged(void **state) {
    (void)state;
    enum { USERS = 1000000 };
    oa_set_pages((oa_pages){count_pages, uncount_pages});
    const oa_cohort_plan plan = plan_of(1, 0);
    oa_cohort_build *build = NULL;
    oa_cohort_delta delta;
    oa_cohort_table *table = NULL;
    assert_int_equal(oa_cohort_build_new(&plan, &build), OA_OK);
    assert_int_equal(feed_users(build, 0, USERS, 1), OA_OK);
    assert_int_equal(oa_cohort_build_end(build), OA_OK);
    assert_true(most_page_bytes < USERS * 6);
    assert_int_equal(oa_cohort_build_finish(build, NULL, NULL, 0, &delta, &table), OA_OK);
    assert_true(page_bytes < most_page_bytes / 15); /* the build is still there */
    oa_cohort_build_free(build);
    oa_cohort_table_free(table);
    assert_int_equal(page_bytes, 0);
    oa_set_pages((oa_pages){NULL, NULL});
}

static void a_large_body_is_refused(void **state) {
    (void)state;
    oa_cohort_plan plan = plan_of(1, 0);
    plan.max_members = 1000;
    oa_cohort_build *build = NULL;
    assert_int_equal(oa_cohort_build_new(&plan, &build), OA_OK);
    assert_int_equal(feed_users(build, 0, 1000, 1), OA_OK);
    assert_int_equal(feed_users(build, 1000, 1001, 1), OA_TOO_LARGE);
    assert_int_equal(oa_cohort_build_end(build), OA_TOO_LARGE); /* for good */
    oa_cohort_delta delta;
    oa_cohort_table *table = NULL;
    assert_int_equal(oa_cohort_build_finish(build, NULL, NULL, 0, &delta, &table), OA_TOO_LARGE);
    assert_null(table);
    oa_cohort_build_free(build);
}

static void a_build_is_finished_once_and_after_its_end(void **state) {
    (void)state;
    const oa_cohort_plan plan = plan_of(1, 0);
    oa_cohort_build *build = NULL;
    oa_cohort_delta delta;
    oa_cohort_table *table = NULL, *second = NULL;
    assert_int_equal(oa_cohort_build_new(&plan, &build), OA_OK);
    assert_int_equal(feed_users(build, 0, 10, 1), OA_OK);
    assert_int_equal(oa_cohort_build_finish(build, NULL, NULL, 0, &delta, &table), OA_MALFORMED);
    assert_int_equal(oa_cohort_build_end(build), OA_OK);
    assert_int_equal(oa_cohort_build_finish(build, NULL, NULL, 0, &delta, &table), OA_OK);
    assert_int_equal(oa_cohort_build_finish(build, NULL, NULL, 0, &delta, &second), OA_CLOSED);
    assert_null(second);
    oa_cohort_build_free(build);
    oa_cohort_table_free(table);
}

static void a_body_that_is_wrong_says_why(void **state) {
    (void)state;
    oa_cohort_plan plan = plan_of(1, 0);
    plan.format = OA_COHORT_JSON;
    oa_cohort_build *build = NULL;
    assert_int_equal(oa_cohort_build_new(&plan, &build), OA_OK);
    assert_null(oa_cohort_build_problem(build));
    assert_int_equal(oa_cohort_build_feed(build, str("{\"cohortId\":\"c0\",\"memberIds\":[\"a\",")),
                     OA_OK);
    assert_int_equal(oa_cohort_build_feed(build, str("7]}")), OA_MALFORMED);
    assert_string_equal(oa_cohort_build_problem(build), "an id that is no string");
    assert_string_equal(oa_cohort_build_meta(build)->cohort_id, "c0");
    assert_int_equal(oa_cohort_build_feed(build, str("[]")), OA_MALFORMED);
    oa_cohort_build_free(build);
}

static void bad_plans_are_refused(void **state) {
    (void)state;
    oa_cohort_build *build = NULL;
    oa_cohort_table *table = NULL;
    oa_cohort_plan plan = plan_of(0, 0);
    assert_int_equal(oa_cohort_build_new(&plan, &build), OA_TOO_LARGE);
    plan = plan_of(OA_COHORT_MAX + 1, 0);
    assert_int_equal(oa_cohort_build_new(&plan, &build), OA_TOO_LARGE);
    assert_int_equal(oa_cohort_merge(&plan, NULL, NULL, &table), OA_TOO_LARGE);
    plan = plan_of(2, 2);
    assert_int_equal(oa_cohort_build_new(&plan, &build), OA_TOO_LARGE);
    char text[OA_COHORT_NAME_BYTES + 1] = {0};
    const oa_str name = {text, sizeof(text)};
    plan = plan_of(1, 0);
    plan.names = &name;
    assert_int_equal(oa_cohort_build_new(&plan, &build), OA_TOO_LARGE);
    assert_null(build);
}

/* ---- Several cohorts ---- */

static void each_change_does_what_it_says(void **state) {
    (void)state;
    oa_cohort_plan plan = plan_of(3, 1);
    oa_cohort_delta delta;
    oa_cohort_table *first = table_with(&plan, NULL, NULL, 0, 1000, 1, &delta);
    plan.change = OA_COHORT_ENTER;
    oa_cohort_table *more = table_with(&plan, first, NULL, 900, 1200, 1, &delta);
    assert_memory_equal(&delta, (&(oa_cohort_delta){1000, 1200, 200, 1000, 0}), sizeof(delta));
    plan.change = OA_COHORT_LEAVE;
    oa_cohort_table *fewer = table_with(&plan, more, NULL, 1100, 5000, 1, &delta);
    assert_memory_equal(&delta, (&(oa_cohort_delta){1200, 1100, 0, 1100, 100}), sizeof(delta));
    plan.change = OA_COHORT_REPLACE;
    oa_cohort_table *others = table_with(&plan, fewer, NULL, 1000, 1500, 1, &delta);
    assert_memory_equal(&delta, (&(oa_cohort_delta){1100, 500, 400, 100, 1000}), sizeof(delta));
    for (uint64_t user = 0; user < 2000; user++) {
        assert_int_equal(cohorts_of(first, user), user < 1000 ? 2 : 0);
        assert_int_equal(cohorts_of(more, user), user < 1200 ? 2 : 0);
        assert_int_equal(cohorts_of(fewer, user), user < 1100 ? 2 : 0);
        assert_int_equal(cohorts_of(others, user), user >= 1000 && user < 1500 ? 2 : 0);
    }
    assert_int_equal(oa_cohort_table_users(others), 500); /* who is in none takes no memory */
    oa_cohort_table *none = table_with(&plan, others, NULL, 0, 0, 1, &delta);
    assert_int_equal(oa_cohort_table_users(none), 0);
    assert_true(oa_cohort_table_info(none, 1)->is_loaded); /* empty is an answer */
    assert_int_equal(delta.left, 500);
    oa_cohort_table *const tables[] = {first, more, fewer, others, none};
    for (size_t i = 0; i < 5; i++)
        oa_cohort_table_free(tables[i]);
}

/* A table grows from one to all cohorts, and is compared with arithmetic. */
static void cohorts_are_independent(void **state) {
    (void)state;
    static const size_t counts[] = {2, 8, 9, 64, 65, OA_COHORT_MAX};
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        oa_cohort_table *table = NULL;
        for (size_t i = 0; i < counts[c]; i++) {
            const oa_cohort_plan plan = plan_of(counts[c], i);
            oa_cohort_table *next = table_with(&plan, table, NULL, i, 3000, i + 1, NULL);
            oa_cohort_table_free(table);
            table = next;
        }
        for (uint64_t user = 0; user < 4000; user++) {
            oa_cohort_set set;
            oa_cohort_table_find(table, print_of(user), &set);
            for (size_t i = 0; i < OA_COHORT_MAX; i++)
                assert_int_equal(oa_cohort_set_has(&set, i),
                                 i < counts[c] && user < 3000 && (user + 1) % (i + 1) == 0);
        }
        for (size_t i = 0; i < counts[c]; i++)
            assert_int_equal(oa_cohort_table_info(table, i)->members, 3000 / (i + 1));
        oa_cohort_table_free(table);
    }
}

static void what_is_not_loaded_is_not_known(void **state) {
    (void)state;
    oa_cohort_plan plan = plan_of(3, 1);
    plan.change = OA_COHORT_ENTER; /* changes alone do not make a cohort known */
    oa_cohort_table *table = table_with(&plan, NULL, NULL, 0, 10, 1, NULL);
    assert_int_equal(oa_cohort_table_loaded(table).words[0], 0);
    assert_int_equal(cohorts_of(table, 5), 0);
    plan.loaded.words[0] = 2; /* unless the application says so */
    oa_cohort_table *loaded = NULL;
    assert_int_equal(oa_cohort_merge(&plan, table, NULL, &loaded), OA_OK);
    assert_int_equal(oa_cohort_table_loaded(loaded).words[0], 2);
    assert_int_equal(cohorts_of(loaded, 5), 2);
    plan.loaded.words[0] = 0;
    plan.cohort = 2;
    plan.change = OA_COHORT_REPLACE;
    oa_cohort_table *next = table_with(&plan, loaded, NULL, 5, 6, 1, NULL);
    assert_int_equal(oa_cohort_table_loaded(next).words[0], 6); /* and it stays so */
    assert_int_equal(cohorts_of(next, 5), 6);
    oa_cohort_table_free(table);
    oa_cohort_table_free(loaded);
    oa_cohort_table_free(next);
}

static void what_amplitude_says_of_a_cohort_is_kept(void **state) {
    (void)state;
    oa_cohort_plan plan = plan_of(2, 0);
    plan.format = OA_COHORT_JSON;
    oa_cohort_build *build = NULL;
    oa_cohort_delta delta;
    oa_cohort_table *table = NULL;
    assert_int_equal(oa_cohort_build_new(&plan, &build), OA_OK);
    assert_int_equal(
        oa_cohort_build_feed(build, str("{\"cohortId\":\"c0\",\"lastModified\":123,"
                                        "\"lastComputed\":45,\"memberIds\":[\"user-1\"]}")),
        OA_OK);
    assert_int_equal(oa_cohort_build_end(build), OA_OK);
    assert_int_equal(oa_cohort_build_finish(build, NULL, NULL, 6789, &delta, &table), OA_OK);
    oa_cohort_build_free(build);
    plan = plan_of(2, 1);
    oa_cohort_table *next = table_with(&plan, table, NULL, 1, 3, 1, NULL);
    oa_cohort_table_free(table);
    const oa_cohort_info *info = oa_cohort_table_info(next, 0);
    assert_int_equal(info->modified_ms, 123);
    assert_int_equal(info->computed_ms, 45);
    assert_int_equal(info->fetched_ms, 6789);
    assert_int_equal(info->members, 1);
    assert_memory_equal(info->name.data, "c0", 2);
    assert_int_equal(oa_cohort_table_info(next, 1)->fetched_ms, 1000);
    assert_int_equal(cohorts_of(next, 1), 3);
    oa_cohort_table_free(next);
}

static void cohorts_keep_their_members_when_the_list_changes(void **state) {
    (void)state;
    oa_cohort_table *table = NULL;
    for (size_t i = 0; i < 4; i++) {
        const oa_cohort_plan plan = plan_of(4, i);
        oa_cohort_table *next = table_with(&plan, table, NULL, i * 100, i * 100 + 150, 1, NULL);
        oa_cohort_table_free(table);
        table = next;
    }
    const oa_str names[] = {str("c3"), str("new"), str("c1")};
    oa_cohort_plan plan = plan_of(3, 0);
    plan.names = names;
    oa_cohort_table *next = NULL;
    assert_int_equal(oa_cohort_merge(&plan, table, NULL, &next), OA_OK);
    for (uint64_t user = 0; user < 600; user++) {
        const uint64_t expected =
            (user >= 300 && user < 450 ? 1U : 0U) | (user >= 100 && user < 250 ? 4U : 0U);
        assert_int_equal(cohorts_of(next, user), expected);
    }
    assert_int_equal(oa_cohort_table_users(next), 300);
    assert_int_equal(oa_cohort_table_loaded(next).words[0], 5);
    const oa_str swapped[] = {str("c1"), str("c0"), str("c2"), str("c3")};
    oa_cohort_table *other = NULL;
    plan = plan_of(4, 0);
    plan.names = swapped;
    assert_int_equal(oa_cohort_merge(&plan, table, NULL, &other), OA_OK);
    for (uint64_t user = 0; user < 600; user++) {
        const uint64_t set = cohorts_of(table, user);
        assert_int_equal(cohorts_of(other, user), (set & 12) | (set & 1) << 1 | (set >> 1 & 1));
    }
    oa_cohort_table_free(other);
    oa_cohort_table_free(table);
    oa_cohort_table_free(next);
    plan = plan_of(1, 0); /* down to one, of which no sets are stored */
    oa_cohort_table *small = table_with(&plan, NULL, NULL, 0, 10, 1, NULL);
    plan = plan_of(2, 1);
    oa_cohort_table *two = table_with(&plan, small, NULL, 5, 15, 1, NULL);
    plan = plan_of(1, 0);
    assert_int_equal(oa_cohort_merge(&plan, two, NULL, &next), OA_OK);
    for (uint64_t user = 0; user < 20; user++) {
        assert_int_equal(cohorts_of(two, user), (user < 10) + 2 * (user >= 5 && user < 15));
        assert_int_equal(cohorts_of(next, user), user < 10);
    }
    assert_int_equal(oa_cohort_table_users(next), 10);
    oa_cohort_table_free(small);
    oa_cohort_table_free(two);
    oa_cohort_table_free(next);
}

/* Small and large tables have other buckets; users and what is told apart stay the same. */
static void a_table_may_grow_and_shrink(void **state) {
    (void)state;
    oa_cohort_plan small = plan_of(2, 0), large = plan_of(2, 1);
    oa_cohort_table *table = table_with(&small, NULL, NULL, 0, 1000, 1, NULL);
    oa_cohort_table *grown = table_with(&large, table, NULL, 500, 400000, 1, NULL);
    oa_cohort_table *shrunk = table_with(&large, grown, NULL, 0, 0, 1, NULL);
    for (uint64_t user = 0; user < 500000; user++) {
        const uint64_t in_small = user < 1000, in_large = user >= 500 && user < 400000;
        assert_int_equal(cohorts_of(grown, user), in_small + 2 * in_large);
        if (user < 2000)
            assert_int_equal(cohorts_of(shrunk, user), in_small);
    }
    oa_cohort_cursor before, after;
    oa_cohort_cursor_init(&before, table);
    oa_cohort_cursor_init(&after, shrunk);
    for (; before.print != UINT64_MAX; oa_cohort_cursor_step(&before)) {
        assert_int_equal(before.print, after.print);
        oa_cohort_cursor_step(&after);
    }
    assert_int_equal(after.print, UINT64_MAX);
    oa_cohort_table_free(table);
    oa_cohort_table_free(grown);
    oa_cohort_table_free(shrunk);
}

/* ---- Keys ---- */

static void the_key_decides_every_print(void **state) {
    (void)state;
    oa_hash_key key, same, other, plain;
    oa_cohort_key_init(&key, str("0123456789abcdef"));
    oa_cohort_key_init(&same, str("0123456789abcdef"));
    oa_cohort_key_init(&other, str("0123456789abcdeg"));
    oa_hash_key_init(&plain, str("0123456789abcdef"));
    const oa_str id = str("user-1");
    const uint64_t print = oa_cohort_print(&key, id);
    assert_int_equal(print >> OA_COHORT_PRINT_BITS, 0);
    assert_int_equal(print, oa_cohort_print(&same, id));
    assert_int_not_equal(print, oa_cohort_print(&other, id));
    assert_int_not_equal(print, oa_cohort_print(&plain, id)); /* insert_ids tell nothing of it */
    /* A fleet of several versions shares images, so it is the same for ever. */
    assert_int_equal(print, UINT64_C(0x1e6ea847db587e9));
}

/* ---- Overlays ---- */

static void put(oa_cohort_overlay *overlay, uint64_t user, size_t cohort, bool is_in,
                int64_t time) {
    assert_int_equal(oa_cohort_overlay_put(overlay, print_of(user), cohort, is_in, time), OA_OK);
}

static uint64_t applied(const oa_cohort_overlay *overlay, uint64_t user, uint64_t before) {
    oa_cohort_set set = {{before}};
    oa_cohort_overlay_apply(overlay, print_of(user), &set);
    return set.words[0];
}

static void the_latest_change_counts(void **state) {
    (void)state;
    oa_cohort_overlay *overlay = NULL;
    assert_int_equal(oa_cohort_overlay_new(1000, &overlay), OA_OK);
    assert_int_equal(applied(overlay, 1, 5), 5);
    put(overlay, 1, 1, true, 100);
    put(overlay, 1, 2, false, 100);
    put(overlay, 2, 0, true, 100);
    assert_int_equal(applied(overlay, 1, 5), 3);
    assert_int_equal(applied(overlay, 2, 0), 1);
    assert_int_equal(applied(overlay, 3, 4), 4);
    put(overlay, 1, 1, false, 101);
    assert_int_equal(oa_cohort_overlay_put(overlay, print_of(1), 1, true, 100), OA_REPEAT);
    assert_int_equal(applied(overlay, 1, 7), 1);
    put(overlay, 1, 1, true, 101); /* of the same time, the last one that came */
    assert_int_equal(applied(overlay, 1, 5), 3);
    assert_int_equal(oa_cohort_overlay_count(overlay), 3);
    put(overlay, 1, 1, false, INT64_MAX);
    put(overlay, 9, 127, false, INT64_MIN);
    assert_int_equal(oa_cohort_overlay_put(overlay, print_of(9), 128, true, 1), OA_TOO_LARGE);
    assert_int_equal(applied(overlay, 1, 7), 1);
    oa_cohort_overlay_free(overlay);
}

static void an_overlay_has_a_bound(void **state) {
    (void)state;
    oa_cohort_overlay *overlay = NULL;
    assert_int_equal(oa_cohort_overlay_new(100, &overlay), OA_OK);
    for (uint64_t user = 0; user < 100; user++)
        put(overlay, user, 0, true, 1);
    assert_int_equal(oa_cohort_overlay_put(overlay, print_of(100), 0, true, 1), OA_TOO_LARGE);
    put(overlay, 99, 0, false, 2); /* a known one may still change */
    oa_cohort_overlay_forget(overlay, 0, 1);
    assert_int_equal(oa_cohort_overlay_count(overlay), 1);
    put(overlay, 100, 0, true, 1);
    assert_int_equal(applied(overlay, 100, 0), 1);
    oa_cohort_overlay_free(overlay);
}

/* Random changes, against an array. */
static void an_overlay_is_what_an_array_is(void **state) {
    (void)state;
    enum { USERS = 700, USED_COHORTS = 5 };
    static struct {
        bool is_there, is_in;
        int64_t time;
    } model[USERS][USED_COHORTS];
    uint64_t seed = 3;
    oa_cohort_overlay *overlay = NULL, *copy = NULL;
    assert_int_equal(oa_cohort_overlay_new(100000, &overlay), OA_OK);
    for (int i = 0; i < 40000; i++) {
        const uint64_t user = draw_below(&seed, USERS), cohort = draw_below(&seed, USED_COHORTS);
        const int64_t time = (int64_t)draw_below(&seed, 1000);
        const bool is_in = draw_below(&seed, 2) == 1;
        const oa_status status =
            oa_cohort_overlay_put(overlay, print_of(user), cohort, is_in, time);
        const bool is_late = model[user][cohort].is_there && model[user][cohort].time > time;
        assert_int_equal(status, is_late ? OA_REPEAT : OA_OK);
        if (!is_late) {
            model[user][cohort].is_there = true;
            model[user][cohort].is_in = is_in;
            model[user][cohort].time = time;
        }
        if (i % 1000 == 0) {
            oa_cohort_overlay_forget(overlay, cohort, time);
            for (uint64_t u = 0; u < USERS; u++)
                model[u][cohort].is_there &= model[u][cohort].time > time;
        }
    }
    assert_int_equal(oa_cohort_overlay_copy(overlay, &copy), OA_OK);
    size_t count = 0;
    for (uint64_t user = 0; user < USERS; user++) {
        uint64_t expected = 0xaa;
        for (size_t cohort = 0; cohort < USED_COHORTS; cohort++) {
            if (!model[user][cohort].is_there)
                continue;
            count++;
            expected = model[user][cohort].is_in ? expected | 1U << cohort
                                                 : expected & ~(UINT64_C(1) << cohort);
        }
        assert_int_equal(applied(overlay, user, 0xaa), expected);
        assert_int_equal(applied(copy, user, 0xaa), expected);
    }
    assert_int_equal(oa_cohort_overlay_count(copy), count);
    oa_cohort_overlay_free(overlay);
    oa_cohort_overlay_free(copy);
}

static void an_overlay_is_merged(void **state) {
    (void)state;
    oa_cohort_plan plan = plan_of(2, 0);
    oa_cohort_table *table = table_with(&plan, NULL, NULL, 0, 1000, 1, NULL);
    oa_cohort_overlay *overlay = NULL;
    assert_int_equal(oa_cohort_overlay_new(100000, &overlay), OA_OK);
    for (uint64_t user = 500; user < 2000; user += 2)
        put(overlay, user, 0, user >= 1000, 7);
    put(overlay, 3, 1, true, 7);
    put(overlay, 3, 120, true, 7); /* of no cohort that is there */
    plan.loaded.words[0] = 2;
    oa_cohort_table *merged = NULL;
    assert_int_equal(oa_cohort_merge(&plan, table, overlay, &merged), OA_OK);
    for (uint64_t user = 0; user < 3000; user++) {
        const bool is_changed = user >= 500 && user < 2000 && user % 2 == 0;
        const uint64_t expected = (is_changed ? user >= 1000 : user < 1000) + (user == 3 ? 2U : 0U);
        assert_int_equal(cohorts_of(merged, user), expected);
        /* With the overlay in front, the answers are the same. */
        assert_int_equal(applied(overlay, user, cohorts_of(merged, user)) & 3, expected);
    }
    /* The counts of a change are about the cohort with its overlay. */
    oa_cohort_delta delta;
    oa_cohort_table *read = table_with(&plan, table, overlay, 0, 500, 1, &delta);
    assert_memory_equal(&delta, (&(oa_cohort_delta){1250, 500, 0, 500, 750}), sizeof(delta));
    assert_int_equal(cohorts_of(read, 3), 3);
    oa_cohort_table_free(read);
    oa_cohort_table_free(merged);
    oa_cohort_table_free(table);
    oa_cohort_overlay_free(overlay);
}

/* ---- Runs ---- */

static void runs_come_back_in_order(void **state) {
    (void)state;
    static const uint64_t TOP = (UINT64_C(1) << OA_COHORT_PRINT_BITS) - 1;
    for (int kind = 0; kind < 4; kind++) {
        oa_cohort_runs *runs = NULL;
        assert_int_equal(oa_cohort_runs_new(&runs), OA_OK);
        uint64_t seed = 5, sum = 0, read = 0, last = 0;
        const size_t count = kind == 0 ? 0 : 400000;
        for (size_t i = 0; i < count; i++) {
            /* anything; neighbours, of which a range has more than fit; the ends */
            uint64_t print = draw(&seed) >> 7;
            print = kind == 2 ? i * 3 : kind == 3 ? TOP - i % 2 * TOP : print;
            assert_int_equal(oa_cohort_runs_add(runs, print), OA_OK);
            sum += print;
        }
        assert_int_equal(oa_cohort_runs_end(runs), OA_OK);
        assert_true(oa_cohort_runs_count(runs) <= count);
        for (;;) {
            const uint64_t *prints = NULL;
            size_t part = 0;
            assert_int_equal(oa_cohort_runs_next(runs, &prints, &part), OA_OK);
            assert_int_equal(prints[part], UINT64_MAX);
            if (part == 0)
                break;
            for (size_t i = 0; i < part; i++) {
                assert_true(read + i == 0 || prints[i] > last);
                last = prints[i];
                sum -= last;
            }
            read += part;
        }
        assert_int_equal(read, kind == 3 ? 2 : count);
        if (kind != 3)
            assert_int_equal(sum, 0);
        oa_cohort_runs_free(runs);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found_and_others_are_not),
        cmocka_unit_test(a_member_takes_few_bytes),
        cmocka_unit_test(repeats_count_once),
        cmocka_unit_test(what_is_read_is_small_and_freed_while_it_is_merged),
        cmocka_unit_test(a_large_body_is_refused),
        cmocka_unit_test(a_build_is_finished_once_and_after_its_end),
        cmocka_unit_test(a_body_that_is_wrong_says_why),
        cmocka_unit_test(bad_plans_are_refused),
        cmocka_unit_test(each_change_does_what_it_says),
        cmocka_unit_test(cohorts_are_independent),
        cmocka_unit_test(what_is_not_loaded_is_not_known),
        cmocka_unit_test(what_amplitude_says_of_a_cohort_is_kept),
        cmocka_unit_test(cohorts_keep_their_members_when_the_list_changes),
        cmocka_unit_test(a_table_may_grow_and_shrink),
        cmocka_unit_test(the_key_decides_every_print),
        cmocka_unit_test(the_latest_change_counts),
        cmocka_unit_test(an_overlay_has_a_bound),
        cmocka_unit_test(an_overlay_is_what_an_array_is),
        cmocka_unit_test(an_overlay_is_merged),
        cmocka_unit_test(runs_come_back_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
