/* ids.c: which ids are accepted. Lengths are in UTF-16 units, as JavaScript counts them. */
#include "amplitude/ids.h"
#include "support.h"

static oa_status check(const char *id, uint32_t min) { return oa_ids_check(str(id), min); }

/* `count` times `unit`. Static storage. */
static const char *times(const char *unit, size_t count) {
    static char text[8192];
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        memcpy(text + i * strlen(unit), unit, strlen(unit) + 1);
    return text;
}

static void an_empty_id_is_none(void **state) {
    (void)state;
    assert_int_equal(check(NULL, 5), OA_ID_MISSING);
    assert_int_equal(check("", 5), OA_ID_MISSING);
    assert_int_equal(check("", 0), OA_ID_MISSING);
}

static void short_ids_are_refused(void **state) {
    (void)state;
    assert_int_equal(check("a", 0), OA_OK);
    assert_int_equal(check("a", 1), OA_OK);
    assert_int_equal(check("abcd", 5), OA_ID_TOO_SHORT);
    assert_int_equal(check("abcde", 5), OA_OK);
    assert_int_equal(check("éééé", 5), OA_ID_TOO_SHORT);
    assert_int_equal(check("ééééé", 5), OA_OK);
    assert_int_equal(check("日本語日", 5), OA_ID_TOO_SHORT);
    assert_int_equal(check("日本語日本", 5), OA_OK);
    assert_int_equal(check("🙂🙂", 5), OA_ID_TOO_SHORT); /* two units each */
    assert_int_equal(check("🙂🙂a", 5), OA_OK);
    assert_int_equal(check("🙂🙂🙂", 5), OA_OK);
    assert_int_equal(check("abc", UINT32_MAX), OA_ID_TOO_SHORT);
}

static void long_ids_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *unit;
        size_t most;
    } cases[] = {{"a", 1024}, {"é", 1024}, {"日", 1024}, {"🙂", 512}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(check(times(cases[i].unit, cases[i].most), 5), OA_OK);
        assert_int_equal(check(times(cases[i].unit, cases[i].most + 1), 5), OA_ID_TOO_LONG);
        assert_int_equal(check(times(cases[i].unit, 2000), 5), OA_ID_TOO_LONG);
    }
}

static void ids_that_stand_for_no_user_are_refused(void **state) {
    (void)state;
    static const char *const forbidden[] = {"anonymous",
                                            "nil",
                                            "none",
                                            "null",
                                            "n/a",
                                            "na",
                                            "undefined",
                                            "unknown",
                                            "{}",
                                            "lmy47d",
                                            "0",
                                            "-1",
                                            "00000000-0000-0000-0000-000000000000"};
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
        assert_int_equal(check(forbidden[i], 1), OA_ID_FORBIDDEN);
        char near[64];
        snprintf(near, sizeof(near), "%s ", forbidden[i]);
        assert_int_equal(check(near, 1), OA_OK);
        near[strlen(forbidden[i]) - 1] = 'x';
        assert_int_equal(check(near, 1), OA_OK);
        /* Beside the bytes that count there may be others. */
        assert_int_equal(oa_ids_check((oa_str){near, 1}, 1),
                         near[0] == '0' ? OA_ID_FORBIDDEN : OA_OK);
    }
    /* The documented list is in lower case; whether it means others, only Amplitude can say. */
    assert_int_equal(check("Anonymous", 1), OA_OK);
    assert_int_equal(check("NULL", 1), OA_OK);
}

static void zero_bytes_are_characters(void **state) {
    (void)state;
    assert_int_equal(oa_ids_check((oa_str){"a\0b\0c", 5}, 5), OA_OK);
    assert_int_equal(oa_ids_check((oa_str){"null\0", 5}, 5), OA_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_id_is_none),
        cmocka_unit_test(short_ids_are_refused),
        cmocka_unit_test(long_ids_are_refused),
        cmocka_unit_test(ids_that_stand_for_no_user_are_refused),
        cmocka_unit_test(zero_bytes_are_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
