/*
 * huffman.h: prefix codes for symbols by how often they occur, as DEFLATE wants them.  [any thread]
 */
#ifndef OA_HUFFMAN_H
#define OA_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>

enum { OA_HUFFMAN_MAX_SYMBOLS = 288, OA_HUFFMAN_MAX_BITS = 15 };

/*
 * Write the length in bits of each symbol's code: 0 for one that does not occur, otherwise 1 to
 * `max_bits`, with 2 to the power of `max_bits` not below `symbols`.
 *
 * The code is complete, that is, every sequence of bits means something; so there are at least two
 * codes: symbols 0 and 1 get those that are missing. Decoders may refuse any other code. It is the
 * shortest one, unless that has a longer code than `max_bits`.
 */
void oa_huffman_lengths(const uint32_t *counts, size_t symbols, unsigned max_bits,
                        uint8_t *lengths);

/*
 * Write the codes that belong to complete lengths (RFC 1951, 3.2.2), the first bit lowest, as they
 * are written. Symbols without a length get 0.
 */
void oa_huffman_codes(const uint8_t *lengths, size_t symbols, uint16_t *codes);

#endif
