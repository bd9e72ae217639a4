/*
 * clock.h: the system's clocks, for hosts.  [any thread]
 */
#ifndef OA_HOST_CLOCK_H
#define OA_HOST_CLOCK_H

#include "oa.h"

/* Return the moment by both clocks. Cost: two readings, about 40 ns. */
oa_now oa_clock_now(void);

/* Return the time since the epoch in ms; may jump. */
int64_t oa_clock_wall_ms(void);

#endif
