#include "health.h"

#include "backoff.h"

enum {
    PROBE_SIZE = 20,
    PAUSE_MS = 1000, /* between two attempts, on average, while all of them fail */
    FLUSH_PART = 8,
    ENOUGH_WITNESSES = 3,
    HALVE_PROBE_AT = 3, /* failures in a row */
    MOST_HALVED = 5,    /* times: one record */
};

static oa_backoff backoff_of(oa_trouble trouble) {
    static const oa_backoff OUTAGE = {500, 60 * 1000};
    static const oa_backoff REQUEST = {500, 5 * 60 * 1000};
    static const oa_backoff API_KEY = {4 * 60 * 1000, 4 * 60 * 1000}; /* nothing else may follow */
    return trouble == OA_TROUBLE_OUTAGE    ? OUTAGE
           : trouble == OA_TROUBLE_REQUEST ? REQUEST
                                           : API_KEY;
}

static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

/*
 * The first back-offs are drawn from less than a second. One of them is used: most failures are
 * gone with the next attempt. From then on there is an attempt a second at most.
 */
static uint64_t paced_at_ms(const oa_health *health) {
    return health->failures < 2 ? 0 : health->began_at_ms + (uint64_t)PAUSE_MS * health->failures;
}

uint64_t oa_health_failed(oa_health *health, oa_now now, oa_trouble trouble, uint64_t random) {
    if (health->failures == 0) {
        health->since_ms = now.wall_ms;
        health->began_at_ms = now.monotonic_ms;
        health->witnesses = 0;
    }
    if (health->failures < UINT32_MAX)
        health->failures++;
    if (health->failures >= HALVE_PROBE_AT && health->probe_halved < MOST_HALVED)
        health->probe_halved++;
    health->trouble = trouble;
    health->failed_at_ms = now.monotonic_ms;
    health->backoff_ms = oa_backoff_ms(backoff_of(trouble), health->failures, random);
    const uint64_t paced_ms = most(paced_at_ms(health), now.monotonic_ms) - now.monotonic_ms;
    return most(health->backoff_ms, paced_ms);
}

bool oa_health_recovered(oa_health *health, size_t records) {
    if (records > PROBE_SIZE)
        health->probe_halved = 0;
    else if (health->probe_halved > 0 && records > (size_t)PROBE_SIZE >> health->probe_halved)
        health->probe_halved--;
    const bool was_troubled = health->trouble != OA_TROUBLE_NONE;
    health->trouble = OA_TROUBLE_NONE;
    health->failures = 0;
    health->silences = 0;
    return was_troubled;
}

void oa_health_add_witness(oa_health *health) { health->witnesses++; }

uint64_t oa_health_fresh_at_ms(const oa_health *health) {
    if (health->trouble == OA_TROUBLE_API_KEY || health->witnesses >= ENOUGH_WITNESSES)
        return UINT64_MAX;
    return most(health->failed_at_ms + PAUSE_MS, paced_at_ms(health));
}

uint64_t oa_health_flush_at_ms(const oa_health *health) {
    if (health->trouble == OA_TROUBLE_NONE)
        return 0;
    const uint64_t pause_ms = most(health->backoff_ms / FLUSH_PART, PAUSE_MS);
    return most(health->failed_at_ms + pause_ms, paced_at_ms(health));
}

size_t oa_health_probe_size(const oa_health *health) {
    if (health->trouble == OA_TROUBLE_NONE)
        return SIZE_MAX;
    if (health->trouble == OA_TROUBLE_API_KEY || health->probe_halved >= MOST_HALVED)
        return 1;
    return PROBE_SIZE >> health->probe_halved;
}
