#include "deflate_block.h"

#include <string.h>

#include "huffman.h"

enum {
    END_OF_BLOCK = 256,
    FIRST_LENGTH = 257,
    LITERAL_SYMBOLS = 286, /* that occur */
    HEADER_SYMBOLS = 19,

    /* Of 15 that are allowed: so four literals fit into what waits between flushes. */
    MAX_CODE_BITS = 14,
    MOST_DIGIT_BITS = 7, /* likewise for four pairs of digits */
    MAX_HEADER_CODE_BITS = 7,
    MAX_STORED_BYTES = 65535,
};

/* How a block is written: the number that it begins with. */
enum { STORED, STATIC, DYNAMIC };

typedef struct code_set {
    uint8_t literal_bits[OA_DEFLATE_LITERALS];
    uint8_t distance_bits[OA_DEFLATE_DISTANCES];
    uint16_t literal[OA_DEFLATE_LITERALS];
    uint16_t distance[OA_DEFLATE_DISTANCES];
} code_set;

/* The lengths of the codes, as a dynamic block begins with them (3.2.7). */
typedef struct code_header {
    size_t literal_count;
    size_t distance_count;
    size_t count;
    uint8_t symbol[LITERAL_SYMBOLS + OA_DEFLATE_DISTANCES];
    uint8_t extra[LITERAL_SYMBOLS + OA_DEFLATE_DISTANCES];
    size_t bits_count;
    uint8_t bits[HEADER_SYMBOLS];
    uint16_t code[HEADER_SYMBOLS];
} code_header;

static const uint8_t LENGTH_EXTRA[OA_DEFLATE_LENGTHS] = {
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};

