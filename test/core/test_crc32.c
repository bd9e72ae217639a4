/* crc32.c: the same checksum as zlib's, by whichever way. */
#include "crc32.h"

#include <zlib.h>

#include "support.h"

enum { BYTES = 1 << 16 };

static unsigned char noise[BYTES];

static oa_crc32_way best_way(void) {
    oa_crc32 crc;
    oa_crc32_init(&crc);
    return crc.way;
}

static oa_crc32 by(oa_crc32_way way) {
    oa_crc32 crc;
    oa_crc32_init(&crc);
    crc.way = way;
    return crc;
}

static int make_noise(void **state) {
    (void)state;
    uint64_t seed = 11;
    for (size_t i = 0; i < BYTES; i++)
        noise[i] = (unsigned char)draw(&seed);
    return 0;
}

static void known_sums(void **state) {
    (void)state;
    for (oa_crc32_way way = OA_CRC32_TABLES; way <= best_way(); way++) {
        const oa_crc32 crc = by(way);
        assert_int_equal(oa_crc32_add(&crc, 0, "", 0), 0);
        assert_int_equal(oa_crc32_add(&crc, 0, NULL, 0), 0);
        assert_int_equal(oa_crc32_add(&crc, 0, "123456789", 9), 0xcbf43926);
        static const unsigned char zeros[1000];
        assert_int_equal(oa_crc32_add(&crc, 0, zeros, 1000), crc32(0, zeros, 1000));
    }
}

/* At every length around the 8, 16, 64 and 128 bytes of a step, and at every alignment. */
static void every_length(void **state) {
    (void)state;
    for (oa_crc32_way way = OA_CRC32_TABLES; way <= best_way(); way++) {
        const oa_crc32 crc = by(way);
        for (size_t from = 0; from < 16; from++)
            for (size_t len = 0; len < 400; len++)
                assert_int_equal(oa_crc32_add(&crc, 0, noise + from, len),
                                 crc32(0, noise + from, (uInt)len));
    }
}

static void in_pieces(void **state) {
    (void)state;
    const uint32_t whole = (uint32_t)crc32(0, noise, BYTES);
    uint64_t seed = 3;
    for (oa_crc32_way way = OA_CRC32_TABLES; way <= best_way(); way++) {
        const oa_crc32 crc = by(way);
        for (int round = 0; round < 100; round++) {
            uint32_t sum = 0;
            for (size_t at = 0; at < BYTES;) {
                size_t len = draw_below(&seed, 3000);
                len = len < BYTES - at ? len : BYTES - at;
                sum = oa_crc32_add(&crc, sum, noise + at, len);
                at += len;
            }
            assert_int_equal(sum, whole);
        }
    }
}

/* On a processor that can, the fast way was what the other tests tested. */
static void the_processor_is_used(void **state) {
    (void)state;
#if defined(__x86_64__)
    const bool folds = __builtin_cpu_supports("pclmul") != 0;
    const bool wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq");
    assert_int_equal(best_way(), !folds ? OA_CRC32_TABLES
                                 : wide ? OA_CRC32_FOLD_WIDE
                                        : OA_CRC32_FOLD);
#else
    assert_int_equal(best_way(), OA_CRC32_TABLES);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_sums),
        cmocka_unit_test(every_length),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(the_processor_is_used),
    };
    return cmocka_run_group_tests(tests, make_noise, NULL);
}
