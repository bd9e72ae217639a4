/*
 * deflate_block.h: a block of DEFLATE (RFC 1951): literals and copies -> bits.  [one owner]
 *
 * They are collected as *sequences*: so many literals, then a copy. Counting goes along; at the end
 * of the block its counts give its codes, and it is written in the shortest of the three ways that
 * there are: stored, with the static codes, or with its own.
 *
 * Most of what is new in a body are digits of hashes. They are literals of which it is known that
 * all are as likely, so they are not counted, and are written two at a time.
 */
#ifndef OA_DEFLATE_BLOCK_H
#define OA_DEFLATE_BLOCK_H

#include "bits.h"
#include "oa.h"

enum {
    OA_DEFLATE_MIN_COPY = 3,
    OA_DEFLATE_MAX_COPY = 258,
    OA_DEFLATE_COPY_LENGTHS = OA_DEFLATE_MAX_COPY - OA_DEFLATE_MIN_COPY + 1,
    OA_DEFLATE_BLOCK_SEQUENCES = 4096,
    OA_DEFLATE_BLOCK_COPIES = 2048, /* that are different */
    OA_DEFLATE_HASH_BITS = 11,
    OA_DEFLATE_HASHES = 1 << OA_DEFLATE_HASH_BITS,
    OA_DEFLATE_LENGTHS = 29,
    OA_DEFLATE_LITERALS = 288, /* bytes, the end, lengths; and two that never occur */
    OA_DEFLATE_DISTANCES = 30,
    OA_DEFLATE_COUNTERS = 4,
    OA_DEFLATE_DIGITS = 16,
    OA_DEFLATE_MOST_DIGITS = 63,
};

typedef struct oa_sequence {
    uint32_t literals : 26;
    uint32_t digits : 6; /* between the literals and the copy */
    uint16_t copy;       /* an index */
} oa_sequence;

/* A length and a distance. The same few repeat in each decision: what is to be known of them is
 * made once. */
typedef union oa_block_copy {
    struct {
        uint32_t key;   /* see oa_deflate_block_key() */
        uint32_t count; /* how often it occurs */
    };
    uint64_t codes; /* at the end of the block, see set_codes() */
} oa_block_copy;

typedef struct oa_deflate_block {
    const unsigned char *text;
    size_t begin; /* in the text */
    size_t done;  /* where the last sequence ends */
    size_t count;
    size_t digits;
    /* How often symbols occur. Those of literals are counted in `bytes`, and added at the end;
     * digits are as likely as each other, and not counted one by one. */
    uint32_t bytes[OA_DEFLATE_COUNTERS][256];
    uint32_t literals[OA_DEFLATE_LITERALS];
    uint32_t distances[OA_DEFLATE_DISTANCES];
    uint8_t length_symbol[OA_DEFLATE_COPY_LENGTHS];
    uint8_t length_base[OA_DEFLATE_LENGTHS]; /* less OA_DEFLATE_MIN_COPY */
    size_t copy_count;
    oa_block_copy copies[OA_DEFLATE_BLOCK_COPIES];
    /* The index of the last copy with a hash; beside it, hash ^ 1, of one that was there before. */
    uint16_t latest[OA_DEFLATE_HASHES];
    oa_sequence sequences[OA_DEFLATE_BLOCK_SEQUENCES];
} oa_deflate_block;

/* Make the tables that all blocks have in common. */
void oa_deflate_block_init(oa_deflate_block *block);

/* Begin a block at byte `at` of `text`. Borrows it until the end of the block. */
void oa_deflate_block_begin(oa_deflate_block *block, const unsigned char *text, size_t at);

static inline bool oa_deflate_block_is_full(const oa_deflate_block *block) {
    return block->count == OA_DEFLATE_BLOCK_SEQUENCES ||
           block->copy_count == OA_DEFLATE_BLOCK_COPIES;
}

/*
 * Count literals that a copy follows. Bytes next to each other are counted apart, as a count that
 * was just written is not at hand yet. The last step may read into the copy: a branch on how many
 * are left would cost more.
 */
static inline void oa_deflate_block_count(oa_deflate_block *block, const unsigned char *text,
                                          size_t count) {
    for (; count >= OA_DEFLATE_COUNTERS; count -= OA_DEFLATE_COUNTERS, text += OA_DEFLATE_COUNTERS)
        for (size_t i = 0; i < OA_DEFLATE_COUNTERS; i++)
            block->bytes[i][text[i]]++;
    for (size_t i = 0; i < OA_DEFLATE_COUNTERS - 1; i++)
        block->bytes[i][text[i]] += i < count;
}

/* Return what stands for a copy. */
static inline uint32_t oa_deflate_block_key(size_t length, uint32_t distance) {
    return (uint32_t)(length - OA_DEFLATE_MIN_COPY) << 16 | (distance - 1);
}

static inline size_t oa_deflate_block_hash(uint32_t key) {
    return (key * UINT32_C(0x9e3779b1)) >> (32 - OA_DEFLATE_HASH_BITS);
}

/* Return the index of a copy that is not the last one with its hash; a new one, unless it is the
 * last but one. */
size_t oa_deflate_block_find_older(oa_deflate_block *block, uint32_t key);

/* Return the index of a copy. */
static inline size_t oa_deflate_block_find(oa_deflate_block *block, uint32_t key) {
    const size_t latest = block->latest[oa_deflate_block_hash(key)];
    if (latest < block->copy_count && block->copies[latest].key == key)
        return latest;
    return oa_deflate_block_find_older(block, key);
}

/*
 * Add the next bytes of the text: so many literals; hexadecimal digits in lower case, none or a
 * few; then a copy of `length` bytes, within the limits above, from 1 to 32,768 bytes before. The
 * block is not full.
 */
static inline void oa_deflate_block_add(oa_deflate_block *block, size_t literals, size_t digits,
                                        size_t length, uint32_t distance) {
    const size_t copy = oa_deflate_block_find(block, oa_deflate_block_key(length, distance));
    block->copies[copy].count++;
    block->sequences[block->count++] = (oa_sequence){
        .literals = literals & 0x3FFFFFF,
        .digits = digits & OA_DEFLATE_MOST_DIGITS,
        .copy = (uint16_t)copy,
    };
    if (literals > 0)
        oa_deflate_block_count(block, block->text + block->done, literals);
    block->digits += digits;
    block->done += literals + digits + length;
}

/*
 * Add what is left before byte `end` as literals, and write the block. `last`: of the stream.
 * Returns false if there is no memory for it.
 */
bool oa_deflate_block_end(oa_deflate_block *block, size_t end, bool last, oa_bits *bits);

#endif