static const unsigned char DIGITS[OA_DEFLATE_DIGITS] = {'0', '1', '2', '3', '4', '5', '6', '7',
                                                        '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};

static size_t at_most(size_t value, size_t most) { return value < most ? value : most; }

/* ---- sequences ---- */

void oa_deflate_block_init(oa_deflate_block *block) {
    size_t length = 0;
    for (size_t symbol = 0; symbol < OA_DEFLATE_LENGTHS - 1; symbol++) {
        block->length_base[symbol] = (uint8_t)length;
        for (size_t i = 0; i < (size_t)1 << LENGTH_EXTRA[symbol]; i++)
            block->length_symbol[length++] = (uint8_t)symbol;
    }
    /* The greatest length has a symbol of its own, although the one before reaches it, too. */
    block->length_base[OA_DEFLATE_LENGTHS - 1] = OA_DEFLATE_COPY_LENGTHS - 1;
    block->length_symbol[OA_DEFLATE_COPY_LENGTHS - 1] = OA_DEFLATE_LENGTHS - 1;
}

void oa_deflate_block_begin(oa_deflate_block *block, const unsigned char *text, size_t at) {
    block->text = text;
    block->begin = block->done = at;
    block->count = 0;
    block->copy_count = 0;
    block->digits = 0;
    memset(block->bytes, 0, sizeof(block->bytes));
    memset(block->literals, 0, sizeof(block->literals));
    memset(block->distances, 0, sizeof(block->distances));
}

static unsigned distance_symbol(uint32_t less_1) {
    if (less_1 < 4)
        return less_1;
    const unsigned highest = 31 - (unsigned)__builtin_clz(less_1);
    return 2 * highest + (less_1 >> (highest - 1) & 1);
}

static unsigned distance_extra_bits(unsigned symbol) { return symbol < 4 ? 0 : symbol / 2 - 1; }

static size_t length_of(uint32_t key) { return (key >> 16) + OA_DEFLATE_MIN_COPY; }

static uint32_t distance_less_1(uint32_t key) { return key & 0xFFFF; }

static size_t length_symbol(const oa_deflate_block *block, uint32_t key) {
    return block->length_symbol[length_of(key) - OA_DEFLATE_MIN_COPY];
}

size_t oa_deflate_block_find_older(oa_deflate_block *block, uint32_t key) {
    const size_t hash = oa_deflate_block_hash(key);
    const size_t older = block->latest[hash ^ 1];
    if (older < block->copy_count && block->copies[older].key == key)
        return older;
    block->copies[block->copy_count] = (oa_block_copy){.key = key};
    block->latest[hash ^ 1] = block->latest[hash];
    block->latest[hash] = (uint16_t)block->copy_count;
    return block->copy_count++;
}

/* Count what was not counted one by one, and literals up to `end`. */
static void finish_counts(oa_deflate_block *block, size_t end) {
    for (size_t at = block->done; at < end; at++)
        block->literals[block->text[at]]++;
    for (size_t i = 0; i < OA_DEFLATE_COUNTERS; i++)
        for (size_t byte = 0; byte < 256; byte++)
            block->literals[byte] += block->bytes[i][byte];
    for (size_t i = 0; i < block->copy_count; i++) {
        const oa_block_copy *copy = &block->copies[i];
        block->literals[FIRST_LENGTH + length_symbol(block, copy->key)] += copy->count;
        block->distances[distance_symbol(distance_less_1(copy->key))] += copy->count;
    }
    if (block->digits > 0)
        for (size_t i = 0; i < OA_DEFLATE_DIGITS; i++)
            block->literals[DIGITS[i]] += (uint32_t)(block->digits / OA_DEFLATE_DIGITS + 1);
    block->literals[END_OF_BLOCK] = 1;
}

/* ---- codes ---- */

/* The static code (3.2.6). */
static void set_static_lengths(code_set *codes) {
    memset(codes->literal_bits, 8, 144);
    memset(codes->literal_bits + 144, 9, 256 - 144);
    memset(codes->literal_bits + 256, 7, 280 - 256);
    memset(codes->literal_bits + 280, 8, OA_DEFLATE_LITERALS - 280);
    memset(codes->distance_bits, 5, OA_DEFLATE_DISTANCES);
}

static void set_own_lengths(code_set *codes, const oa_deflate_block *block) {
    memset(codes->literal_bits, 0, sizeof(codes->literal_bits));
    oa_huffman_lengths(block->literals, LITERAL_SYMBOLS, MAX_CODE_BITS, codes->literal_bits);
    oa_huffman_lengths(block->distances, OA_DEFLATE_DISTANCES, MAX_CODE_BITS, codes->distance_bits);
}

/* What the sequences of a block take with these codes, in bits; as far as digits are as likely as
 * each other. */
static uint64_t count_bits(const oa_deflate_block *block, const code_set *codes) {
    uint64_t bits = 0;
    for (size_t i = 0; i < LITERAL_SYMBOLS; i++)
        bits += (uint64_t)block->literals[i] * codes->literal_bits[i];
    for (size_t i = 0; i < OA_DEFLATE_LENGTHS; i++)
        bits += (uint64_t)block->literals[FIRST_LENGTH + i] * LENGTH_EXTRA[i];
    for (size_t i = 0; i < OA_DEFLATE_DISTANCES; i++)
        bits += (uint64_t)block->distances[i] *
                (codes->distance_bits[i] + distance_extra_bits((unsigned)i));
    return bits;
}

/* ---- the header of a dynamic block ---- */

enum { REPEAT = 16, ZEROS = 17, MANY_ZEROS = 18 };

static const uint8_t HEADER_EXTRA[HEADER_SYMBOLS] = {[REPEAT] = 2, [ZEROS] = 3, [MANY_ZEROS] = 7};

/* The lengths of the header's own codes come in this order, those that are seldom used last. */
static const uint8_t HEADER_ORDER[HEADER_SYMBOLS] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                     11, 4,  12, 3, 13, 2, 14, 1, 15};

static void add_to_header(code_header *header, unsigned symbol, size_t extra) {
    header->symbol[header->count] = (uint8_t)symbol;
    header->extra[header->count++] = (uint8_t)extra;
}

