/* retry.c: back-off, Retry-After, and the size of bodies that fits. */
#include "retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110. */
static const int64_t EXAMPLE_MS = INT64_C(784111777000);

static uint64_t after(const char *value, int64_t now_ms) {
    return oa_retry_after_ms((oa_str){value, strlen(value)}, now_ms);
}

static void backoff_doubles_up_to_its_cap(void **state) {
    (void)state;
    static const uint64_t LIMITS[] = {500,   1000,  2000,   4000,   8000,  16000,
                                      32000, 64000, 120000, 120000, 120000};
    for (uint32_t attempts = 1; attempts <= 11; attempts++) {
        const uint64_t limit = LIMITS[attempts - 1];
        assert_int_equal(oa_retry_backoff_ms(attempts, 0), 0);
        assert_int_equal(oa_retry_backoff_ms(attempts, limit), limit);
        assert_int_equal(oa_retry_backoff_ms(attempts, limit + 1), 0);
        assert_in_range(oa_retry_backoff_ms(attempts, UINT64_MAX), 0, limit);
    }
}

static void backoff_takes_any_number_of_attempts(void **state) {
    (void)state;
    static const uint32_t MANY[] = {32, 33, 63, 64, 65, 1000, UINT32_MAX - 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(MANY) / sizeof(MANY[0]); i++)
        assert_int_equal(oa_retry_backoff_ms(MANY[i], OA_BACKOFF_CAP_MS), OA_BACKOFF_CAP_MS);
    assert_int_equal(oa_retry_backoff_ms(0, OA_BACKOFF_BASE_MS), OA_BACKOFF_BASE_MS);
}

