#include "trail.h"

#include <string.h>

#include "deflate.h"
#include "mem.h"

enum {
    PLACE_BITS = 9,
    PLACES = 1 << PLACE_BITS,
    PROBES = 4, /* places that a constant can have; one of a thousand variants may lose its own */
};

/* Where a constant stood last. */
typedef struct place {
    const char *constant; /* NULL: the place is free */
    uint32_t len;
    uint32_t at;
} place;

struct oa_trail {
    oa_deflate *deflate;
    oa_span roles[OA_ROLE_COUNT]; /* the last part in each; of 0 bytes: there is none */
    place places[PLACES];
};

oa_trail *oa_trail_new(void) {
    oa_trail *trail = oa_mem_calloc(1, sizeof(*trail));
    if (trail == NULL)
        return NULL;
    trail->deflate = oa_deflate_new();
    if (trail->deflate == NULL) {
        oa_trail_free(trail);
        return NULL;
    }
    return trail;
}

void oa_trail_free(oa_trail *trail) {
    if (trail == NULL)
        return;
    oa_deflate_free(trail->deflate);
    oa_mem_free(trail);
}

void oa_trail_begin(oa_trail *trail) {
    oa_deflate_begin(trail->deflate);
    memset(trail->roles, 0, sizeof(trail->roles));
    memset(trail->places, 0, sizeof(trail->places));
}

/* Return the place of a constant, a free one, or another's that it takes. */
static place *find_place(oa_trail *trail, const char *constant, size_t len) {
    const uint64_t hash = (uint64_t)(uintptr_t)constant * 0x9e3779b97f4a7c15;
    const size_t first = (size_t)(hash >> (64 - PLACE_BITS));
    for (size_t i = 0; i < PROBES; i++) {
        place *next = &trail->places[(first + i) % PLACES];
        if ((next->constant == constant && next->len == len) || next->constant == NULL)
            return next;
    }
    return &trail->places[first];
}

void oa_trail_constant(oa_trail *trail, oa_role role, const char *constant, size_t len, size_t at) {
    place *last = find_place(trail, constant, len);
    if (last->constant == constant && last->len == len && at - last->at <= OA_DEFLATE_WINDOW)
        oa_deflate_copy(trail->deflate, at, last->at, len);
    else if (trail->roles[role].len > 0)
        oa_deflate_guess(trail->deflate, (oa_span){at, len}, trail->roles[role]);
    *last = (place){constant, (uint32_t)len, (uint32_t)at};
    trail->roles[role] = (oa_span){at, len};
}

void oa_trail_like(oa_trail *trail, oa_role role, size_t at, size_t len) {
    if (trail->roles[role].len > 0)
        oa_deflate_guess(trail->deflate, (oa_span){at, len}, trail->roles[role]);
    trail->roles[role] = (oa_span){at, len};
}

void oa_trail_repeat(oa_trail *trail, size_t at, size_t from, size_t len) {
    oa_deflate_copy(trail->deflate, at, from, len);
}

void oa_trail_cut(oa_trail *trail, size_t at) {
    oa_deflate_cut(trail->deflate, at);
    for (size_t i = 0; i < OA_ROLE_COUNT; i++)
        if (trail->roles[i].from + trail->roles[i].len > at)
            trail->roles[i].len = 0;
    for (size_t i = 0; i < PLACES; i++) {
        place *last = &trail->places[i];
        if (last->constant != NULL && (size_t)last->at + last->len > at)
            *last = (place){.constant = NULL};
    }
}

oa_str oa_trail_gzip(oa_trail *trail, oa_str text) { return oa_deflate_gzip(trail->deflate, text); }

void oa_trail_trim(oa_trail *trail) { oa_deflate_trim(trail->deflate); }
