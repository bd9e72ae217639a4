#include "health.h"

#include "backoff.h"

enum { PROBE_SIZE = 20, FLUSH_PAUSE_MS = 1000, FLUSH_PART = 8 };

static oa_backoff backoff_of(oa_trouble trouble) {
    static const oa_backoff OUTAGE = {500, 60 * 1000};
    static const oa_backoff REQUEST = {1000, 5 * 60 * 1000};
    static const oa_backoff API_KEY = {4 * 60 * 1000, 4 * 60 * 1000}; /* nothing else may follow */
    return trouble == OA_TROUBLE_OUTAGE    ? OUTAGE
           : trouble == OA_TROUBLE_REQUEST ? REQUEST
                                           : API_KEY;
}

uint64_t oa_health_failed(oa_health *health, oa_now now, oa_trouble trouble, uint64_t random) {
    if (health->failures == 0)
        health->since_ms = now.wall_ms;
    if (health->failures < UINT32_MAX)
        health->failures++;
    health->trouble = trouble;
    health->failed_at_ms = now.monotonic_ms;
    health->backoff_ms = oa_backoff_ms(backoff_of(trouble), health->failures, random);
    return health->backoff_ms;
}

bool oa_health_recovered(oa_health *health) {
    const bool was_troubled = health->trouble != OA_TROUBLE_NONE;
    health->trouble = OA_TROUBLE_NONE;
    health->failures = 0;
    return was_troubled;
}

uint64_t oa_health_flush_at_ms(const oa_health *health) {
    if (health->trouble == OA_TROUBLE_NONE)
        return 0;
    const uint64_t part_ms = health->backoff_ms / FLUSH_PART;
    return health->failed_at_ms + (part_ms > FLUSH_PAUSE_MS ? part_ms : FLUSH_PAUSE_MS);
}

size_t oa_health_probe_size(const oa_health *health) {
    if (health->trouble == OA_TROUBLE_NONE)
        return SIZE_MAX;
    return health->trouble == OA_TROUBLE_API_KEY ? 1 : PROBE_SIZE;
}