static void backoff_is_spread_over_its_whole_range(void **state) {
    (void)state;
    unsigned buckets[10] = {0};
    uint64_t random = 1;
    for (int i = 0; i < 100000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        buckets[oa_retry_backoff_ms(20, random >> 7) * 10 / (OA_BACKOFF_CAP_MS + 1)]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(buckets[i], 9000, 11000);
}

static void seconds_are_read(void **state) {
    (void)state;
    assert_int_equal(after("0", 0), 0);
    assert_int_equal(after("1", 0), 1000);
    assert_int_equal(after("120", EXAMPLE_MS), 120000);
    assert_int_equal(after(" \t7 ", 0), 7000);
    assert_int_equal(after("007", 0), 7000);
    assert_int_equal(after("299", 0), 299000);
}

static void seconds_are_bounded(void **state) {
    (void)state;
    assert_int_equal(after("300", 0), OA_RETRY_AFTER_MAX_MS);
    assert_int_equal(after("301", 0), OA_RETRY_AFTER_MAX_MS);
    assert_int_equal(after("86400", 0), OA_RETRY_AFTER_MAX_MS);
    assert_int_equal(after("18446744073709551615", 0), OA_RETRY_AFTER_MAX_MS);
    assert_int_equal(after("18446744073709551617", 0), OA_RETRY_AFTER_MAX_MS);
    assert_int_equal(after("99999999999999999999999999999999999999999999", 0),
                     OA_RETRY_AFTER_MAX_MS);
}

static void garbage_means_no_wait(void **state) {
    (void)state;
    static const char *const GARBAGE[] = {
        "",
        " ",
        "\t",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "0x10",
        "1 2",
        "1s",
        "soon",
        "\xff\xfe",
        "12\n",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Nov 1994 08:49:37 GMT+1",
        "Sun,06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Xyz, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Thu, 31 Nov 1994 08:49:37 GMT",
        "Tue, 32 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 1995 08:49:37 GMT",
        "Thu, 29 Feb 1900 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT",
        "Sun Nov 06 08:49:37 94",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov   6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun Nov  0 08:49:37 1994",
        "Mo",
        "Su",
        "Sunday",
        "Sun, 06 Nov 1994 08:49:3",
        "Sun, 06 Nov -994 08:49:37 GMT",
    };
    /* At a time that is before all of them, so that any that was read would mean a wait. */
    for (size_t i = 0; i < sizeof(GARBAGE) / sizeof(GARBAGE[0]); i++) {
        assert_int_equal(after(GARBAGE[i], EXAMPLE_MS - 60000), 0);
        assert_int_equal(after(GARBAGE[i], INT64_MIN), 0);
    }
    assert_int_equal(oa_retry_after_ms((oa_str){NULL, 0}, 0), 0);
    assert_int_equal(oa_retry_after_ms((oa_str){"1\0002", 3}, 0), 0);
    assert_int_equal(oa_retry_after_ms((oa_str){"5x", 1}, 0), 5000); /* reads len bytes, no more */
}

static void dates_are_read_in_their_three_formats(void **state) {
    (void)state;
    static const char *const EXAMPLES[] = {
        "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994", "  Sun, 06 Nov 1994 08:49:37 GMT\t"};
    for (size_t i = 0; i < sizeof(EXAMPLES) / sizeof(EXAMPLES[0]); i++) {
        assert_int_equal(after(EXAMPLES[i], EXAMPLE_MS - 1234), 1234);
        assert_int_equal(after(EXAMPLES[i], EXAMPLE_MS - 1), 1);
        assert_int_equal(after(EXAMPLES[i], EXAMPLE_MS), 0);
        assert_int_equal(after(EXAMPLES[i], EXAMPLE_MS + 1), 0);
        assert_int_equal(after(EXAMPLES[i], EXAMPLE_MS - 299999), 299999);
        assert_int_equal(after(EXAMPLES[i], EXAMPLE_MS - 400000), OA_RETRY_AFTER_MAX_MS);
        assert_int_equal(after(EXAMPLES[i], INT64_MAX), 0);
        if (i != 1) /* with a clock like that, two digits of a year mean nothing */
            assert_int_equal(after(EXAMPLES[i], INT64_MIN), OA_RETRY_AFTER_MAX_MS);
    }
    assert_int_equal(after("Wed Nov 16 08:49:37 1994", EXAMPLE_MS + 864000000 - 5000), 5000);
}

/* Each case is one second after `now`, in UTC. Source: date(1). */
static void dates_of_every_kind_of_year_are_right(void **state) {
    (void)state;
    static const struct {
        const char *value;
        int64_t ms;
    } CASES[] = {
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1000},
        {"Tue, 29 Feb 2000 12:00:00 GMT", INT64_C(951825600000)},
        {"Wed, 01 Mar 2000 00:00:00 GMT", INT64_C(951868800000)},
        {"Thu, 29 Feb 2024 23:59:59 GMT", INT64_C(1709251199000)},
        {"Sun, 28 Feb 2100 00:00:00 GMT", INT64_C(4107456000000)},
        {"Mon, 01 Mar 2100 00:00:00 GMT", INT64_C(4107542400000)},
        {"Sat, 31 Dec 2016 23:59:60 GMT", INT64_C(1483228800000)}, /* a leap second */
        {"Tue, 19 Jan 2038 03:14:08 GMT", INT64_C(2147483648000)},
        {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799000)},
        {"Mon, 01 Jan 0001 00:00:00 GMT", INT64_C(-62135596800000)},
        {"Sat, 01 Jan 0000 00:00:00 GMT", INT64_C(-62167219200000)},
        {"Wed, 01 Mar 1600 00:00:00 GMT", INT64_C(-11670912000000)},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_int_equal(after(CASES[i].value, CASES[i].ms - 1000), 1000);
        assert_int_equal(after(CASES[i].value, CASES[i].ms), 0);
    }
}

