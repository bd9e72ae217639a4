/* health.c: the state of the server. */
#include "health.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const oa_now NOW = {1800014400000, 5000};

static void a_failure_is_noted_and_a_success_ends_it(void **state) {
    (void)state;
    oa_health h = {OA_TROUBLE_NONE, 0, 0, 0, 0, 0};
    assert_int_equal(oa_health_probe_size(&h), SIZE_MAX);
    assert_int_equal(oa_health_flush_at_ms(&h), 0);
    assert_false(oa_health_recovered(&h));
    assert_int_equal(oa_health_failed(&h, NOW, OA_TROUBLE_OUTAGE, 500), 500);
    assert_int_equal(h.failures, 1);
    assert_int_equal(h.since_ms, NOW.wall_ms);
    const oa_now later = {NOW.wall_ms + 9000, NOW.monotonic_ms + 9000};
    assert_int_equal(oa_health_failed(&h, later, OA_TROUBLE_OUTAGE, 1000), 1000);
    assert_int_equal(h.failures, 2);
    assert_int_equal(h.since_ms, NOW.wall_ms); /* of the first */
    assert_int_equal(oa_health_probe_size(&h), 20);
    assert_true(oa_health_recovered(&h));
    assert_false(oa_health_recovered(&h));
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
        size_t probe;
    } cases[] = {
        {OA_TROUBLE_OUTAGE, 500, 60000, 20},
        {OA_TROUBLE_REQUEST, 1000, 300000, 20},
        {OA_TROUBLE_API_KEY, 240000, 240000, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        oa_health h = {OA_TROUBLE_NONE, 0, 0, 0, 0, 0};
        assert_in_range(oa_health_failed(&h, NOW, cases[i].trouble, UINT64_MAX), 0,
                        cases[i].first_ms);
        for (int n = 0; n < 20; n++)
            oa_health_failed(&h, NOW, cases[i].trouble, 0);
        assert_int_equal(oa_health_failed(&h, NOW, cases[i].trouble, 0), cases[i].last_ms);
        assert_in_range(oa_health_failed(&h, NOW, cases[i].trouble, UINT64_MAX),
                        cases[i].last_ms / 3 * 2, cases[i].last_ms);
        assert_int_equal(oa_health_probe_size(&h), cases[i].probe);
    }
}

static void a_flush_may_try_again_before_a_back_off_ends(void **state) {
    (void)state;
    oa_health h = {OA_TROUBLE_NONE, 0, 0, 0, 0, 0};
    oa_health_failed(&h, NOW, OA_TROUBLE_OUTAGE, 0);
    assert_int_equal(oa_health_flush_at_ms(&h), NOW.monotonic_ms + 1000);
    for (int n = 0; n < 20; n++)
        oa_health_failed(&h, NOW, OA_TROUBLE_OUTAGE, 0);
    assert_int_equal(oa_health_flush_at_ms(&h), NOW.monotonic_ms + 7500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_is_noted_and_a_success_ends_it),
        cmocka_unit_test(each_trouble_has_its_own_pace),
        cmocka_unit_test(a_flush_may_try_again_before_a_back_off_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
