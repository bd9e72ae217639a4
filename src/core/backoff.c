#include "backoff.h"

uint64_t oa_backoff_ms(oa_backoff backoff, uint32_t failures, uint64_t random) {
    uint64_t limit_ms = backoff.base_ms;
    for (uint32_t i = 1; i < failures && limit_ms < backoff.cap_ms; i++)
        limit_ms *= 2;
    if (limit_ms < backoff.cap_ms)
        return random % (limit_ms + 1);
    return backoff.cap_ms - random % (backoff.cap_ms / 3 + 1);
}

uint64_t oa_backoff_retry_after_ms(uint32_t seconds, uint64_t random) {
    uint64_t wait_ms = (uint64_t)seconds * 1000;
    if (wait_ms > OA_RETRY_AFTER_MAX_MS)
        wait_ms = OA_RETRY_AFTER_MAX_MS;
    return wait_ms + random % (wait_ms / 5 + 1);
}

uint64_t oa_backoff_spread_ms(uint64_t interval_ms, uint64_t random) {
    const uint64_t tenth_ms = interval_ms / 10;
    if (interval_ms > UINT64_MAX - tenth_ms)
        return interval_ms;
    return interval_ms - tenth_ms + random % (2 * tenth_ms + 1);
}
