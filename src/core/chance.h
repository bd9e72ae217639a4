/*
 * chance.h: a sequence of pseudo-random numbers from a seed that the host provides: splitmix64.
 * Good enough for jitter, not for secrets.  [externally synchronised]
 */
#ifndef OA_CHANCE_H
#define OA_CHANCE_H

#include <stdint.h>

typedef struct oa_chance {
    uint64_t state; /* the seed, at first */
} oa_chance;

/* Return the next 64 random bits. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number
 * generators". */
static inline uint64_t oa_chance_next(oa_chance *chance) {
    uint64_t x = chance->state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#endif
