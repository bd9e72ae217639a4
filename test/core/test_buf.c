/* buf.c: growth, its limit, and JSON strings. */
#include "buf.h"

#include <inttypes.h>

#include "mem.h"
#include "support.h"

static const char *text(const oa_buf *buf) {
    static char copy[1 << 16];
    assert_true(buf->len < sizeof(copy));
    if (buf->len > 0)
        memcpy(copy, buf->data, buf->len);
    copy[buf->len] = '\0';
    return copy;
}

static void it_grows_and_keeps_what_it_has(void **state) {
    (void)state;
    oa_buf buf;
    oa_buf_init(&buf, 100000);
    assert_null(buf.data);
    for (int i = 0; i < 20000; i++)
        oa_buf_append(&buf, "abc", 3);
    assert_int_equal(buf.len, 60000);
    assert_int_equal(oa_buf_status(&buf), OA_OK);
    for (size_t i = 0; i < buf.len; i++)
        assert_int_equal(buf.data[i], "abc"[i % 3]);
    oa_buf_append(&buf, NULL, 0);
    assert_int_equal(buf.len, 60000);
    oa_buf_clear(&buf);
    assert_int_equal(buf.max, 100000);
    oa_buf_append_str(&buf, str("again"));
    assert_string_equal(text(&buf), "again");
    oa_buf_clear(&buf);
}

static void the_maximum_is_exact_and_failure_sticks(void **state) {
    (void)state;
    static const size_t maxima[] = {1, 10, 255, 256, 257, 1000, 4096};
    for (size_t i = 0; i < sizeof(maxima) / sizeof(maxima[0]); i++) {
        oa_buf buf;
        oa_buf_init(&buf, maxima[i]);
        for (size_t n = 0; n < maxima[i]; n++)
            OA_BUF_LITERAL(&buf, "x");
        assert_int_equal(oa_buf_status(&buf), OA_OK);
        assert_int_equal(buf.len, maxima[i]);
        assert_true(buf.cap <= maxima[i]);
        OA_BUF_LITERAL(&buf, "y");
        assert_int_equal(oa_buf_status(&buf), OA_TOO_LARGE);
        assert_int_equal(buf.len, maxima[i]);
        assert_null(oa_buf_reserve(&buf, 0));

        oa_buf_truncate(&buf, maxima[i] - 1);
        assert_int_equal(oa_buf_status(&buf), OA_OK);
        OA_BUF_LITERAL(&buf, "zz"); /* all or nothing */
        assert_int_equal(buf.len, maxima[i] - 1);
        OA_BUF_LITERAL(&buf, "z");
        assert_int_equal(oa_buf_status(&buf), OA_TOO_LARGE);
        oa_buf_reset(&buf);
        OA_BUF_LITERAL(&buf, "z");
        assert_string_equal(text(&buf), "z");
        oa_buf_clear(&buf);
    }
}

static void a_lack_of_memory_sticks(void **state) {
    (void)state;
    oa_buf buf;
    oa_buf_init(&buf, 1 << 20);
    OA_BUF_LITERAL(&buf, "kept");
    memory_deny(true);
    OA_BUF_LITERAL(&buf, " too"); /* there is room */
    char large[1000];
    memset(large, 'x', sizeof(large));
    oa_buf_append(&buf, large, sizeof(large));
    memory_deny(false);
    assert_int_equal(oa_buf_status(&buf), OA_NOMEM);
    OA_BUF_LITERAL(&buf, "no");
    assert_string_equal(text(&buf), "kept too");
    oa_buf_truncate(&buf, 4);
    OA_BUF_LITERAL(&buf, "!");
    assert_string_equal(text(&buf), "kept!");
    oa_buf_clear(&buf);
}

static void large_memory_is_given_back(void **state) {
    (void)state;
    oa_buf buf;
    oa_buf_init(&buf, 1 << 20);
    char large[5000] = {0};
    oa_buf_append(&buf, large, sizeof(large));
    const size_t cap = buf.cap;
    oa_buf_shrink(&buf, cap);
    assert_int_equal(buf.cap, cap);
    assert_int_equal(buf.len, 0);
    oa_buf_append(&buf, large, sizeof(large));
    oa_buf_shrink(&buf, cap - 1);
    assert_int_equal(buf.cap, 0);
    assert_null(buf.data);
    oa_buf_clear(&buf);
}

static void every_byte_is_escaped_as_it_must_be(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        oa_buf buf;
        oa_buf_init(&buf, 1000);
        const char raw[3] = {'a', (char)c, 'b'};
        oa_buf_append_json(&buf, (oa_str){raw, 3});
        char expected[32];
        const char *const shorts = "b\bt\tn\nf\fr\r\"\"\\\\";
        snprintf(expected, sizeof(expected), c < 0x20 ? "\"a\\u%04xb\"" : "\"a%cb\"", c);
        for (size_t i = 0; shorts[i] != '\0'; i += 2)
            if (shorts[i + 1] == c)
                snprintf(expected, sizeof(expected), "\"a\\%cb\"", shorts[i]);
        assert_string_equal(text(&buf), expected);
        if (c < 0x80) {
            cJSON *parsed = c == 0 ? NULL : cJSON_ParseWithLength(buf.data, buf.len);
            if (parsed != NULL)
                assert_memory_equal(cJSON_GetStringValue(parsed), raw, 3);
            assert_true(c == 0 || parsed != NULL);
            cJSON_Delete(parsed);
        }
        oa_buf_clear(&buf);
    }
}

