#include "lane.h"

#include "mem.h"

oa_status oa_lanes_new(oa_lanes *lanes, uint32_t count, oa_arena *arena,
                       const oa_hash_key *hash_key) {
    if (count == 0)
        count = 1;
    if (count > OA_MAX_CONCURRENT)
        count = OA_MAX_CONCURRENT;
    lanes->first = oa_mem_calloc(count, sizeof(*lanes->first));
    if (lanes->first == NULL)
        return OA_NOMEM;
    lanes->turn = lanes->first;
    lanes->end = lanes->first + count;
    OA_EACH_LANE (lane, lanes) {
        oa_queue_init(&lane->queue, arena);
        oa_park_init(&lane->park, arena, hash_key);
    }
    return OA_OK;
}

void oa_lanes_free(oa_lanes *lanes) {
    OA_EACH_LANE (lane, lanes) {
        oa_store_free(lane->attempt.store);
        oa_attempt_clear(&lane->attempt);
    }
    oa_mem_free(lanes->first);
}

oa_lane *oa_lanes_find(const oa_lanes *lanes, oa_hash identity) {
    /* The table of exposures and the park go by the lower half. */
    const uint64_t count = (uint64_t)(lanes->end - lanes->first);
    return lanes->first + ((identity.high >> 32) * count >> 32);
}

size_t oa_lanes_parked_users(const oa_lanes *lanes) {
    size_t count = 0;
    OA_EACH_LANE (lane, lanes)
        count += lane->park.user_count;
    return count;
}

size_t oa_lanes_aside(const oa_lanes *lanes) {
    size_t count = 0;
    OA_EACH_LANE (lane, lanes)
        count += lane->park.aside_count;
    return count;
}

uint64_t oa_lanes_park_due_ms(const oa_lanes *lanes) {
    uint64_t due_ms = UINT64_MAX;
    OA_EACH_LANE (lane, lanes) {
        const uint64_t lane_ms = oa_park_due_ms(&lane->park);
        if (lane_ms < due_ms)
            due_ms = lane_ms;
    }
    return due_ms;
}
