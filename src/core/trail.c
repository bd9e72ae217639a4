#include "trail.h"

#include <string.h>

#include "copies.h"
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
    oa_copies copies;
    oa_span roles[OA_ROLE_COUNT]; /* the last part in each; of 0 bytes: there is none */
    place places[PLACES + PROBES];
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
    oa_copies_clear(&trail->copies);
    oa_mem_free(trail);
}

void oa_trail_begin(oa_trail *trail) {
    trail->copies.count = 0;
    memset(trail->roles, 0, sizeof(trail->roles));
    memset(trail->places, 0, sizeof(trail->places));
}

static bool is_place_of(const place *of, const char *constant, size_t len) {
    return of->constant == constant && of->len == len;
}

static inline place *first_place(oa_trail *trail, const char *constant) {
    const uint64_t hash = (uint64_t)(uintptr_t)constant * 0x9e3779b97f4a7c15;
    return &trail->places[hash >> (64 - PLACE_BITS)];
}

/* Return the place of a constant, a free one, or another's that it takes. */
static place *find_place(oa_trail *trail, const char *constant, size_t len) {
    place *first = first_place(trail, constant);
    for (place *next = first; next < first + PROBES; next++)
        if (is_place_of(next, constant, len) || next->constant == NULL)
            return next;
    return first;
}

/* Note a constant that is not where it is looked for first. */
__attribute__((noinline)) static void find_constant(oa_trail *trail, oa_role role,
                                                    const char *constant, oa_span span) {
    place *last = find_place(trail, constant, span.len);
    if (is_place_of(last, constant, span.len) && span.from - last->at <= OA_COPIES_WINDOW)
        oa_copies_add(&trail->copies, span.from, last->at, span.len);
    else if (trail->roles[role].len > 0)
        oa_copies_guess(&trail->copies, span, trail->roles[role]);
    *last = (place){constant, (uint32_t)span.len, (uint32_t)span.from};
    trail->roles[role] = span;
}

void oa_trail_constant(oa_trail *trail, oa_role role, const char *constant, size_t len, size_t at) {
    place *last = first_place(trail, constant);
    if (!is_place_of(last, constant, len) || at - last->at > OA_COPIES_WINDOW) {
        find_constant(trail, role, constant, (oa_span){at, len});
        return;
    }
    const size_t from = last->at;
    last->at = (uint32_t)at;
    trail->roles[role] = (oa_span){at, len};
    oa_copies_add(&trail->copies, at, from, len);
}

void oa_trail_like(oa_trail *trail, oa_role role, size_t at, size_t len) {
    if (trail->roles[role].len > 0)
        oa_copies_guess(&trail->copies, (oa_span){at, len}, trail->roles[role]);
    trail->roles[role] = (oa_span){at, len};
}

void oa_trail_repeat(oa_trail *trail, size_t at, size_t from, size_t len) {
    oa_copies_add(&trail->copies, at, from, len);
}

void oa_trail_digits(oa_trail *trail, size_t at, size_t len) {
    oa_copies_add_digits(&trail->copies, at, len);
}

void oa_trail_cut(oa_trail *trail, size_t at) {
    oa_copies_cut(&trail->copies, at);
    for (size_t i = 0; i < OA_ROLE_COUNT; i++)
        if (trail->roles[i].from + trail->roles[i].len > at)
            trail->roles[i].len = 0;
    for (size_t i = 0; i < PLACES + PROBES; i++) {
        place *last = &trail->places[i];
        if (last->constant != NULL && (size_t)last->at + last->len > at)
            *last = (place){.constant = NULL};
    }
}

oa_str oa_trail_gzip(oa_trail *trail, oa_str text) {
    return oa_deflate_gzip(trail->deflate, text, &trail->copies);
}

void oa_trail_trim(oa_trail *trail) {
    oa_deflate_trim(trail->deflate);
    oa_copies_clear(&trail->copies);
}