/* Add `run` times the same length. */
static void add_run(code_header *header, uint8_t length, size_t run) {
    if (length == 0) {
        for (; run >= 11; run -= at_most(run, 138))
            add_to_header(header, MANY_ZEROS, at_most(run, 138) - 11);
        if (run >= 3) {
            add_to_header(header, ZEROS, run - 3);
            run = 0;
        }
    } else {
        add_to_header(header, length, 0);
        for (run--; run >= 3; run -= at_most(run, 6))
            add_to_header(header, REPEAT, at_most(run, 6) - 3);
    }
    for (; run > 0; run--)
        add_to_header(header, length, 0);
}

static size_t without_zeros(const uint8_t *lengths, size_t count, size_t least) {
    while (count > least && lengths[count - 1] == 0)
        count--;
    return count;
}

/* Describe the codes, and return how many bits that takes. */
static uint64_t make_header(code_header *header, const code_set *codes) {
    uint8_t lengths[LITERAL_SYMBOLS + OA_DEFLATE_DISTANCES];
    header->literal_count = without_zeros(codes->literal_bits, LITERAL_SYMBOLS, FIRST_LENGTH);
    header->distance_count = without_zeros(codes->distance_bits, OA_DEFLATE_DISTANCES, 1);
    const size_t count = header->literal_count + header->distance_count;
    memcpy(lengths, codes->literal_bits, header->literal_count);
    memcpy(lengths + header->literal_count, codes->distance_bits, header->distance_count);

    header->count = 0;
    for (size_t from = 0, to = 0; from < count; from = to) {
        while (to < count && lengths[to] == lengths[from])
            to++;
        add_run(header, lengths[from], to - from);
    }

    uint32_t counts[HEADER_SYMBOLS] = {0};
    for (size_t i = 0; i < header->count; i++)
        counts[header->symbol[i]]++;
    oa_huffman_lengths(counts, HEADER_SYMBOLS, MAX_HEADER_CODE_BITS, header->bits);
    oa_huffman_codes(header->bits, HEADER_SYMBOLS, header->code);
    header->bits_count = HEADER_SYMBOLS;
    while (header->bits_count > 4 && header->bits[HEADER_ORDER[header->bits_count - 1]] == 0)
        header->bits_count--;

    uint64_t bits = 5 + 5 + 4 + 3 * header->bits_count;
    for (size_t i = 0; i < HEADER_SYMBOLS; i++)
        bits += (uint64_t)counts[i] * (header->bits[i] + HEADER_EXTRA[i]);
    return bits;
}

static void put_header(oa_bits *bits, const code_header *header) {
    oa_bits_put(bits, (uint32_t)(header->literal_count - FIRST_LENGTH), 5);
    oa_bits_put(bits, (uint32_t)(header->distance_count - 1), 5);
    oa_bits_put(bits, (uint32_t)(header->bits_count - 4), 4);
    for (size_t i = 0; i < header->bits_count; i++) {
        oa_bits_put(bits, header->bits[HEADER_ORDER[i]], 3);
        oa_bits_flush(bits);
    }
    for (size_t i = 0; i < header->count; i++) {
        const uint8_t symbol = header->symbol[i];
        oa_bits_put(bits, header->code[symbol], header->bits[symbol]);
        oa_bits_put(bits, header->extra[i], HEADER_EXTRA[symbol]);
        oa_bits_flush(bits);
    }
}

/* ---- bits ---- */

/* A code with its extra bits in the upper 24 bits, their number in the lower 8. */
typedef uint32_t code_entry;

static inline void put_entry(oa_bits *bits, code_entry entry) {
    oa_bits_put(bits, entry >> 8, entry & 0xff);
}

static void fill_literals(code_entry to[256], const code_set *codes) {
    for (size_t i = 0; i < 256; i++)
        to[i] = (code_entry)codes->literal[i] << 8 | codes->literal_bits[i];
}

