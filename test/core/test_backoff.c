/* backoff.c: how long to wait after a failure, and after a Retry-After. */
#include "backoff.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void backoff_doubles_up_to_its_cap(void **state) {
    (void)state;
    static const uint64_t LIMITS[] = {500,   1000,  2000,   4000,   8000,  16000,
                                      32000, 64000, 120000, 120000, 120000};
    for (uint32_t attempts = 1; attempts <= 11; attempts++) {
        const uint64_t limit = LIMITS[attempts - 1];
        assert_int_equal(oa_backoff_ms(attempts, 0), 0);
        assert_int_equal(oa_backoff_ms(attempts, limit), limit);
        assert_int_equal(oa_backoff_ms(attempts, limit + 1), 0);
        assert_in_range(oa_backoff_ms(attempts, UINT64_MAX), 0, limit);
    }
}

static void backoff_takes_any_number_of_attempts(void **state) {
    (void)state;
    static const uint32_t MANY[] = {32, 33, 63, 64, 65, 1000, UINT32_MAX - 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(MANY) / sizeof(MANY[0]); i++)
        assert_int_equal(oa_backoff_ms(MANY[i], OA_BACKOFF_CAP_MS), OA_BACKOFF_CAP_MS);
    assert_int_equal(oa_backoff_ms(0, OA_BACKOFF_BASE_MS), OA_BACKOFF_BASE_MS);
}

static void backoff_is_spread_over_its_whole_range(void **state) {
    (void)state;
    unsigned buckets[10] = {0};
    uint64_t random = 1;
    for (int i = 0; i < 100000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        buckets[oa_backoff_ms(20, random >> 7) * 10 / (OA_BACKOFF_CAP_MS + 1)]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(buckets[i], 9000, 11000);
}

static void retry_after_is_bounded(void **state) {
    (void)state;
    assert_int_equal(oa_backoff_retry_after_ms(0), 0);
    assert_int_equal(oa_backoff_retry_after_ms(1), 1000);
    assert_int_equal(oa_backoff_retry_after_ms(299), 299000);
    assert_int_equal(oa_backoff_retry_after_ms(300), OA_RETRY_AFTER_MAX_MS);
    assert_int_equal(oa_backoff_retry_after_ms(301), OA_RETRY_AFTER_MAX_MS);
    assert_int_equal(oa_backoff_retry_after_ms(UINT32_MAX), OA_RETRY_AFTER_MAX_MS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_doubles_up_to_its_cap),
        cmocka_unit_test(backoff_takes_any_number_of_attempts),
        cmocka_unit_test(backoff_is_spread_over_its_whole_range),
        cmocka_unit_test(retry_after_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
