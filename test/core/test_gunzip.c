/* gunzip.c: text comes out as it went in, compressed or not, in any slicing, and a stream that is
 * cut off or broken is not taken for a whole one. */
#include "../../src/host/gunzip.h"

#include <zlib.h>

#include "support.h"

enum { TEXT_BYTES = 300 * 1000 };

typedef struct output {
    char text[2 * TEXT_BYTES + 1];
    size_t len;
    size_t pieces;
    size_t refused_at; /* the piece that the sink refuses; 0: none */
} output;

static oa_status take(void *data, oa_str text) {
    output *out = data;
    assert_true(text.len > 0 && out->len + text.len < sizeof(out->text));
    memcpy(out->text + out->len, text.data, text.len);
    out->len += text.len;
    return ++out->pieces == out->refused_at ? OA_TOO_LARGE : OA_OK;
}

static char *make_text(void) {
    char *text = must(malloc(TEXT_BYTES));
    uint64_t seed = 3;
    for (size_t i = 0; i < TEXT_BYTES; i++)
        text[i] = "abcdefgh\",\n"[draw(&seed) % 11];
    return text;
}

static size_t zip(const char *text, size_t len, char *out, size_t cap) {
    z_stream zip = {0};
    assert_int_equal(deflateInit2(&zip, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    zip.next_in = (Bytef *)(uintptr_t)text;
    zip.avail_in = (uInt)len;
    zip.next_out = (Bytef *)out;
    zip.avail_out = (uInt)cap;
    assert_int_equal(deflate(&zip, Z_FINISH), Z_STREAM_END);
    const size_t size = cap - zip.avail_out;
    deflateEnd(&zip);
    return size;
}

/* Give `bytes` in, `slice` at a time; returns the status of the first call that fails. */
static oa_status pour(output *out, const char *bytes, size_t len, size_t slice) {
    out->len = out->pieces = 0;
    oa_gunzip *gunzip = must(oa_gunzip_new(take, out));
    oa_status status = OA_OK;
    for (size_t at = 0; at < len && status == OA_OK; at += slice) {
        const size_t size = slice < len - at ? slice : len - at;
        status = oa_gunzip_push(gunzip, (oa_str){bytes + at, size});
    }
    if (status == OA_OK)
        status = oa_gunzip_end(gunzip);
    oa_gunzip_free(gunzip);
    return status;
}

static const size_t slices[] = {1, 2, 3, 7, 1000, 65536, 1 << 20};
enum { SLICES = sizeof(slices) / sizeof(slices[0]) };

static void text_comes_out_as_it_went_in(void **state) {
    (void)state;
    char *text = make_text();
    char *zipped = must(malloc(TEXT_BYTES));
    const size_t len = zip(text, TEXT_BYTES, zipped, TEXT_BYTES);
    output *out = must(calloc(1, sizeof(*out)));
    for (size_t i = 0; i < SLICES; i++) {
        assert_int_equal(pour(out, zipped, len, slices[i]), OA_OK);
        assert_int_equal(out->len, TEXT_BYTES);
        assert_memory_equal(out->text, text, TEXT_BYTES);
        assert_int_equal(pour(out, text, TEXT_BYTES, slices[i]), OA_OK);
        assert_int_equal(out->len, TEXT_BYTES);
        assert_memory_equal(out->text, text, TEXT_BYTES);
    }
    free(out);
    free(zipped);
    free(text);
}

static void members_follow_each_other(void **state) {
    (void)state;
    char *text = make_text();
    char *zipped = must(malloc(2 * TEXT_BYTES));
    size_t len = zip(text, TEXT_BYTES, zipped, TEXT_BYTES);
    len += zip(text, 10, zipped + len, TEXT_BYTES);
    output *out = must(calloc(1, sizeof(*out)));
    for (size_t i = 0; i < SLICES; i++) {
        assert_int_equal(pour(out, zipped, len, slices[i]), OA_OK);
        assert_int_equal(out->len, TEXT_BYTES + 10);
        assert_memory_equal(out->text + TEXT_BYTES, text, 10);
        assert_int_equal(pour(out, zipped, len - 1, slices[i]), OA_MALFORMED);
    }
    free(out);
    free(zipped);
    free(text);
}

static void short_bodies_are_text(void **state) {
    (void)state;
    output *out = must(calloc(1, sizeof(*out)));
    static const char *const texts[] = {"", "{", "\x1f", "\x1f{}", "ab"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        for (size_t slice = 1; slice < 3; slice++) {
            assert_int_equal(pour(out, texts[i], strlen(texts[i]), slice), OA_OK);
            assert_int_equal(out->len, strlen(texts[i]));
            assert_memory_equal(out->text, texts[i], out->len);
        }
    free(out);
}

static void what_is_cut_off_or_broken_is_told(void **state) {
    (void)state;
    char text[100];
    memset(text, 'a', sizeof(text));
    char zipped[200];
    const size_t len = zip(text, sizeof(text), zipped, sizeof(zipped));
    output *out = must(calloc(1, sizeof(*out)));
    for (size_t end = 2; end < len; end++)
        for (size_t i = 0; i < SLICES; i++)
            assert_int_equal(pour(out, zipped, end, slices[i]), OA_MALFORMED);
    for (size_t at = len - 8; at < len; at++) { /* the check sum, and the length */
        zipped[at] ^= 1;
        assert_int_equal(pour(out, zipped, len, 7), OA_MALFORMED);
        zipped[at] ^= 1;
    }
    assert_int_equal(pour(out, zipped, len, 7), OA_OK);
    zipped[len] = 'x'; /* behind its end */
    assert_int_equal(pour(out, zipped, len + 1, 7), OA_MALFORMED);
    free(out);
}

static void a_sink_may_refuse(void **state) {
    (void)state;
    char *text = make_text();
    char *zipped = must(malloc(TEXT_BYTES));
    const size_t len = zip(text, TEXT_BYTES, zipped, TEXT_BYTES);
    output *out = must(calloc(1, sizeof(*out)));
    for (out->refused_at = 1; out->refused_at < 4; out->refused_at++) {
        assert_int_equal(pour(out, zipped, len, 1 << 20), OA_TOO_LARGE);
        assert_int_equal(out->pieces, out->refused_at);
        assert_int_equal(pour(out, text, TEXT_BYTES, 1000), OA_TOO_LARGE);
        assert_int_equal(out->pieces, out->refused_at);
    }
    oa_gunzip_free(NULL);
    free(out);
    free(zipped);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_out_as_it_went_in),
        cmocka_unit_test(members_follow_each_other),
        cmocka_unit_test(short_bodies_are_text),
        cmocka_unit_test(what_is_cut_off_or_broken_is_told),
        cmocka_unit_test(a_sink_may_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
