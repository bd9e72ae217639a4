#include "clock.h"

#include <time.h>

static int64_t milliseconds(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t oa_clock_wall_ms(void) { return milliseconds(CLOCK_REALTIME); }

oa_now oa_clock_now(void) {
    return (oa_now){oa_clock_wall_ms(), (uint64_t)milliseconds(CLOCK_MONOTONIC)};
}
