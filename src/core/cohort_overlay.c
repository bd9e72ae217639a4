/*
 * cohort_overlay.c: a small open-addressing table of changes.  [externally synchronised]
 *
 * A slot is chosen by the print alone, so that all changes of a user are found from one slot on. At
 * most half of the slots are used, and so a look-up of a user without changes mostly reads one.
 */
#include "cohort_overlay.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

enum { FIRST_SLOTS = 64, COHORT_BITS = 64 - OA_COHORT_PRINT_BITS };

static const int64_t EMPTY = INT64_MIN;
static const int64_t MAX_TIME = INT64_C(1) << 61;

struct oa_cohort_overlay {
    oa_cohort_note *slots;
    size_t slot_count; /* a power of two, or 0 */
    size_t count;
    size_t max;
};

oa_status oa_cohort_overlay_new(size_t max_changes, oa_cohort_overlay **out) {
    oa_cohort_overlay *overlay = oa_mem_calloc(1, sizeof(*overlay));
    if (overlay == NULL)
        return OA_NOMEM;
    overlay->max = max_changes;
    *out = overlay;
    return OA_OK;
}

void oa_cohort_overlay_free(oa_cohort_overlay *overlay) {
    if (overlay == NULL)
        return;
    oa_mem_free(overlay->slots);
    oa_mem_free(overlay);
}

size_t oa_cohort_overlay_count(const oa_cohort_overlay *overlay) { return overlay->count; }

/* Prints are evenly spread, so their lower bits choose the slot. */
static size_t home_of(const oa_cohort_overlay *overlay, uint64_t print) {
    return (size_t)print & (overlay->slot_count - 1);
}

static size_t after(const oa_cohort_overlay *overlay, size_t at) {
    return (at + 1) & (overlay->slot_count - 1);
}

/* Return the slot of a key, or the empty one where it would go. */
static oa_cohort_note *slot_of(const oa_cohort_overlay *overlay, uint64_t key) {
    size_t at = home_of(overlay, key >> COHORT_BITS);
    while (overlay->slots[at].stamp != EMPTY && overlay->slots[at].key != key)
        at = after(overlay, at);
    return &overlay->slots[at];
}

static oa_status grow(oa_cohort_overlay *overlay) {
    oa_cohort_overlay next = *overlay;
    next.slot_count = overlay->slot_count == 0 ? FIRST_SLOTS : 2 * overlay->slot_count;
    next.slots = oa_mem_calloc(next.slot_count, sizeof(*next.slots));
    if (next.slots == NULL)
        return OA_NOMEM;
    for (size_t i = 0; i < next.slot_count; i++)
        next.slots[i].stamp = EMPTY;
    for (size_t i = 0; i < overlay->slot_count; i++) {
        if (overlay->slots[i].stamp != EMPTY)
            *slot_of(&next, overlay->slots[i].key) = overlay->slots[i];
    }
    oa_mem_free(overlay->slots);
    *overlay = next;
    return OA_OK;
}

oa_status oa_cohort_overlay_put(oa_cohort_overlay *overlay, uint64_t print, size_t cohort,
                                bool is_in, int64_t time) {
    if (cohort >= OA_COHORT_MAX)
        return OA_TOO_LARGE;
    time = time > MAX_TIME ? MAX_TIME : time < -MAX_TIME ? -MAX_TIME : time;
    const oa_cohort_note note = {print << COHORT_BITS | cohort, time * 2 + is_in};
    oa_cohort_note *slot = overlay->slot_count == 0 ? NULL : slot_of(overlay, note.key);
    if (slot == NULL || slot->stamp == EMPTY) {
        if (overlay->count >= overlay->max)
            return OA_TOO_LARGE;
        if (2 * (overlay->count + 1) > overlay->slot_count) {
            const oa_status status = grow(overlay);
            if (status != OA_OK)
                return status;
            slot = slot_of(overlay, note.key);
        }
        overlay->count++;
    } else if (slot->stamp >> 1 > time) {
        return OA_REPEAT;
    }
    *slot = note;
    return OA_OK;
}

void oa_cohort_overlay_apply(const oa_cohort_overlay *overlay, uint64_t print, oa_cohort_set *set) {
    if (overlay->count == 0)
        return;
    for (size_t at = home_of(overlay, print); overlay->slots[at].stamp != EMPTY;
         at = after(overlay, at)) {
        const oa_cohort_note note = overlay->slots[at];
        if (oa_cohort_note_print(note) == print)
            oa_cohort_set_put(set, oa_cohort_note_cohort(note), oa_cohort_note_is_in(note));
    }
}

/* Empty a slot, and move what was put behind it because it was taken. */
static void empty(oa_cohort_overlay *overlay, size_t hole) {
    for (size_t at = after(overlay, hole); overlay->slots[at].stamp != EMPTY;
         at = after(overlay, at)) {
        const size_t home = home_of(overlay, oa_cohort_note_print(overlay->slots[at]));
        const size_t mask = overlay->slot_count - 1;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            overlay->slots[hole] = overlay->slots[at];
            hole = at;
        }
    }
    overlay->slots[hole].stamp = EMPTY;
    overlay->count--;
}

void oa_cohort_overlay_forget(oa_cohort_overlay *overlay, size_t cohort, int64_t time) {
    for (size_t at = 0; at < overlay->slot_count;) {
        const oa_cohort_note note = overlay->slots[at];
        if (note.stamp != EMPTY && oa_cohort_note_cohort(note) == cohort && note.stamp >> 1 <= time)
            empty(overlay, at); /* and look at this slot again */
        else
            at++;
    }
}

oa_status oa_cohort_overlay_copy(const oa_cohort_overlay *overlay, oa_cohort_overlay **out) {
    oa_cohort_overlay *copy = NULL;
    const oa_status status = oa_cohort_overlay_new(overlay->max, &copy);
    if (status != OA_OK)
        return status;
    const size_t bytes = overlay->slot_count * sizeof(*copy->slots);
    copy->slots = bytes == 0 ? NULL : oa_mem_alloc(bytes);
    if (bytes > 0 && copy->slots == NULL) {
        oa_cohort_overlay_free(copy);
        return OA_NOMEM;
    }
    if (bytes > 0)
        memcpy(copy->slots, overlay->slots, bytes);
    copy->slot_count = overlay->slot_count;
    copy->count = overlay->count;
    *out = copy;
    return OA_OK;
}

int64_t oa_cohort_overlay_time(const oa_cohort_overlay *overlay, uint64_t print, size_t cohort) {
    if (overlay->count == 0)
        return EMPTY;
    const int64_t stamp = slot_of(overlay, print << COHORT_BITS | cohort)->stamp;
    return stamp == EMPTY ? EMPTY : stamp >> 1;
}

const oa_cohort_note *oa_cohort_overlay_next(const oa_cohort_overlay *overlay, size_t *at) {
    while (*at < overlay->slot_count) {
        const oa_cohort_note *note = &overlay->slots[(*at)++];
        if (note->stamp != EMPTY)
            return note;
    }
    return NULL;
}

static int compare(const void *a, const void *b) {
    const uint64_t left = ((const oa_cohort_note *)a)->key;
    const uint64_t right = ((const oa_cohort_note *)b)->key;
    return (left > right) - (left < right);
}

void oa_cohort_overlay_sort(const oa_cohort_overlay *overlay, oa_cohort_note *out) {
    size_t count = 0;
    for (size_t i = 0; i < overlay->slot_count; i++) {
        if (overlay->slots[i].stamp != EMPTY)
            out[count++] = overlay->slots[i];
    }
    if (count > 0)
        qsort(out, count, sizeof(*out), compare);
}
