/* health.c: the state of the server. */
#include "health.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const oa_now NOW = {1800014400000, 5000};

static void a_failure_is_noted_and_a_success_ends_it(void **state) {
    (void)state;
    oa_health h = {.trouble = OA_TROUBLE_NONE};
    assert_int_equal(oa_health_probe_size(&h), SIZE_MAX);
    assert_int_equal(oa_health_flush_at_ms(&h), 0);
    assert_false(oa_health_recovered(&h, 20));
    assert_int_equal(oa_health_failed(&h, NOW, OA_TROUBLE_OUTAGE, 500), 500);
    assert_int_equal(h.failures, 1);
    assert_int_equal(h.since_ms, NOW.wall_ms);
    const oa_now later = {NOW.wall_ms + 9000, NOW.monotonic_ms + 9000};
    assert_int_equal(oa_health_failed(&h, later, OA_TROUBLE_OUTAGE, 1000), 1000);
    assert_int_equal(h.failures, 2);
    assert_int_equal(h.since_ms, NOW.wall_ms); /* of the first */
    assert_int_equal(oa_health_probe_size(&h), 20);
    assert_true(oa_health_recovered(&h, 20));
    assert_false(oa_health_recovered(&h, 20));
    assert_int_equal(h.failures, 0);
    oa_health_failed(&h, later, OA_TROUBLE_OUTAGE, 1);
    assert_int_equal(h.since_ms, later.wall_ms);
}

static void each_trouble_has_its_own_pace(void **state) {
    (void)state;
    static const struct {
        oa_trouble trouble;
        uint64_t first_ms; /* at most */
        uint64_t last_ms;  /* at most, and at least two thirds of it */
    } cases[] = {
        {OA_TROUBLE_OUTAGE, 500, 60000},
        {OA_TROUBLE_REQUEST, 500, 300000},
        {OA_TROUBLE_API_KEY, 240000, 240000},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        oa_health h = {.trouble = OA_TROUBLE_NONE};
        assert_in_range(oa_health_failed(&h, NOW, cases[i].trouble, UINT64_MAX), 0,
                        cases[i].first_ms);
        for (int n = 0; n < 20; n++)
            oa_health_failed(&h, NOW, cases[i].trouble, 0);
        assert_int_equal(oa_health_failed(&h, NOW, cases[i].trouble, 0), cases[i].last_ms);
        assert_in_range(oa_health_failed(&h, NOW, cases[i].trouble, UINT64_MAX),
                        cases[i].last_ms / 3 * 2, cases[i].last_ms);
    }
}

static void probes_get_smaller_while_all_of_them_fail(void **state) {
    (void)state;
    static const size_t sizes[] = {20, 20, 10, 5, 2, 1, 1, 1};
    oa_health h = {.trouble = OA_TROUBLE_NONE};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const size_t size = oa_health_probe_size(&h);
        assert_int_equal(size, i == 0 ? SIZE_MAX : sizes[i - 1]);
        oa_health_failed(&h, NOW, OA_TROUBLE_OUTAGE, 0);
        assert_int_equal(oa_health_probe_size(&h), sizes[i]);
    }
    /* What was accepted is where the next trouble begins. */
    oa_health_recovered(&h, 1);
    oa_health_failed(&h, NOW, OA_TROUBLE_OUTAGE, 0);
    assert_int_equal(oa_health_probe_size(&h), 1);
    oa_health_recovered(&h, 2);
    oa_health_failed(&h, NOW, OA_TROUBLE_OUTAGE, 0);
    assert_int_equal(oa_health_probe_size(&h), 2);
    oa_health_recovered(&h, 3);
    oa_health_failed(&h, NOW, OA_TROUBLE_OUTAGE, 0);
    assert_int_equal(oa_health_probe_size(&h), 5);
    oa_health_recovered(&h, 21);
    oa_health_failed(&h, NOW, OA_TROUBLE_OUTAGE, 0);
    assert_int_equal(oa_health_probe_size(&h), 20);
    oa_health_failed(&h, NOW, OA_TROUBLE_API_KEY, 0);
    assert_int_equal(oa_health_probe_size(&h), 1);
}

static void a_flush_may_try_again_before_a_back_off_ends(void **state) {
    (void)state;
    oa_health h = {.trouble = OA_TROUBLE_NONE};
    oa_health_failed(&h, NOW, OA_TROUBLE_OUTAGE, 0);
    assert_int_equal(oa_health_flush_at_ms(&h), NOW.monotonic_ms + 1000);
    const oa_now later = {NOW.wall_ms, NOW.monotonic_ms + 60000};
    for (int n = 0; n < 20; n++)
        oa_health_failed(&h, later, OA_TROUBLE_OUTAGE, 0);
    assert_int_equal(oa_health_flush_at_ms(&h), later.monotonic_ms + 7500);
}

static void there_is_an_attempt_a_second_at_most(void **state) {
    (void)state;
    oa_health h = {.trouble = OA_TROUBLE_NONE};
    oa_now now = NOW;
    assert_int_equal(oa_health_failed(&h, now, OA_TROUBLE_OUTAGE, 0), 0); /* one is free */
    for (uint64_t failures = 2; failures < 30; failures++) {
        const uint64_t wait_ms = oa_health_failed(&h, now, OA_TROUBLE_OUTAGE, 0);
        if (failures < 8) /* later ones are never that short */
            assert_int_equal(now.monotonic_ms + wait_ms, NOW.monotonic_ms + failures * 1000);
        assert_true(oa_health_flush_at_ms(&h) >= NOW.monotonic_ms + failures * 1000);
        now.monotonic_ms += wait_ms;
    }
}

static void what_did_not_fail_is_tried_while_few_batches_failed(void **state) {
    (void)state;
    oa_health h = {.trouble = OA_TROUBLE_NONE};
    oa_now now = NOW;
    for (int n = 0; n < 20; n++) {
        now.monotonic_ms += 300 * 1000;
        oa_health_failed(&h, now, OA_TROUBLE_REQUEST, 0);
        if (n == 0)
            oa_health_add_witness(&h);
        assert_int_equal(oa_health_fresh_at_ms(&h), now.monotonic_ms + 1000);
    }
    oa_health_add_witness(&h);
    assert_int_equal(oa_health_fresh_at_ms(&h), now.monotonic_ms + 1000);
    oa_health_add_witness(&h);
    assert_int_equal(oa_health_fresh_at_ms(&h), UINT64_MAX);
    oa_health_recovered(&h, 20);
    oa_health_failed(&h, now, OA_TROUBLE_OUTAGE, 0); /* the next trouble has its own */
    assert_int_equal(oa_health_fresh_at_ms(&h), now.monotonic_ms + 1000);
    oa_health_failed(&h, now, OA_TROUBLE_API_KEY, 0);
    assert_int_equal(oa_health_fresh_at_ms(&h), UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_is_noted_and_a_success_ends_it),
        cmocka_unit_test(each_trouble_has_its_own_pace),
        cmocka_unit_test(a_flush_may_try_again_before_a_back_off_ends),
        cmocka_unit_test(probes_get_smaller_while_all_of_them_fail),
        cmocka_unit_test(there_is_an_attempt_a_second_at_most),
        cmocka_unit_test(what_did_not_fail_is_tried_while_few_batches_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
