#include "clock.h"

#include <time.h>

static int64_t milliseconds(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_wall_ms(void *data) {
    (void)data;
    return milliseconds(CLOCK_REALTIME);
}

static uint64_t system_monotonic_ms(void *data) {
    (void)data;
    return (uint64_t)milliseconds(CLOCK_MONOTONIC);
}

static uint64_t system_random(void *data) {
    (void)data;
    uint64_t bits;
    if (uv_random(NULL, NULL, &bits, sizeof(bits), 0, NULL) != 0)
        bits = uv_hrtime() * UINT64_C(0x9e3779b97f4a7c15);
    return bits;
}

oa_clock oa_clock_complete(oa_clock clock) {
    if (clock.wall_ms == NULL)
        clock.wall_ms = system_wall_ms;
    if (clock.monotonic_ms == NULL)
        clock.monotonic_ms = system_monotonic_ms;
    if (clock.random == NULL)
        clock.random = system_random;
    return clock;
}
