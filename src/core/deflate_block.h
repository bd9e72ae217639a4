/*
 * deflate_block.h: a block of DEFLATE (RFC 1951): literals and copies -> bits.  [one owner]
 *
 * They are collected as *sequences*: so many literals, then a copy. Counting goes along; at the end
 * of the block its counts give its codes, and it is written in the shortest of the three ways that
 * there are: stored, with the static codes, or with its own.
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
    OA_DEFLATE_LENGTHS = 29,
    OA_DEFLATE_LITERALS = 288, /* bytes, the end, lengths; and two that never occur */
    OA_DEFLATE_DISTANCES = 30,
    OA_DEFLATE_COUNTERS = 4,
};

typedef struct oa_sequence {
    uint32_t literals;
    uint16_t distance; /* less 1 */
    uint8_t length;    /* less OA_DEFLATE_MIN_COPY */
    uint8_t distance_symbol;
} oa_sequence;

typedef struct oa_deflate_block {
    const unsigned char *text;
    size_t begin; /* in the text */
    size_t done;  /* where the last sequence ends */
    size_t count;
    uint64_t extra_bits;
    /* How often symbols occur. Those of literals are counted in `bytes`, and added at the end. */
    uint32_t bytes[OA_DEFLATE_COUNTERS][256];
    uint32_t literals[OA_DEFLATE_LITERALS];
    uint32_t distances[OA_DEFLATE_DISTANCES];
    uint8_t length_symbol[OA_DEFLATE_COPY_LENGTHS];
    uint8_t length_base[OA_DEFLATE_LENGTHS]; /* less OA_DEFLATE_MIN_COPY */
    oa_sequence sequences[OA_DEFLATE_BLOCK_SEQUENCES];
} oa_deflate_block;

/* Make the tables that all blocks have in common. */
void oa_deflate_block_init(oa_deflate_block *block);

/* Begin a block at byte `at` of `text`. Borrows it until the end of the block. */
void oa_deflate_block_begin(oa_deflate_block *block, const unsigned char *text, size_t at);

static inline bool oa_deflate_block_is_full(const oa_deflate_block *block) {
    return block->count == OA_DEFLATE_BLOCK_SEQUENCES;
}

/*
 * Add the next bytes of the text: so many literals, then a copy of `length` bytes, within the
 * limits above, from 1 to 32,768 bytes before. The block is not full.
 */
void oa_deflate_block_add(oa_deflate_block *block, size_t literals, size_t length,
                          uint32_t distance);

/*
 * Add what is left before byte `end` as literals, and write the block. `last`: of the stream.
 * Returns false if there is no memory for it.
 */
bool oa_deflate_block_end(oa_deflate_block *block, size_t end, bool last, oa_bits *bits);

#endif