static void every_day_of_400_years_follows_the_one_before(void **state) {
    (void)state;
    static const char *const MONTHS[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t midnight_ms = 0;
    for (int year = 1970; year < 2370; year++) {
        const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (int month = 0; month < 12; month++) {
            for (int day = 1; day <= DAYS[month] + (leap && month == 1); day++) {
                char value[40];
                (void)snprintf(value, sizeof(value), "Sun, %02d %s %04d 00:00:00 GMT", day,
                               MONTHS[month], year);
                assert_int_equal(after(value, midnight_ms - 17), 17);
                midnight_ms += INT64_C(86400000);
            }
        }
    }
}

static void two_digit_years_are_within_50_years_from_now(void **state) {
    (void)state;
    const int64_t in_2026 = INT64_C(1780000000000);
    assert_int_equal(after("Thursday, 28-May-26 20:26:41 GMT", in_2026), 1000);
    /* 2076 is 50 years ahead, 77 was 49 years ago. */
    assert_int_equal(after("Friday, 01-Jan-76 00:00:00 GMT", in_2026), OA_RETRY_AFTER_MAX_MS);
    assert_int_equal(after("Friday, 01-Jan-77 00:00:00 GMT", in_2026), 0);
    /* Across the turn of a century in both directions. */
    const int64_t end_of_1999 = INT64_C(946684799000);
    assert_int_equal(after("Saturday, 01-Jan-00 00:00:00 GMT", end_of_1999), 1000);
    assert_int_equal(after("Friday, 31-Dec-99 23:59:59 GMT", end_of_1999 + 1000), 0);
    /* Any clock is survived. */
    (void)after("Friday, 31-Dec-99 23:59:59 GMT", INT64_MAX);
    (void)after("Friday, 31-Dec-99 23:59:59 GMT", INT64_MIN);
    (void)after("Friday, 31-Dec-00 23:59:59 GMT", INT64_C(-62135596800000));
}

static void every_prefix_of_a_date_is_garbage(void **state) {
    (void)state;
    static const char DATE[] = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (size_t len = 0; len < sizeof(DATE) - 1; len++)
        assert_int_equal(oa_retry_after_ms((oa_str){DATE, len}, EXAMPLE_MS - 1000), 0);
}

static void a_refusal_halves_what_is_tried(void **state) {
    (void)state;
    oa_fit fit;
    oa_fit_init(&fit, 1000000);
    assert_int_equal(fit.bytes, 1000000);
    oa_fit_refused(&fit, 990000);
    assert_int_equal(fit.bytes, 495000);
    oa_fit_refused(&fit, 100000); /* a small body was refused: the limit is smaller still */
    assert_int_equal(fit.bytes, 50000);
    oa_fit_refused(&fit, 200000); /* one large decision: says nothing of 50000 */
    assert_int_equal(fit.bytes, 50000);
    for (int i = 0; i < 100; i++)
        oa_fit_refused(&fit, fit.bytes);
    assert_int_equal(fit.bytes, OA_FIT_MIN_BYTES);
    oa_fit_refused(&fit, 0);
    assert_int_equal(fit.bytes, OA_FIT_MIN_BYTES);

    oa_fit_init(&fit, 100);
    oa_fit_refused(&fit, 100);
    assert_int_equal(fit.bytes, 100);
}

static void full_bodies_in_a_row_double_it_again(void **state) {
    (void)state;
    oa_fit fit;
    oa_fit_init(&fit, 3000);
    oa_fit_refused(&fit, 2100);
    assert_int_equal(fit.bytes, 1050);
    for (int i = 0; i < OA_FIT_PATIENCE - 1; i++) {
        oa_fit_accepted(&fit, true);
        oa_fit_accepted(&fit, false); /* no news */
    }
    assert_int_equal(fit.bytes, 1050);
    oa_fit_refused(&fit, 2100); /* begins to count again */
    for (int i = 0; i < OA_FIT_PATIENCE - 1; i++)
        oa_fit_accepted(&fit, true);
    assert_int_equal(fit.bytes, 1050);
    oa_fit_accepted(&fit, true);
    assert_int_equal(fit.bytes, 2100);
    for (int i = 0; i < OA_FIT_PATIENCE; i++)
        oa_fit_accepted(&fit, true);
    assert_int_equal(fit.bytes, 3000);
    for (int i = 0; i < 10 * OA_FIT_PATIENCE; i++)
        oa_fit_accepted(&fit, true);
    assert_int_equal(fit.bytes, 3000);

    oa_fit_init(&fit, SIZE_MAX);
    oa_fit_refused(&fit, SIZE_MAX);
    for (int i = 0; i < 2 * OA_FIT_PATIENCE; i++)
        oa_fit_accepted(&fit, true);
    assert_true(fit.bytes == SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_doubles_up_to_its_cap),
        cmocka_unit_test(backoff_takes_any_number_of_attempts),
        cmocka_unit_test(backoff_is_spread_over_its_whole_range),
        cmocka_unit_test(seconds_are_read),
        cmocka_unit_test(seconds_are_bounded),
        cmocka_unit_test(garbage_means_no_wait),
        cmocka_unit_test(dates_are_read_in_their_three_formats),
        cmocka_unit_test(dates_of_every_kind_of_year_are_right),
        cmocka_unit_test(every_day_of_400_years_follows_the_one_before),
        cmocka_unit_test(two_digit_years_are_within_50_years_from_now),
        cmocka_unit_test(every_prefix_of_a_date_is_garbage),
        cmocka_unit_test(a_refusal_halves_what_is_tried),
        cmocka_unit_test(full_bodies_in_a_row_double_it_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