/* Put the codes of a copy, of 46 bits at most, in the place of its key and count, with their
 * number in the lowest byte and its length in the next. */
static void set_codes(const oa_deflate_block *block, const code_set *codes, oa_block_copy *copy) {
    const uint32_t key = copy->key;
    const size_t length = length_symbol(block, key);
    const unsigned distance = distance_symbol(distance_less_1(key));
    const size_t length_less = length_of(key) - OA_DEFLATE_MIN_COPY;
    unsigned count = codes->literal_bits[FIRST_LENGTH + length];
    uint64_t bits = codes->literal[FIRST_LENGTH + length];
    bits |= (uint64_t)(length_less - block->length_base[length]) << count;
    count += LENGTH_EXTRA[length];
    bits |= (uint64_t)codes->distance[distance] << count;
    count += codes->distance_bits[distance];
    const unsigned extra = distance_extra_bits(distance);
    bits |= (uint64_t)(distance_less_1(key) & ((1u << extra) - 1)) << count;
    copy->codes = bits << 16 | length_less << 8 | (count + extra);
}

/* Put literals that a copy follows: as in oa_deflate_block_count(), the last step may read into
 * it. */
static inline void put_literals(oa_bits *bits, const code_entry *entries, const unsigned char *text,
                                size_t count) {
    for (; count >= 4; count -= 4, text += 4) {
        for (size_t i = 0; i < 4; i++)
            put_entry(bits, entries[text[i]]);
        oa_bits_flush(bits);
    }
    for (size_t i = 0; i < 3; i++)
        put_entry(bits, entries[text[i]] & (0 - (code_entry)(i < count)));
    oa_bits_flush(bits);
}

/* Return how many bits the longest code of a digit has. */
static unsigned longest_digit(const code_set *codes) {
    unsigned longest = 0;
    for (size_t i = 0; i < OA_DEFLATE_DIGITS; i++)
        if (codes->literal_bits[DIGITS[i]] > longest)
            longest = codes->literal_bits[DIGITS[i]];
    return longest;
}

/* Fill in the codes of two digits, the first one in the lower half of the index. */
static void fill_pairs(code_entry to[OA_DEFLATE_DIGITS * OA_DEFLATE_DIGITS],
                       const code_entry literals[256]) {
    for (size_t i = 0; i < OA_DEFLATE_DIGITS * OA_DEFLATE_DIGITS; i++) {
        const code_entry first = literals[DIGITS[i % OA_DEFLATE_DIGITS]];
        const code_entry second = literals[DIGITS[i / OA_DEFLATE_DIGITS]];
        to[i] = (first & ~0xffu) + (second >> 8 << 8 << (first & 0xff)) + (first & 0xff) +
                (second & 0xff);
    }
}

/* Put hexadecimal digits, eight at a time by their pairs, and return how many were put. */
static inline size_t put_digits(oa_bits *bits, const code_entry *pairs, const unsigned char *text,
                                size_t count) {
    const size_t most = count & ~(size_t)7;
    for (size_t done = 0; done < most; done += 8) {
        /* Of ASCII, 0 to 9 have their value in the lower half, and a to f have 1 to 6. */
        const uint64_t eight = oa_bits_load_64(text + done);
        const uint64_t values = (eight & UINT64_C(0x0f0f0f0f0f0f0f0f)) +
                                (eight >> 6 & UINT64_C(0x0101010101010101)) * 9;
        const uint64_t two = values | values >> 4;
        for (unsigned i = 0; i < 64; i += 16)
            put_entry(bits, pairs[two >> i & 0xff]);
        oa_bits_flush(bits);
    }
    return most;
}

