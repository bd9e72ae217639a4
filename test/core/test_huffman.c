/* huffman.c: codes that are complete, short, within their limit, and prefixes of none. */
#include "huffman.h"

#include "support.h"

/* What a code of these lengths costs, in bits. */
static uint64_t cost(const uint32_t *counts, const uint8_t *lengths, size_t symbols) {
    uint64_t bits = 0;
    for (size_t i = 0; i < symbols; i++)
        bits += (uint64_t)counts[i] * lengths[i];
    return bits;
}

/* What the shortest code costs: the sum of the weights of all joints of Huffman's tree. */
static uint64_t least_cost(const uint32_t *counts, size_t symbols) {
    uint64_t weight[OA_HUFFMAN_MAX_SYMBOLS];
    size_t left = 0;
    uint64_t bits = 0;
    for (size_t i = 0; i < symbols; i++)
        if (counts[i] > 0)
            weight[left++] = counts[i];
    while (left > 1) {
        for (int lightest = 0; lightest < 2; lightest++)
            for (size_t i = 0; i < left - 1 - lightest; i++)
                if (weight[i] < weight[left - 1 - lightest]) {
                    const uint64_t other = weight[i];
                    weight[i] = weight[left - 1 - lightest];
                    weight[left - 1 - lightest] = other;
                }
        weight[left - 2] += weight[left - 1];
        bits += weight[--left - 1];
    }
    return bits;
}

/* No code begins with another, every sequence of bits begins with one, none is too long. */
static void assert_complete(const uint32_t *counts, const uint8_t *lengths, size_t symbols,
                            unsigned max_bits) {
    static uint8_t taken[1 << OA_HUFFMAN_MAX_BITS];
    uint16_t codes[OA_HUFFMAN_MAX_SYMBOLS];
    memset(taken, 0, sizeof(taken));
    oa_huffman_codes(lengths, symbols, codes);
    for (size_t i = 0; i < symbols; i++) {
        assert_true(lengths[i] <= max_bits);
        if (counts[i] > 0)
            assert_true(lengths[i] > 0);
        if (lengths[i] == 0)
            continue;
        assert_int_equal(codes[i] >> lengths[i], 0);
        for (uint32_t rest = 0; rest < 1u << (max_bits - lengths[i]); rest++)
            assert_int_equal(taken[codes[i] | rest << lengths[i]]++, 0);
    }
    for (size_t i = 0; i < (size_t)1 << max_bits; i++)
        assert_int_equal(taken[i], 1);
}

static void make(const uint32_t *counts, size_t symbols, unsigned max_bits, uint8_t *lengths) {
    oa_huffman_lengths(counts, symbols, max_bits, lengths);
    assert_complete(counts, lengths, symbols, max_bits);
}

static void codes_are_the_shortest(void **state) {
    (void)state;
    uint64_t seed = 5;
    for (int round = 0; round < 200; round++) {
        const size_t symbols = 2 + draw_below(&seed, OA_HUFFMAN_MAX_SYMBOLS - 1);
        uint32_t counts[OA_HUFFMAN_MAX_SYMBOLS];
        uint8_t lengths[OA_HUFFMAN_MAX_SYMBOLS];
        for (size_t i = 0; i < symbols; i++)
            counts[i] = 1 + (uint32_t)draw_below(&seed, 50);
        make(counts, symbols, OA_HUFFMAN_MAX_BITS, lengths);
        assert_int_equal(cost(counts, lengths, symbols), least_cost(counts, symbols));
    }
}

static void there_are_two_codes_at_least(void **state) {
    (void)state;
    static const uint32_t cases[][4] = {{0, 0, 0, 0}, {7, 0, 0, 0}, {0, 7, 0, 0}, {0, 0, 0, 7}};
    static const uint8_t expected[][4] = {{1, 1, 0, 0}, {1, 1, 0, 0}, {1, 1, 0, 0}, {1, 0, 0, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t lengths[4];
        make(cases[i], 4, OA_HUFFMAN_MAX_BITS, lengths);
        assert_memory_equal(lengths, expected[i], 4);
    }
}

static void as_many_symbols_as_codes(void **state) {
    (void)state;
    uint32_t counts[256];
    uint8_t lengths[256];
    for (size_t i = 0; i < 256; i++)
        counts[i] = 1 + (uint32_t)i * 1000;
    make(counts, 256, 8, lengths);
    for (size_t i = 0; i < 256; i++)
        assert_int_equal(lengths[i], 8);
}

/* Fibonacci's numbers make the deepest tree: the rarest of n symbols is n - 1 deep. */
static void no_code_is_longer_than_the_limit(void **state) {
    (void)state;
    for (size_t symbols = 2; symbols <= 40; symbols++) {
        uint32_t counts[40] = {1, 1};
        uint8_t lengths[40];
        for (size_t i = 2; i < symbols; i++)
            counts[i] = counts[i - 1] + counts[i - 2];
        for (unsigned max_bits = 6; max_bits <= OA_HUFFMAN_MAX_BITS; max_bits++) {
            make(counts, symbols, max_bits, lengths);
            if (symbols - 1 <= max_bits)
                assert_int_equal(cost(counts, lengths, symbols), least_cost(counts, symbols));
            else if (max_bits == OA_HUFFMAN_MAX_BITS) /* hardly worse than without the limit */
                assert_true(cost(counts, lengths, symbols) <
                            least_cost(counts, symbols) * 101 / 100);
        }
    }
}

static void any_counts_within_any_limit(void **state) {
    (void)state;
    uint64_t seed = 6;
    for (int round = 0; round < 1000; round++) {
        const unsigned max_bits = 5 + (unsigned)draw_below(&seed, OA_HUFFMAN_MAX_BITS - 4);
        const size_t most = (size_t)1 << max_bits;
        const size_t symbols =
            2 + draw_below(&seed, (most < OA_HUFFMAN_MAX_SYMBOLS ? most : 288) - 1);
        uint32_t counts[OA_HUFFMAN_MAX_SYMBOLS];
        uint8_t lengths[OA_HUFFMAN_MAX_SYMBOLS];
        for (size_t i = 0; i < symbols; i++)
            counts[i] = (uint32_t)(draw(&seed) & 0xffffff) >> draw_below(&seed, 30);
        make(counts, symbols, max_bits, lengths);
    }
}

/* The example of RFC 1951, 3.2.2: A to H have lengths (3, 3, 3, 3, 3, 2, 4, 4). */
static void codes_are_those_of_the_rfc(void **state) {
    (void)state;
    static const uint8_t lengths[] = {3, 3, 3, 3, 3, 2, 4, 4};
    static const char *const expected[] = {"010", "011", "100", "101", "110", "00", "1110", "1111"};
    uint16_t codes[8];
    oa_huffman_codes(lengths, 8, codes);
    for (size_t i = 0; i < 8; i++)
        for (size_t bit = 0; bit < lengths[i]; bit++)
            assert_int_equal(codes[i] >> bit & 1, expected[i][bit] - '0');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_the_shortest),
        cmocka_unit_test(there_are_two_codes_at_least),
        cmocka_unit_test(as_many_symbols_as_codes),
        cmocka_unit_test(no_code_is_longer_than_the_limit),
        cmocka_unit_test(any_counts_within_any_limit),
        cmocka_unit_test(codes_are_those_of_the_rfc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
