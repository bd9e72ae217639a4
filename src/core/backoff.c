#include "backoff.h"

uint64_t oa_backoff_ms(uint32_t attempts, uint64_t random) {
    uint64_t limit = OA_BACKOFF_BASE_MS;
    for (uint32_t i = 1; i < attempts && limit < OA_BACKOFF_CAP_MS; i++)
        limit *= 2;
    if (limit > OA_BACKOFF_CAP_MS)
        limit = OA_BACKOFF_CAP_MS;
    return random % (limit + 1);
}

uint64_t oa_backoff_retry_after_ms(uint32_t seconds) {
    const uint64_t wait_ms = (uint64_t)seconds * 1000;
    return wait_ms < OA_RETRY_AFTER_MAX_MS ? wait_ms : OA_RETRY_AFTER_MAX_MS;
}
