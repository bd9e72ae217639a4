/*
 * clock.h: the system's clocks and random numbers behind oa_clock.  [any thread]
 */
#ifndef OA_CLOCK_H
#define OA_CLOCK_H

#include "oa.h"

/* Return `clock` with each missing member filled in by the system's. */
oa_clock oa_clock_complete(oa_clock clock);

/* Return milliseconds since the epoch; may jump. */
static inline int64_t oa_clock_wall_ms(const oa_clock *clock) {
    return clock->wall_ms(clock->data);
}

/* Return milliseconds since some moment in the past; never goes back. */
static inline uint64_t oa_clock_monotonic_ms(const oa_clock *clock) {
    return clock->monotonic_ms(clock->data);
}

/* Return 64 random bits. Good enough for jitter and nonces, not for secrets. */
static inline uint64_t oa_clock_random(const oa_clock *clock) { return clock->random(clock->data); }

#endif
