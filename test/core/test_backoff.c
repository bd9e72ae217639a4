/* backoff.c: how long to wait after a failure, and after a Retry-After. */
#include "backoff.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const oa_backoff USUAL = {500, 60000};

static void backoff_doubles_up_to_its_cap(void **state) {
    (void)state;
    static const uint64_t LIMITS[] = {500, 1000, 2000, 4000, 8000, 16000, 32000};
    for (uint32_t failures = 1; failures <= 7; failures++) {
        const uint64_t limit = LIMITS[failures - 1];
        assert_int_equal(oa_backoff_ms(USUAL, failures, 0), 0);
        assert_int_equal(oa_backoff_ms(USUAL, failures, limit), limit);
        assert_int_equal(oa_backoff_ms(USUAL, failures, limit + 1), 0);
        assert_in_range(oa_backoff_ms(USUAL, failures, UINT64_MAX), 0, limit);
    }
    static const uint32_t MANY[] = {8, 32, 33, 63, 64, 65, 1000, UINT32_MAX - 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(MANY) / sizeof(MANY[0]); i++) {
        assert_int_equal(oa_backoff_ms(USUAL, MANY[i], 0), 60000);
        assert_int_equal(oa_backoff_ms(USUAL, MANY[i], 20000), 40000);
        assert_in_range(oa_backoff_ms(USUAL, MANY[i], UINT64_MAX), 40000, 60000);
    }
    assert_in_range(oa_backoff_ms(USUAL, 0, UINT64_MAX), 0, 500);
    assert_int_equal(oa_backoff_ms((oa_backoff){700, 700}, 1, 0), 700); /* one that is constant */
}

static void backoff_is_spread_over_its_whole_range(void **state) {
    (void)state;
    unsigned below[10] = {0};
    unsigned at_cap[10] = {0};
    uint64_t random = 1;
    for (int i = 0; i < 100000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        below[oa_backoff_ms(USUAL, 7, random >> 7) * 10 / 32001]++;
        at_cap[(oa_backoff_ms(USUAL, 20, random >> 7) - 40000) * 10 / 20001]++;
    }
    for (int i = 0; i < 10; i++) {
        assert_in_range(below[i], 9000, 11000);
        assert_in_range(at_cap[i], 9000, 11000);
    }
}

static void retry_after_is_bounded_and_spread(void **state) {
    (void)state;
    assert_int_equal(oa_backoff_retry_after_ms(0, 99), 0);
    assert_int_equal(oa_backoff_retry_after_ms(1, 0), 1000);
    assert_int_equal(oa_backoff_retry_after_ms(1, 200), 1200);
    assert_int_equal(oa_backoff_retry_after_ms(1, 201), 1000);
    assert_int_equal(oa_backoff_retry_after_ms(299, 0), 299000);
    assert_int_equal(oa_backoff_retry_after_ms(300, 0), OA_RETRY_AFTER_MAX_MS);
    assert_int_equal(oa_backoff_retry_after_ms(301, 0), OA_RETRY_AFTER_MAX_MS);
    assert_in_range(oa_backoff_retry_after_ms(UINT32_MAX, UINT64_MAX), OA_RETRY_AFTER_MAX_MS,
                    OA_RETRY_AFTER_MAX_MS / 5 * 6);
}

static void an_interval_is_spread_by_a_tenth(void **state) {
    (void)state;
    assert_int_equal(oa_backoff_spread_ms(10000, 0), 9000);
    assert_int_equal(oa_backoff_spread_ms(10000, 1000), 10000);
    assert_int_equal(oa_backoff_spread_ms(10000, 2000), 11000);
    assert_int_equal(oa_backoff_spread_ms(10000, 2001), 9000);
    assert_int_equal(oa_backoff_spread_ms(9, 12345), 9);
    assert_int_equal(oa_backoff_spread_ms(UINT64_MAX, 12345), UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_doubles_up_to_its_cap),
        cmocka_unit_test(backoff_is_spread_over_its_whole_range),
        cmocka_unit_test(retry_after_is_bounded_and_spread),
        cmocka_unit_test(an_interval_is_spread_by_a_tenth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