static void utf8_is_left_alone(void **state) {
    (void)state;
    static const char *const texts[] = {
        "", "é", "日本語", "🙂", "a\xc2\x80z", "\xf4\x8f\xbf\xbf", "\x7f"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        oa_buf buf;
        oa_buf_init(&buf, 1000);
        oa_buf_append_json(&buf, str(texts[i]));
        const size_t len = strlen(texts[i]);
        assert_int_equal(buf.len, len + 2);
        assert_int_equal(buf.data[0], '"');
        assert_memory_equal(buf.data + 1, texts[i], len);
        assert_int_equal(buf.data[len + 1], '"');
        oa_buf_reset(&buf);
        oa_buf_append_json_inner(&buf, str(texts[i]));
        assert_string_equal(text(&buf), texts[i]);
        oa_buf_clear(&buf);
    }
}

static void random_strings_come_back_from_a_parser(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        char raw[40];
        const size_t len = draw_below(&seed, sizeof(raw) - 1);
        for (size_t i = 0; i < len; i++)
            raw[i] = (char)(1 + draw_below(&seed, draw_below(&seed, 2) == 0 ? 0x25 : 0x7f));
        raw[len] = '\0';
        oa_buf buf;
        oa_buf_init(&buf, 1000);
        oa_buf_append_json(&buf, (oa_str){raw, len});
        cJSON *parsed = cJSON_ParseWithLength(buf.data, buf.len);
        assert_non_null(parsed);
        assert_string_equal(cJSON_GetStringValue(parsed), raw);
        cJSON_Delete(parsed);
        oa_buf_clear(&buf);
    }
}

static void numbers_are_written_in_full(void **state) {
    (void)state;
    static const int64_t numbers[] = {0, 7, 10, -1, -10, 1800014400000, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        oa_buf buf;
        oa_buf_init(&buf, 100);
        oa_buf_append_int(&buf, numbers[i]);
        char expected[32];
        snprintf(expected, sizeof(expected), "%" PRId64, numbers[i]);
        assert_string_equal(text(&buf), expected);
        oa_buf_clear(&buf);
    }
}

static void numbers_of_each_length_are_right(void **state) {
    (void)state;
    oa_buf buf;
    oa_buf_init(&buf, 1 << 20);
    for (int64_t power = 1; power < INT64_MAX / 10; power *= 10) {
        for (int64_t off = -1; off <= 1; off++) {
            char expected[64];
            const int64_t both[2] = {power + off, -power - off};
            snprintf(expected, sizeof(expected), "%" PRId64 "%" PRId64, both[0], both[1]);
            oa_buf_reset(&buf);
            oa_buf_append_int(&buf, both[0]);
            oa_buf_append_int(&buf, both[1]);
            assert_string_equal(text(&buf), expected);
        }
    }
    oa_buf_clear(&buf);
}

/* Strings are looked at eight bytes at a time. */
static void a_byte_is_escaped_wherever_it_stands(void **state) {
    (void)state;
    oa_buf buf;
    oa_buf_init(&buf, 1000);
    for (int byte = 1; byte < 256; byte++) {
        for (size_t at = 0; at < 20; at++) {
            char raw[21] = "..ab....cd....ef....";
            raw[at] = (char)byte;
            oa_buf_reset(&buf);
            oa_buf_append_json_inner(&buf, (oa_str){raw, 20});
            const bool is_escaped = byte < ' ' || byte == '"' || byte == '\\';
            assert_int_equal(buf.len > 20, is_escaped);
            assert_int_equal(buf.data[at], is_escaped ? '\\' : (char)byte);
            assert_memory_equal(buf.data, raw, at);
            assert_memory_equal(buf.data + buf.len - (19 - at), raw + at + 1, 19 - at);
        }
    }
    oa_buf_clear(&buf);
}

static void a_part_is_repeated(void **state) {
    (void)state;
    oa_buf buf;
    oa_buf_init(&buf, 300);
    OA_BUF_LITERAL(&buf, "0123456789");
    for (int i = 0; i < 29; i++) /* across a growth */
        oa_buf_repeat(&buf, buf.len - 10, 10);
    assert_int_equal(buf.len, 300);
    assert_memory_equal(buf.data + 290, "0123456789", 10);
    oa_buf_repeat(&buf, 0, 1);
    assert_int_equal(oa_buf_status(&buf), OA_TOO_LARGE);
    oa_buf_clear(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_grows_and_keeps_what_it_has),
        cmocka_unit_test(the_maximum_is_exact_and_failure_sticks),
        cmocka_unit_test(a_lack_of_memory_sticks),
        cmocka_unit_test(large_memory_is_given_back),
        cmocka_unit_test(every_byte_is_escaped_as_it_must_be),
        cmocka_unit_test(utf8_is_left_alone),
        cmocka_unit_test(random_strings_come_back_from_a_parser),
        cmocka_unit_test(numbers_are_written_in_full),
        cmocka_unit_test(numbers_of_each_length_are_right),
        cmocka_unit_test(a_byte_is_escaped_wherever_it_stands),
        cmocka_unit_test(a_part_is_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
