/* gzip.c: what is compressed can be read again. */
#include "../../src/host/gzip.h"

#include <zlib.h>

#include "support.h"

static char *inflate_all(oa_str packed, size_t size) {
    char *text = must(malloc(size + 1));
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)packed.data,
                    .avail_in = (uInt)packed.len,
                    .next_out = (Bytef *)text,
                    .avail_out = (uInt)size + 1};
    assert_int_equal(inflateInit2(&zip, 15 + 16), Z_OK); /* with a gzip header, and no other */
    assert_int_equal(inflate(&zip, Z_FINISH), Z_STREAM_END);
    assert_int_equal(zip.total_out, size);
    assert_int_equal(zip.avail_in, 0);
    inflateEnd(&zip);
    return text;
}

static void what_is_compressed_can_be_read(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 2048, 100000, 3 << 20, 2048};
    oa_gzip *gzip = must(oa_gzip_new());
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *text = must(malloc(sizes[i] + 1));
        for (size_t n = 0; n < sizes[i]; n++)
            text[n] = "{\"user_id\":\"ann\"},"[n % 18];
        const oa_str packed = oa_gzip_pack(gzip, (oa_str){text, sizes[i]});
        assert_non_null(packed.data);
        if (sizes[i] >= OA_GZIP_MIN_BYTES)
            assert_true(packed.len < sizes[i] / 10);
        char *again = inflate_all(packed, sizes[i]);
        assert_memory_equal(again, text, sizes[i]);
        free(again);
        free(text);
        oa_gzip_trim(gzip);
    }
    oa_gzip_free(gzip);
    oa_gzip_free(NULL);
    oa_gzip_free(must(oa_gzip_new())); /* one that never compressed */
}

static void noise_may_grow(void **state) {
    (void)state;
    enum { SIZE = 100000 };
    char *noise = must(malloc(SIZE));
    uint64_t seed = 7;
    for (size_t n = 0; n < SIZE; n++)
        noise[n] = (char)draw(&seed);
    oa_gzip *gzip = must(oa_gzip_new());
    const oa_str packed = oa_gzip_pack(gzip, (oa_str){noise, SIZE});
    assert_true(packed.len > SIZE);
    char *again = inflate_all(packed, SIZE);
    assert_memory_equal(again, noise, SIZE);
    free(again);
    free(noise);
    oa_gzip_free(gzip);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_compressed_can_be_read),
        cmocka_unit_test(noise_may_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
