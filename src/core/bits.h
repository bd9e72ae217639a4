/*
 * bits.h: bits on their way into a buffer, as DEFLATE packs them: the first one lowest. [one owner]
 *
 * Whoever writes asks for room first, for as many bits as are to come; nothing is checked after.
 */
#ifndef OA_BITS_H
#define OA_BITS_H

#include <string.h>

#include "buf.h"

typedef struct oa_bits {
    oa_buf *out;
    unsigned char *to; /* in `out`, whose length is behind until oa_bits_end() */
    uint64_t waiting;
    unsigned count; /* of bits that wait: at most 7 after a flush */
} oa_bits;

/* Return eight bytes as a number, the lowest one first. */
static inline uint64_t oa_bits_load_64(const unsigned char *from) {
    return from[0] | (uint64_t)from[1] << 8 | (uint64_t)from[2] << 16 | (uint64_t)from[3] << 24 |
           (uint64_t)from[4] << 32 | (uint64_t)from[5] << 40 | (uint64_t)from[6] << 48 |
           (uint64_t)from[7] << 56;
}

/* Begin at the end of `out`, with room for no bits. Borrows it until oa_bits_end(). */
static inline void oa_bits_begin(oa_bits *bits, oa_buf *out) {
    *bits = (oa_bits){.out = out, .to = (unsigned char *)out->data + out->len};
}

/* Make room for `count` more bits. False, with a status of the buffer, when that fails. */
static inline bool oa_bits_reserve(oa_bits *bits, uint64_t count) {
    enum { SLACK = 16 }; /* a flush writes eight bytes, wherever the bits end */
    oa_buf *out = bits->out;
    if (out->data != NULL)
        out->len = (size_t)((char *)bits->to - out->data);
    bits->to = (unsigned char *)oa_buf_reserve(out, (size_t)(count / 8) + SLACK);
    return bits->to != NULL;
}

/* Add the lowest `count` bits of `value`, whose others are 0. At most 56 wait between flushes. */
static inline void oa_bits_put(oa_bits *bits, uint64_t value, unsigned count) {
    bits->waiting |= value << bits->count;
    bits->count += count;
}

/* Write the whole bytes that wait. */
static inline void oa_bits_flush(oa_bits *bits) {
    /* Lowest byte first. Not a loop: compilers make one store of it. */
    bits->to[0] = (unsigned char)bits->waiting;
    bits->to[1] = (unsigned char)(bits->waiting >> 8);
    bits->to[2] = (unsigned char)(bits->waiting >> 16);
    bits->to[3] = (unsigned char)(bits->waiting >> 24);
    bits->to[4] = (unsigned char)(bits->waiting >> 32);
    bits->to[5] = (unsigned char)(bits->waiting >> 40);
    bits->to[6] = (unsigned char)(bits->waiting >> 48);
    bits->to[7] = (unsigned char)(bits->waiting >> 56);
    bits->to += bits->count >> 3;
    bits->waiting >>= bits->count & ~7u;
    bits->count &= 7;
}

/* Fill the last byte with zeros, and write it. */
static inline void oa_bits_align(oa_bits *bits) {
    bits->count = (bits->count + 7) & ~7u;
    oa_bits_flush(bits);
}

/* Write a number of 32 bits, lowest byte first. */
static inline void oa_bits_put_32(oa_bits *bits, uint32_t value) {
    oa_bits_put(bits, value, 32);
    oa_bits_flush(bits);
}

/* Write whole bytes, after oa_bits_align(). */
static inline void oa_bits_put_bytes(oa_bits *bits, const void *data, size_t len) {
    if (len > 0)
        memcpy(bits->to, data, len);
    bits->to += len;
}

/* End with a whole byte: all of it is in the buffer then. */
static inline void oa_bits_end(oa_bits *bits) {
    oa_bits_align(bits);
    bits->out->len = (size_t)((char *)bits->to - bits->out->data);
}

#endif
