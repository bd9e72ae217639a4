/*
 * crc32.h: the checksum of gzip (RFC 1952): the CRC-32 of Ethernet, least significant bit first.
 * [any thread]
 *
 * x86 multiplies without carries where the processor can, and ARM has an instruction for it, used
 * where the compiler may assume it; everywhere else eight tables take eight bytes at a time.
 */
#ifndef OA_CRC32_H
#define OA_CRC32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct oa_crc32 {
    bool can_fold;    /* whether the processor multiplies without carries */
    uint64_t far[2];  /* what moves 16 bytes past 48 others, */
    uint64_t near[2]; /* and past none: see fold() */
    uint32_t table[8][256];
} oa_crc32;

/* Make the tables, and look at the processor. Cost: about 10 us. */
void oa_crc32_init(oa_crc32 *crc);

/*
 * Return the checksum of `len` more bytes after those whose checksum is `sum`; 0: there are none
 * before. Borrows.
 */
uint32_t oa_crc32_add(const oa_crc32 *crc, uint32_t sum, const void *data, size_t len);

#endif
