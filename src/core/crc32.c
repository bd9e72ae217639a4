/*
 * A message is a polynomial over two elements: bit 0 of its first byte is the highest coefficient.
 * Its checksum is the remainder of a division by POLYNOMIAL, with the first and the last 32 bits
 * inverted. In all numbers here the lowest bit is the highest coefficient, too.
 */
#include "crc32.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__ARM_FEATURE_CRC32) && defined(__aarch64__)
#include <arm_acle.h>
#endif

static const uint32_t POLYNOMIAL = 0xedb88320;

static uint32_t times_x(uint32_t value) { return value >> 1 ^ (value & 1 ? POLYNOMIAL : 0); }

/* Return the remainder of x to the power of `exponent`. */
static uint32_t power_of_x(unsigned exponent) {
    uint32_t value = UINT32_C(1) << 31;
    while (exponent-- > 0)
        value = times_x(value);
    return value;
}

/*
 * Set the two factors that move the halves of 16 bytes to the place of the bytes `distance` bytes
 * further on, without a change of the remainder: they are x to the power of what each half is moved
 * by. A product without carries of two numbers of 64 bits has 127 bits, so with the highest
 * coefficient lowest it is one bit too far down: times two; and 32 bits are in the wrong half.
 */
static void set_factors(uint64_t factors[2], unsigned distance) {
    factors[0] = (uint64_t)power_of_x(8 * distance + 32) << 1;
    factors[1] = (uint64_t)power_of_x(8 * distance - 32) << 1;
}

static oa_crc32_way best_way(void) {
    oa_crc32_way way = OA_CRC32_TABLES;
#if defined(__x86_64__)
    enum { SAVES_AVX = 6 }; /* the operating system keeps these registers, in XCR0 */
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_PCLMUL) == 0)
        return way;
    way = OA_CRC32_FOLD;
    if ((c & bit_OSXSAVE) == 0)
        return way;
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    if ((a & SAVES_AVX) == SAVES_AVX && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
        (b & bit_AVX2) != 0 && (c & bit_VPCLMULQDQ) != 0)
        way = OA_CRC32_FOLD_WIDE;
#endif
    return way;
}

void oa_crc32_init(oa_crc32 *crc) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t value = byte;
        for (int bit = 0; bit < 8; bit++)
            value = times_x(value);
        crc->table[0][byte] = value;
    }
    for (size_t behind = 1; behind < 8; behind++) {
        for (size_t byte = 0; byte < 256; byte++) {
            const uint32_t value = crc->table[behind - 1][byte];
            crc->table[behind][byte] = value >> 8 ^ crc->table[0][value & 0xff];
        }
    }
    crc->way = best_way();
    set_factors(crc->past_16, 16);
    set_factors(crc->past_64, 64);
    set_factors(crc->past_128, 128);
    set_factors(crc->past_128 + 2, 128);
}

#if defined(__ARM_FEATURE_CRC32) && defined(__aarch64__)

/* Divide `len` bytes; `state` is the remainder so far, inverted where the checksum is. */
static uint32_t divide(const oa_crc32 *crc, uint32_t state, const unsigned char *data, size_t len) {
    (void)crc;
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t eight;
        memcpy(&eight, data, sizeof(eight));
        state = __crc32d(state, eight);
    }
    while (len-- > 0)
        state = __crc32b(state, *data++);
    return state;
}

#else

