/* trail.c: what it says of a text is right, also when the text was cut back; and it finds much. */
#include "trail.h"

#include "buf.h"
#include "support.h"
#include "support_gzip.h"

static oa_buf text;
static oa_trail *trail;

static int start(void **state) {
    (void)state;
    oa_buf_init(&text, SIZE_MAX / 2);
    trail = must(oa_trail_new());
    oa_trail_begin(trail);
    return 0;
}

static int stop(void **state) {
    (void)state;
    oa_trail_free(trail);
    oa_buf_clear(&text);
    return 0;
}

static void add(oa_role role, const char *constant, size_t len) {
    oa_trail_constant(trail, role, constant, len, text.len);
    oa_buf_append(&text, constant, len);
}

static void add_new(uint64_t *seed) {
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < 32; i++)
        oa_buf_append(&text, hex + draw_below(seed, 16), 1);
}

static size_t pack(void) {
    const oa_str packed = oa_trail_gzip(trail, (oa_str){text.data, text.len});
    expect_gzip(packed, (oa_str){text.data, text.len});
    return packed.len;
}

/* A thousand constants of 100 bytes, of which the first letters are the same. */
enum { CONSTANTS = 1000, BYTES = 100 };
static char constants[CONSTANTS][BYTES];

static void make_constants(uint64_t *seed) {
    for (size_t i = 0; i < CONSTANTS; i++)
        for (size_t n = 0; n < BYTES; n++)
            constants[i][n] = (char)(n < 20 ? 'k' : 'a' + draw_below(seed, 26));
}

static void constants_are_copies(void **state) {
    (void)state;
    uint64_t seed = 1;
    make_constants(&seed);
    for (int n = 0; n < 1000; n++) {
        add(OA_ROLE_HEAD, constants[0], BYTES);
        add_new(&seed);
        add(OA_ROLE_SET, constants[1 + n % 20], BYTES);
        add_new(&seed);
    }
    assert_true(pack() < 1000 * 46); /* 36 are the digits */
}

/* The same address with another length is another constant: linkers let literals share their ends. */
static void a_part_of_a_constant_is_another(void **state) {
    (void)state;
    uint64_t seed = 2;
    make_constants(&seed);
    for (size_t n = 0; n < 1000; n++) {
        add(OA_ROLE_HEAD, constants[n % 7], 1 + n % BYTES);
        add_new(&seed);
    }
    pack();
}

/* More constants than places, and further apart than the window: they resemble each other. */
static void too_many_constants(void **state) {
    (void)state;
    uint64_t seed = 3;
    make_constants(&seed);
    for (size_t n = 0; n < 5 * CONSTANTS; n++) {
        add(OA_ROLE_HEAD, constants[draw_below(&seed, CONSTANTS)], BYTES);
        add_new(&seed);
    }
    pack();
}

static void a_text_that_is_cut_back(void **state) {
    (void)state;
    uint64_t seed = 4;
    make_constants(&seed);
    for (int round = 0; round < 3000; round++) {
        const size_t before = text.len;
        for (size_t n = draw_below(&seed, 6); n > 0; n--) {
            add((oa_role)draw_below(&seed, OA_ROLE_COUNT), constants[draw_below(&seed, 30)], BYTES);
            if (draw_below(&seed, 2) == 0)
                add_new(&seed);
            const size_t len = text.len > 50 ? draw_below(&seed, 50) : 0;
            oa_trail_repeat(trail, text.len, text.len - len, len);
            oa_buf_append(&text, constants[0], 0);
            if (oa_buf_reserve(&text, len + 1) != NULL)
                oa_buf_repeat(&text, text.len - len, len);
        }
        if (draw_below(&seed, 3) == 0) {
            oa_buf_truncate(&text, before + draw_below(&seed, text.len - before + 1));
            oa_trail_cut(trail, text.len);
        }
        if (draw_below(&seed, 100) == 0) {
            pack();
            oa_buf_reset(&text);
            oa_trail_begin(trail);
        }
    }
    pack();
}

static void a_lack_of_memory_leaves_no_trail(void **state) {
    (void)state;
    for (size_t nth = 1; nth <= 2; nth++) {
        memory_fail(nth);
        assert_null(oa_trail_new());
    }
    memory_fail(0);
    oa_trail_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(constants_are_copies),
        TEST(a_part_of_a_constant_is_another),
        TEST(too_many_constants),
        TEST(a_text_that_is_cut_back),
        TEST(a_lack_of_memory_leaves_no_trail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