static void put_sequences(oa_deflate_block *block, const code_set *codes, size_t end, oa_bits *to) {
    code_entry literals[256];
    code_entry pairs[OA_DEFLATE_DIGITS * OA_DEFLATE_DIGITS];
    fill_literals(literals, codes);
    for (size_t i = 0; i < block->copy_count; i++)
        set_codes(block, codes, &block->copies[i]);
    const bool has_pairs = block->digits > 0 && longest_digit(codes) <= MOST_DIGIT_BITS;
    if (has_pairs)
        fill_pairs(pairs, literals);
    oa_bits bits = *to; /* a copy, which stays in registers */
    const unsigned char *text = block->text + block->begin;
    for (size_t i = 0; i < block->count; i++) {
        const oa_sequence next = block->sequences[i];
        if (next.literals > 0)
            put_literals(&bits, literals, text, next.literals);
        text += next.literals;
        if (next.digits > 0) {
            const size_t paired = has_pairs ? put_digits(&bits, pairs, text, next.digits) : 0;
            if (paired < next.digits)
                put_literals(&bits, literals, text + paired, next.digits - paired);
        }
        const uint64_t copy = block->copies[next.copy].codes;
        oa_bits_put(&bits, copy >> 16, copy & 0xff);
        oa_bits_flush(&bits);
        text += next.digits + (copy >> 8 & 0xff) + OA_DEFLATE_MIN_COPY;
    }
    for (size_t at = block->done; at < end; at++) {
        put_entry(&bits, literals[block->text[at]]);
        oa_bits_flush(&bits);
    }
    oa_bits_put(&bits, codes->literal[END_OF_BLOCK], codes->literal_bits[END_OF_BLOCK]);
    oa_bits_flush(&bits);
    *to = bits;
}

/* Return the most bits that a stored block of `len` bytes takes. */
static uint64_t stored_bits(size_t len) {
    return 8 * (uint64_t)len + (3 + 7 + 32) * (uint64_t)(1 + len / MAX_STORED_BYTES);
}

/* Put bytes as they are, as one block or several. */
static void put_stored(oa_bits *bits, const unsigned char *data, size_t len, bool last) {
    do {
        const size_t part = at_most(len, MAX_STORED_BYTES);
        oa_bits_put(bits, last && part == len, 1);
        oa_bits_put(bits, STORED, 2);
        oa_bits_align(bits);
        oa_bits_put_32(bits, (uint32_t)part | (uint32_t)~part << 16);
        oa_bits_put_bytes(bits, data, part);
        data += part;
        len -= part;
    } while (len > 0);
}

bool oa_deflate_block_end(oa_deflate_block *block, size_t end, bool last, oa_bits *bits) {
    code_set codes;
    code_header header;
    finish_counts(block, end);
    set_static_lengths(&codes);
    const uint64_t as_static = count_bits(block, &codes);
    const uint64_t as_stored = stored_bits(end - block->begin);
    set_own_lengths(&codes, block);
    const uint64_t as_dynamic = make_header(&header, &codes) + count_bits(block, &codes);

    const bool is_dynamic = as_dynamic < as_static;
    const uint64_t coded = 3 + (is_dynamic ? as_dynamic : as_static);
    /* Digits may not be what they are likely to be. */
    if (!oa_bits_reserve(bits, (coded < as_stored ? coded : as_stored) +
                                   (uint64_t)MAX_CODE_BITS * block->digits))
        return false;
    if (as_stored < coded) {
        put_stored(bits, block->text + block->begin, end - block->begin, last);
        return true;
    }
    oa_bits_put(bits, last, 1);
    oa_bits_put(bits, is_dynamic ? DYNAMIC : STATIC, 2);
    if (is_dynamic)
        put_header(bits, &header);
    else
        set_static_lengths(&codes);
    oa_huffman_codes(codes.literal_bits, OA_DEFLATE_LITERALS, codes.literal);
    oa_huffman_codes(codes.distance_bits, OA_DEFLATE_DISTANCES, codes.distance);
    put_sequences(block, &codes, end, bits);
    return true;
}