static uint32_t load_32(const unsigned char *data) {
    return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

/* Divide `len` bytes; `state` is the remainder so far, inverted where the checksum is. */
static uint32_t divide(const oa_crc32 *crc, uint32_t state, const unsigned char *data, size_t len) {
    const uint32_t(*table)[256] = crc->table;
    for (; len >= 8; data += 8, len -= 8) {
        const uint32_t low = state ^ load_32(data);
        const uint32_t high = load_32(data + 4);
        state = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^
                table[4][low >> 24] ^ table[3][high & 0xff] ^ table[2][high >> 8 & 0xff] ^
                table[1][high >> 16 & 0xff] ^ table[0][high >> 24];
    }
    while (len-- > 0)
        state = state >> 8 ^ table[0][(state ^ *data++) & 0xff];
    return state;
}

#endif

#if defined(__x86_64__)

enum { FOLD_BYTES = 64, WIDE_BYTES = 128 };

/* Move 16 bytes by as much as `factors` do, and add those that are there. */
__attribute__((target("pclmul"))) static inline __m128i move(__m128i bytes, __m128i factors,
                                                             __m128i onto) {
    const __m128i first = _mm_clmulepi64_si128(bytes, factors, 0x00);
    const __m128i second = _mm_clmulepi64_si128(bytes, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(first, second), onto);
}

/*
 * Divide at least FOLD_BYTES: move each 64 bytes onto the next, as four independent lanes, until 64
 * are left, then these onto the last 16, which have the same remainder as the whole. These and what
 * is not a multiple of 64 are for the tables.
 * Source: Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", 2009.
 */
__attribute__((target("pclmul"))) static uint32_t fold(const oa_crc32 *crc, uint32_t state,
                                                       const unsigned char *data, size_t len) {
    const __m128i past_64 = _mm_loadu_si128((const __m128i *)(const void *)crc->past_64);
    const __m128i past_16 = _mm_loadu_si128((const __m128i *)(const void *)crc->past_16);
    const __m128i *from = (const __m128i *)(const void *)data;
    __m128i lane[4];
    for (int i = 0; i < 4; i++)
        lane[i] = _mm_loadu_si128(from + i);
    lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi32_si128((int)state));
    for (from += 4, len -= FOLD_BYTES; len >= FOLD_BYTES; from += 4, len -= FOLD_BYTES)
        for (int i = 0; i < 4; i++)
            lane[i] = move(lane[i], past_64, _mm_loadu_si128(from + i));
    for (int i = 1; i < 4; i++)
        lane[i] = move(lane[i - 1], past_16, lane[i]);
    unsigned char last[16];
    _mm_storeu_si128((__m128i *)(void *)last, lane[3]);
    state = divide(crc, 0, last, sizeof(last));
    return divide(crc, state, (const unsigned char *)from, len);
}

/* The same with lanes of 32 bytes, of at least WIDE_BYTES: the last 128 are for fold(). */
__attribute__((target("avx2,vpclmulqdq"))) static inline __m256i
move_wide(__m256i bytes, __m256i factors, __m256i onto) {
    const __m256i first = _mm256_clmulepi64_epi128(bytes, factors, 0x00);
    const __m256i second = _mm256_clmulepi64_epi128(bytes, factors, 0x11);
    return _mm256_xor_si256(_mm256_xor_si256(first, second), onto);
}

__attribute__((target("avx2,vpclmulqdq"))) static uint32_t
fold_wide(const oa_crc32 *crc, uint32_t state, const unsigned char *data, size_t len) {
    const __m256i past_128 = _mm256_loadu_si256((const __m256i *)(const void *)crc->past_128);
    const __m256i *from = (const __m256i *)(const void *)data;
    __m256i lane[4];
    for (int i = 0; i < 4; i++)
        lane[i] = _mm256_loadu_si256(from + i);
    lane[0] = _mm256_xor_si256(lane[0], _mm256_set_epi32(0, 0, 0, 0, 0, 0, 0, (int)state));
    for (from += 4, len -= WIDE_BYTES; len >= WIDE_BYTES; from += 4, len -= WIDE_BYTES)
        for (int i = 0; i < 4; i++)
            lane[i] = move_wide(lane[i], past_128, _mm256_loadu_si256(from + i));
    unsigned char last[WIDE_BYTES];
    for (int i = 0; i < 4; i++)
        _mm256_storeu_si256((__m256i *)(void *)(last + 32 * i), lane[i]);
    state = fold(crc, 0, last, sizeof(last));
    return divide(crc, state, (const unsigned char *)from, len);
}

#endif

uint32_t oa_crc32_add(const oa_crc32 *crc, uint32_t sum, const void *data, size_t len) {
#if defined(__x86_64__)
    if (crc->way == OA_CRC32_FOLD_WIDE && len >= WIDE_BYTES)
        return ~fold_wide(crc, ~sum, data, len);
    if (crc->way >= OA_CRC32_FOLD && len >= FOLD_BYTES)
        return ~fold(crc, ~sum, data, len);
#endif
    return ~divide(crc, ~sum, data, len);
}
