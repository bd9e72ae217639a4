/*
 * crc32.h: the checksum of gzip (RFC 1952): the CRC-32 of Ethernet, least significant bit first.
 * [any thread]
 *
 * x86 multiplies without carries where the processor can, and ARM has an instruction for it, used
 * where the compiler may assume it. Everywhere else tables take eight bytes at a time.
 */
#ifndef OA_CRC32_H
#define OA_CRC32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a sum is made: the later ones are faster, and not every processor has them. */
typedef enum oa_crc32_way {
    OA_CRC32_TABLES,
    OA_CRC32_FOLD,      /* x86: products without carries, two at a time */
    OA_CRC32_FOLD_WIDE, /* and four at a time */
} oa_crc32_way;

typedef struct oa_crc32 {
    oa_crc32_way way;
    /* Factors that move bytes: see set_factors(). */
    uint64_t past_16[2];
    uint64_t past_64[2];
    uint64_t past_128[4];
    uint32_t table[8][256];
} oa_crc32;

/* Make the tables, and choose the fastest way. Cost: about 10 us. */
void oa_crc32_init(oa_crc32 *crc);

/*
 * Return the checksum of `len` more bytes after those whose checksum is `sum`; 0: there are none
 * before. Borrows.
 */
uint32_t oa_crc32_add(const oa_crc32 *crc, uint32_t sum, const void *data, size_t len);

#endif
